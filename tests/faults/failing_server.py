"""An OpenAI-compatible server that fails in turn in every way an endpoint fails, and then serves."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from understudy.corpus.tokens import count_tokens
from understudy.models import Constraint
from understudy.models.improvise import improvise

Phase = tuple[float, int, str]
"""At least so many seconds, and so many requests, and what happens to them: `ok`, `reset`, `hang`, or a key below."""
# Answers with a status and a header that are no completion.
STATUSES = {
    "429": (429, ""), "500": (500, ""), "502": (502, ""), "503": (503, ""), "408": (408, ""),
    "429, seconds": (429, "Retry-After: 1\r\n"), "429, a date": (429, "Retry-After: Wed, 21 Oct 2065 07:28:00 GMT\r\n"),
    "429, negative": (429, "Retry-After: -5\r\n"), "429, a billion": (429, "Retry-After: 1000000000\r\n"),
    "429, nonsense": (429, "Retry-After: soon\r\n"),
}  # fmt: skip
# Bodies under a status of 200 that are no completion.
BODIES = {
    "an HTML page": b"<html>Sign in</html>",
    "nothing": b"",
    "half of the JSON": b'{"choices": [{"index": 0, "mess',
    "no choices": b'{"choices": []}',
    "an error in a 200": b'{"error": {"message": "busy"}}',
    "NaN for a count": b'{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": NaN}}',
    "a number of 5,000 digits": b'{"choices": ' + b"9" * 5000 + b"}",
    "200,000 open brackets": b"[" * 200_000,
    "bytes that are no UTF-8": b'{"choices": "\xff\xfe"}',
}


@dataclass
class FailingServer:
    """Serves improvised replies on 127.0.0.1; the phases begin with the first completion that is asked for."""

    phases: tuple[Phase, ...] = ()
    delay_s: float = 0.01
    once: tuple[str, ...] = ()
    """What happens to the first try of every third request: one of these."""
    room: int | None = None
    """Of more requests at once than these, the others get a 429."""
    answered: Counter[str] = field(default_factory=Counter)
    """Requests by the phase they met."""
    busiest: int = 0
    url: str = ""
    _busy: int = 0
    _began: float = 0.0
    _met: int = 0
    _seen: set[bytes] = field(default_factory=set)
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
        if self.room is not None and self._busy >= self.room:
            return "429"
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

    def _first_try(self, body: bytes) -> str | None:
        mark = blake2b(body, digest_size=8).digest()
        if not self.once or mark[0] % 3 or mark in self._seen:
            return None
        self._seen.add(mark)
        return self.once[mark[1] % len(self.once)]

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
        what = self._first_try(body) or self.phase()
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
            if what in STATUSES:
                status, more = STATUSES[what]
                if what == "429" and self.answered[what] % 2 and self.room is None:
                    more = "Retry-After: 1\r\n"
                self._write(writer, status, {"error": {"message": "not now"}}, more)
                return True
            if what in BODIES:
                self._send(writer, 200, BODIES[what])
                return True
            answer = self._completion(json.loads(body))
            if what == "reset in the middle":
                writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 5000\r\n\r\n{")
                await writer.drain()
                writer.transport.abort()
                return False
            if what == "a byte now and then":
                writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 5000\r\n\r\n")
                while True:
                    writer.write(b" ")
                    await asyncio.sleep(0.05)
            self._write(writer, 200, answer)
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
        self._send(writer, status, json.dumps(body).encode(), more)

    def _send(self, writer: asyncio.StreamWriter, status: int, raw: bytes, more: str = "") -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{more}Content-Length: {len(raw)}\r\n\r\n"
        writer.write(head.encode() + raw)
