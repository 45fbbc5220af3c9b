"""An OpenAI-compatible server that says what a test wants it to say."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any


def chat(text: str | None = "Water flows downhill.", finish: str = "stop", **usage: Any) -> str:
    return json.dumps(
        {
            "id": "1", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17} | usage,
        }
    )  # fmt: skip


def listing(*cards: dict[str, Any]) -> tuple[int, str]:
    return 200, json.dumps({"object": "list", "data": cards})


class Stub:
    """An OpenAI-compatible server on 127.0.0.1: replies are (status, body, header lines), the last one for good."""

    def __init__(self) -> None:
        self.replies: list[tuple[int, str] | tuple[int, str, str]] = [(200, chat())]
        self.at: dict[str, Callable[[dict[str, Any]], Any]] = {}
        """What paths other than those of completions and models answer, given the request."""
        self.models: tuple[int, str] = listing({"id": "m"}, {"id": "n"})
        self.asked: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: list[str] = []
        self.delay_s = 0.0
        self.busy = self.busiest = 0
        self.url = ""
        self.serving: set[asyncio.Task[None]] = set()

    def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self.serve(reader, writer))
        self.serving.add(task)
        task.add_done_callback(lambda _: writer.close())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(h.split(":")[1]) for h in head.splitlines() if h.lower().startswith("content-length")), 0)
        body = await reader.readexactly(length)
        self.headers.append(head)
        path = head.split(" ")[1]
        self.paths.append(path)
        status, text, *more = self.models
        if body:
            self.asked.append(json.loads(body))
            self.busy += 1
            self.busiest = max(self.busy, self.busiest)
            await asyncio.sleep(self.delay_s)
            self.busy -= 1
            if path in self.at:
                answer = self.at[path](self.asked[-1])
                status, text = answer if isinstance(answer, tuple) else (200, json.dumps(answer))
            else:
                status, text, *more = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        kind = "application/json" if text.startswith("{") else "text/html"
        if status:
            raw = text.encode()
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(raw)}\r\n".encode())
            writer.write("".join(more).encode() + b"Connection: close\r\n\r\n" + raw)


@asynccontextmanager
async def serving() -> AsyncIterator[Stub]:
    made = Stub()
    server = await asyncio.start_server(made.connect, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    yield made
    for task in made.serving:
        task.cancel()
    await asyncio.gather(*made.serving, return_exceptions=True)
    server.close()
    await server.wait_closed()
