"""An OpenAI-compatible server over any SM: `/health`, `/v1/models`, `/v1/chat/completions`.

Each SM has a name, which a request gives as its `model`: the base and its adapters are so many models of one engine,
and requests to all of them are decoded in one batch. Our engines hand over whole replies, so `stream: true` is honoured
in form only: the words come one after another, but not before the last of them has been written. Text after a stop
sequence is cut off the finished reply and counts as written. A request whose client hangs up is given up.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import uvicorn
from jinja2 import TemplateError
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from understudy.errors import EngineRefused, EngineTransient, ModelError, UnderstudyError, UserError
from understudy.models.access import MOST_BYTES, Access, is_loopback, too_large
from understudy.models.protocol import Asked, Refused, completion, events
from understudy.models.sm import SM, Reply

T = TypeVar("T")

_MOST_CONNECTIONS = 512


def build_app(models: Mapping[str, SM], host: str, port: int, key: str | None = None) -> ASGIApp:
    """The server as an ASGI application; when it ends, it closes the SMs.

    Args:
        models: SMs by the names that requests give; the first is what the others are adapters of, if they are any.
        host: the address it listens on, and is asked by.
        port: its port.
        key: what every request must carry, if anything.

    Raises:
        UserError: when others than this machine could ask without a key.
    """
    if not key and not is_loopback(host):
        raise UserError(
            f"{host} can be reached from elsewhere",
            expected="an API key, or an address of this machine alone",
            remedy="export a long random key and name its variable with --api-key-env, or leave --host out",
        )
    started = int(time.time())

    async def health(request: Request) -> Response:
        return Response()

    async def listed(request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [card(name) for name in models]})

    async def one(request: Request) -> Response:
        known(models, name := request.path_params["name"])
        return JSONResponse(card(name))

    def card(name: str) -> dict[str, Any]:
        first = next(iter(models))
        adapted = name != first and models[name].identity.startswith(f"{models[first].identity}+")
        return {
            "id": name, "object": "model", "created": started, "owned_by": "understudy",
            "root": models[name].identity, "parent": first if adapted else None,
            "max_model_len": models[name].capabilities.context_tokens,
        }  # fmt: skip

    async def chat(request: Request) -> Response:
        asked = _read(await _body(request))
        sm = known(models, asked.model)
        wanted = asked.request(sm.capabilities.context_tokens)
        if wanted.constraint is not None and not sm.capabilities.schema:
            raise Refused(400, "this engine holds replies to no schema", param="response_format")
        replies = await _while_connected(request, sm.complete(wanted))
        if asked.stream:
            return StreamingResponse(events(asked, replies, sm.identity), media_type="text/event-stream")
        return JSONResponse(completion(asked, replies, sm.identity))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.gather(*(sm.aclose() for sm in models.values()), return_exceptions=True)

    app = Starlette(
        routes=[
            Route("/health", health),
            Route("/v1/models", listed),
            Route("/v1/models/{name:path}", one),
            Route("/v1/chat/completions", chat, methods=["POST"]),
        ],
        lifespan=lifespan,
        exception_handlers={
            Refused: _refused, HTTPException: _unknown, UnderstudyError: _failed, TemplateError: _untold,
            ClientDisconnect: _nobody, Exception: _unforeseen,
        },
    )  # fmt: skip
    return Access(app, host, port, key)


def known(models: Mapping[str, SM], name: str) -> SM:
    """The SM of a name.

    Raises:
        Refused: when there is none.
    """
    if name not in models:
        raise Refused(
            404, f"no model is called `{name}`; there are: {', '.join(models)}", code="model_not_found", param="model"
        )
    return models[name]


async def _body(request: Request) -> bytes:
    """The request's body, given up as soon as it is too long."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise too_large()
    return body


def _read(body: bytes) -> Asked:
    try:
        return Asked.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise Refused(400, f"{place}: {first['msg']}" if place else first["msg"], param=place or None) from error


async def _while_connected(request: Request, work: Coroutine[Any, Any, tuple[Reply, ...]]) -> tuple[Reply, ...]:
    """What comes of the work, unless the client goes before: then the work ends too.

    Raises:
        ClientDisconnect: when it has gone.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for one in (task, gone):
            one.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await one


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101
    return JSONResponse(error.body, error.status)


async def _unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    said = f"{request.method} {request.url.path}: {error.detail}"
    return JSONResponse(Refused(error.status_code, said).body, error.status_code, error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, UnderstudyError)  # noqa: S101
    if isinstance(error, EngineRefused | ModelError):
        code = "context_length_exceeded" if error.message.startswith("context overflow") else None
        return JSONResponse(Refused(400, error.message, code=code).body, 400)
    status = 503 if isinstance(error, EngineTransient) else 500
    return JSONResponse(Refused(status, error.message).body, status)


async def _untold(request: Request, error: Exception) -> Response:
    said = f"the model's chat template does not take these messages: {error}"
    return JSONResponse(Refused(400, said, param="messages").body, 400)


async def _nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it


async def _unforeseen(request: Request, error: Exception) -> Response:
    return JSONResponse(Refused(500, "an error nobody foresaw; the server's log has it").body, 500)


def serve(models: Mapping[str, SM], host: str, port: int, key: str | None, ready: Callable[[str], None]) -> None:
    """Serve SMs until Ctrl-C.

    Args:
        models: SMs by name.
        host: the address to listen on.
        port: 0 takes one that is free.
        key: what every request must carry, if anything.
        ready: called with the server's address as soon as it can be asked.

    Raises:
        UserError: when the port is taken, or others could ask without a key.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except (OSError, OverflowError) as error:
            raise UserError(
                f"cannot listen on {host}, port {port}: {error}", remedy="give another --port, or 0 for any"
            ) from None
        port = listening.getsockname()[1]
        app = build_app(models, host, port, key)
        listening.listen()
        ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=1,
            limit_concurrency=_MOST_CONNECTIONS, ws="none",
        )  # fmt: skip
        uvicorn.Server(config).run(sockets=[listening])
