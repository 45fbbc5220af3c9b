"""Who is let in: this machine's browser with the token of this sitting, from the viewer's own pages.

Corpora are untrusted text and the viewer stands open on a port, so each request must name the loopback interface as
its host (a name that was rebound to it does not), carry the token in a cookie that no other site can have sent, and,
where it changes something, come from the viewer's own origin. Pages may run and load nothing but the viewer's files.
"""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


class Guard:
    """The outermost layer of the viewer."""

    def __init__(self, app: ASGIApp, port: int, token: str) -> None:
        self._app = app
        self._hosts = {f"{host}:{port}" for host in ("127.0.0.1", "localhost")}
        self._cookie = f"understudy-{port}"
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the pages answer, and put the headers on."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *headers]}
            await send(message)

        if scope["type"] != "http":  # no websockets; the server's own start and end
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if host not in self._hosts:
            return PlainTextResponse(f"This viewer answers to {' and '.join(sorted(self._hosts))} only.\n", 421)
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        if scope["method"] == "GET" and self._fits(query.pop("token", "")):
            answer = RedirectResponse(scope["path"] + (f"?{urlencode(query)}" if query else ""), 303)
            answer.set_cookie(self._cookie, self._token, httponly=True, samesite="strict")
            return answer
        if not self._fits(self._given(headers)):
            return PlainTextResponse("Open the address that `understudy traces` has printed, with its token.\n", 401)
        foreign = headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}
        if scope["method"] not in {"GET", "HEAD"} and (foreign or headers.get("origin") != f"http://{host}"):
            return PlainTextResponse("Only the viewer's own pages may change something.\n", 403)
        return None

    def _given(self, headers: Headers) -> str:
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return ""
        return found.value if found else ""

    def _fits(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self._token.encode())
