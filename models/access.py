"""Who may ask our server: this machine by its own names, or whoever has the key."""

from __future__ import annotations

import hmac
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from understudy.models.protocol import Refused

# Large enough for any prompt a model of this size takes.
MOST_BYTES = 4 * 2**20


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Access:
    """The outermost layer of the server.

    On the loopback interface a request must name it as its host: a web page whose own name was rebound to it does
    not. A page that asks across sites is refused as well. With a key, every request but `/health` must carry it; the
    server of a public address always has one, and its names are not ours to know.
    """

    def __init__(self, app: ASGIApp, host: str, port: int, key: str | None) -> None:
        self._app = app
        self._key = key
        names = {"127.0.0.1", "localhost", "[::1]"} | {f"[{host}]" if ":" in host else host}
        self._hosts = {f"{name}:{port}" for name in names} if is_loopback(host) else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request in, or answer with the reason why not."""
        if scope["type"] == "http":
            try:
                self._check(scope)
            except Refused as refused:
                headers = {"WWW-Authenticate": "Bearer"} if refused.status == 401 else {}
                await JSONResponse(refused.body, refused.status, headers)(scope, receive, send)
                return
        if scope["type"] in {"http", "lifespan"}:  # no websockets
            await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if self._hosts is not None and headers.get("host", "") not in self._hosts:
            raise Refused(421, f"this server answers to {', '.join(sorted(self._hosts))} only")
        if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
            raise Refused(403, "web pages of other sites may not ask this server")
        if self._key is not None and scope["path"] != "/health":
            given = headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self._key.encode()):
                raise Refused(401, "wrong or missing API key", code="invalid_api_key")
        if scope["method"] == "POST":
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":  # what a page may send without asking first is never this
                raise Refused(415, "expected `Content-Type: application/json`")
            if (length := headers.get("content-length", "")).isdigit() and int(length) > MOST_BYTES:
                raise too_large()


def too_large() -> Refused:
    """What a body over the limit gets."""
    return Refused(413, f"a request of more than {MOST_BYTES >> 20} MiB")
