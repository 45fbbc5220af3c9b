"""An OpenAI-compatible server without a model: every chat completion is answered after a fixed latency.

    python benchmarks/mock_server.py --port 0 --latency 0.05      prints its base URL and serves until it is ended

It is made to be far cheaper than any client: one asyncio protocol reads HTTP/1.1 by hand, a timer answers, and
any number of requests may be under way. The reply to a prompt is a question made of the prompt's first words and
one word that no other prompt gets, so replies stay close to their seed and no two are duplicates.

`GET /stats` tells what was asked of it so far, `POST /reset` starts the counts anew (and may set another latency).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any, cast
from zlib import crc32

MODEL = "mock"
_BODY_LIMIT = 8 * 1024 * 1024  # bytes; longer requests are refused
_HEAD_LIMIT = 64 * 1024
_QUOTED_WORDS = 24
_END = b"\r\n\r\n"


@dataclass(slots=True)
class Counts:
    """What was asked of the server since the last reset."""

    requests: int = 0
    """Chat completions that were accepted."""
    duplicates: int = 0
    """Of these, with a prompt that had been sent before."""
    refused: int = 0
    """Requests that were answered with an error status."""
    dropped: int = 0
    """Chat completions whose client had gone when the reply was due."""
    under_way: int = 0
    most_under_way: int = 0
    first: float = 0.0
    last: float = 0.0
    prompts: set[int] = field(default_factory=set)

    def begin(self, prompt: str) -> None:
        """Enter a request."""
        if not self.requests:
            self.first = time.monotonic()
        self.requests += 1
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        mark = hash(prompt)
        if mark in self.prompts:
            self.duplicates += 1
        self.prompts.add(mark)

    def end(self) -> None:
        """Enter its reply."""
        self.under_way -= 1
        self.last = time.monotonic()

    def summary(self) -> dict[str, Any]:
        """What `GET /stats` answers; `seconds` runs from the first request to the last reply."""
        names = ("requests", "duplicates", "refused", "dropped", "under_way", "most_under_way")
        seconds = round(max(0.0, self.last - self.first), 4)
        return {name: getattr(self, name) for name in names} | {"seconds": seconds}


class Service:
    """The latency and the counts, shared by all connections."""

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self.counts = Counts()


class BadRequest(Exception):
    """The request cannot be answered; the text says why."""


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.loop = asyncio.get_running_loop()
        self.buffer = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer each request that has come in whole."""
        self.buffer += data
        while self.buffer:
            try:
                request = self._cut()
                if request is None:
                    return
                self._answer(*request)
            except BadRequest as error:
                self.service.counts.refused += 1
                self._send(400, {"error": {"message": str(error), "type": "invalid_request_error"}}, close=True)
                self.buffer = b""

    def _cut(self) -> tuple[str, str, bytes] | None:
        """The method, path and body of the next whole request, or None while some of it is missing."""
        end = self.buffer.find(_END)
        if end < 0:
            if len(self.buffer) > _HEAD_LIMIT:
                raise BadRequest("the header is too long")
            return None
        first, _, rest = self.buffer[:end].decode("latin-1").partition("\r\n")
        parts = first.split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            raise BadRequest("not an HTTP/1.1 request")
        length = _body_length(rest)
        if len(self.buffer) < end + 4 + length:
            return None
        body = self.buffer[end + 4 : end + 4 + length]
        self.buffer = self.buffer[end + 4 + length :]
        return parts[0], parts[1], body

    def _answer(self, method: str, path: str, body: bytes) -> None:
        service = self.service
        match method, path.partition("?")[0]:
            case "POST", "/v1/chat/completions":
                prompt = _prompt(body)
                service.counts.begin(prompt)
                self.loop.call_later(service.latency, self._reply, prompt)
            case "GET", "/v1/models":
                self._send(200, {"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "mock"}]})
            case "GET", "/stats":
                self._send(200, service.counts.summary())
            case "POST", "/reset":
                service.latency = _latency(body, service.latency)
                service.counts = Counts()
                self._send(200, {"latency": service.latency})
            case _:
                service.counts.refused += 1
                self._send(404, {"error": {"message": f"nothing at {method} {path}", "type": "not_found"}})

    def _reply(self, prompt: str) -> None:
        self.service.counts.end()
        if self.transport.is_closing():
            self.service.counts.dropped += 1
            return
        self._send(200, completion(prompt))

    def _send(self, status: int, body: dict[str, Any], *, close: bool = False) -> None:
        payload = json.dumps(body).encode()
        reason = {200: "OK", 400: "Bad Request", 404: "Not Found"}[status]
        ending = "Connection: close\r\n" if close else ""
        head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n{ending}Content-Length: {len(payload)}"
        self.transport.write(head.encode("latin-1") + _END + payload)
        if close:
            self.transport.close()


def completion(prompt: str) -> dict[str, Any]:
    """The chat completion for a prompt: a question in its first words, with a word of its own."""
    words = prompt.split(None, _QUOTED_WORDS)[:_QUOTED_WORDS]
    mark = f"{crc32(prompt.encode('utf-8', 'replace')):08x}"
    text = f"How does {' '.join(words)} go with mark{mark}?"
    used = {"prompt_tokens": len(prompt) // 4 + 1, "completion_tokens": len(text) // 4 + 1}
    return {
        "id": f"chatcmpl-{mark}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": MODEL,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": used | {"total_tokens": sum(used.values())},
    }


def _body_length(headers: str) -> int:
    length = 0
    for line in headers.split("\r\n"):
        name, _, value = line.partition(":")
        name = name.strip().lower()
        if name == "transfer-encoding":
            raise BadRequest("chunked requests are not read; send Content-Length")
        if name == "content-length":
            if not value.strip().isdigit():
                raise BadRequest("Content-Length is not a number")
            length = int(value)
    if length > _BODY_LIMIT:
        raise BadRequest("the body is too long")
    return length


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadRequest("the body is not a JSON object")
    return found


def _prompt(body: bytes) -> str:
    """The text of the last message; of one in parts, the parts joined."""
    asked = _json(body)
    if asked.get("stream"):
        raise BadRequest("replies are not streamed; leave `stream` out")
    messages = asked.get("messages")
    if not isinstance(messages, list) or not messages or not isinstance(messages[-1], dict):
        raise BadRequest("`messages` is not a list of messages")
    content = messages[-1].get("content")
    if isinstance(content, list):
        content = "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if not isinstance(content, str):
        raise BadRequest("the last message has no text")
    return content


def _latency(body: bytes, current: float) -> float:
    asked = _json(body).get("latency", current) if body else current
    if not isinstance(asked, int | float) or isinstance(asked, bool) or asked < 0:
        raise BadRequest("`latency` is not a number of seconds")
    return float(asked)


async def serve(port: int, latency: float, host: str = "127.0.0.1") -> tuple[asyncio.Server, str]:
    """Start listening; port 0 takes a free one.

    Returns:
        The server, and its base URL up to and with `/v1`.
    """
    service = Service(latency)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(service), host, port, backlog=4096)
    return server, f"http://{host}:{server.sockets[0].getsockname()[1]}/v1"


async def _forever(port: int, latency: float) -> None:
    server, url = await serve(port, latency)
    print(url, flush=True)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Serve until interrupted, on uvloop where it is installed."""
    parser = argparse.ArgumentParser(description="An OpenAI-compatible server that answers after a fixed latency.")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    parser.add_argument("--latency", type=float, default=0.05, help="seconds from a request to its reply")
    options = parser.parse_args()
    try:
        from uvloop import run
    except ImportError:
        from asyncio import run
    try:
        run(_forever(options.port, options.latency))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
