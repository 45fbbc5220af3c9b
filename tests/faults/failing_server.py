"""An OpenAI-compatible server that fails in turn in every way an endpoint fails, and then serves."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from understudy.corpus.tokens import count_tokens
from understudy.models import Constraint
from understudy.models.improvise import improvise

Phase = tuple[float, int, str]
"""At least so many seconds, and so many requests, and what happens to them: `ok`, `429`, `500`, `reset` or `hang`."""


@dataclass
class FailingServer:
    """Serves improvised replies on 127.0.0.1; the phases begin with the first completion that is asked for."""

    phases: tuple[Phase, ...] = ()
    delay_s: float = 0.01
    answered: Counter[str] = field(default_factory=Counter)
    """Requests by the phase they met."""
    busiest: int = 0
    url: str = ""
    _busy: int = 0
    _began: float = 0.0
    _met: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def __aenter__(self) -> FailingServer:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def phase(self) -> str:
        """What happens to the next request."""
        now = time.monotonic()
        self._began = self._began or now
        if self.phases:
            seconds, requests, what = self.phases[0]
            if now - self._began < seconds or self._met < requests:
                self._met += 1
                return what
            self.phases, self._began, self._met = self.phases[1:], now, 0
            return self.phase()
        return "ok"

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            (int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length")), 0
        )
        body = await reader.readexactly(length)
        if not body:
            self._write(writer, 200, {"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 8192}]})
            return True
        what = self.phase()
        self.answered[what] += 1
        self._busy += what != "hang"  # whoever waits for those has long gone
        self.busiest = max(self.busiest, self._busy)
        try:
            await asyncio.sleep(self.delay_s)
            if what == "hang":
                await asyncio.sleep(3600)
            if what == "reset":
                writer.transport.abort()
                return False
            if what != "ok":
                retry = "Retry-After: 1\r\n" if what == "429" and self.answered[what] % 2 else ""
                self._write(writer, int(what), {"error": {"message": "not now"}}, retry)
                return True
            self._write(writer, 200, self._completion(json.loads(body)))
            return True
        finally:
            self._busy -= what != "hang"

    def _completion(self, asked: dict[str, Any]) -> dict[str, Any]:
        constraint = None
        if "response_format" in asked:
            constraint = Constraint("schema", asked["response_format"]["json_schema"]["schema"])
        elif "structured_outputs" in asked:
            constraint = Constraint("regex", asked["structured_outputs"]["regex"])
        text = improvise(tuple(asked["messages"]), asked["seed"], constraint)
        prompt = sum(count_tokens(message["content"]) for message in asked["messages"])
        return {
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": prompt, "completion_tokens": count_tokens(text)},
        }

    def _write(self, writer: asyncio.StreamWriter, status: int, body: dict[str, Any], more: str = "") -> None:
        raw = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{more}Content-Length: {len(raw)}\r\n\r\n"
        writer.write(head.encode() + raw)
