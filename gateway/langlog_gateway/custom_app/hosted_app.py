"""A project's `http.app` in JavaScript as an ASGI application: each request that one of its routes takes goes to its process.

An application of Hono's shows its routes, so that nothing else goes there; one that shows none gets every request, and its 404 means that
it has no such route. Its middleware sees its own routes' requests alone: the built-in routes are not in its process. WebSockets are the
built-in ones'.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
import structlog
from langlog_backbone.project.hosted_code import HostedCode, Route
from yarl import URL

from ..auth.hosted_session import HostedSession

logger = structlog.get_logger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"content-length"})
"""RFC 9110, 7.6.1: of one connection alone."""
SCHEME = "x-langlog-scheme"
CALLER = "x-langlog-user"
"""The caller that was authenticated for the route, as base64 of JSON: ``app/serve.ts``."""
_SEGMENT = re.compile(r":([A-Za-z_]\w*)(\{[^{}]*\})?(\?)?")


class HostedApp:
    """Called as an ASGI application."""

    def __init__(self, hosted: HostedCode) -> None:
        self._hosted = hosted
        self._session = HostedSession(lambda: hosted.app_socket, None)
        routes = None if hosted.loaded is None else hosted.loaded.routes
        self._patterns = None if routes is None else patterns(routes)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "lifespan":
                await self._lifespan(receive, send)
            case "http":
                if self.takes(scope["method"], scope["path"].removeprefix(scope.get("root_path", "")) or "/"):
                    with self._hosted.request():
                        await self._forward(scope, receive, send)
                else:
                    await _answer(send, 404, b"Not Found")
            case _:
                await send({"type": "websocket.close", "code": 1000})

    def takes(self, method: str, path: str) -> bool:
        """Whether one of its routes may answer."""
        if self._patterns is None:
            return True
        wanted = "GET" if method == "HEAD" else method
        return any(each in ("ALL", wanted) and pattern.fullmatch(path) for each, pattern in self._patterns)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._session.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _forward(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        started = False
        try:
            session = await self._session.get()
            async with session.request(
                scope["method"],
                _address(scope),
                headers=_headers(scope),
                data=None if scope["method"] in ("GET", "HEAD") else _body(receive),
                allow_redirects=False,
            ) as response:
                start = [(k.lower(), v) for k, v in response.raw_headers if k.lower() not in HOP_BY_HOP]
                await send({"type": "http.response.start", "status": response.status, "headers": start})
                started = True
                async for piece in response.content.iter_any():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except aiohttp.ClientConnectionError:
            if started:
                raise  # the connection ends in the middle of the response, so that the client notices
            await _answer(send, 503, b'{"detail":"The process that runs http.app does not answer: try again"}')
        except aiohttp.ClientError as error:
            if started:
                raise
            logger.warning("gateway.app_response_unreadable", error=repr(error)[:500])
            await _answer(send, 502, b'{"detail":"The response of http.app is not valid HTTP"}')


def _address(scope: MutableMapping[str, Any]) -> URL:
    """Return the path that the client requested, byte by byte, without the mount prefix."""
    raw = scope["raw_path"].decode("latin-1")
    path = raw if raw.startswith("/") else quote(scope["path"])  # a proxy may have sent the whole address
    query = scope["query_string"].decode("latin-1")
    return URL(f"http://app{path.removeprefix(scope['root_path']) or '/'}{f'?{query}' if query else ''}", encoded=True)


def _headers(scope: MutableMapping[str, Any]) -> list[tuple[str, str]]:
    left_out = HOP_BY_HOP | {SCHEME.encode(), CALLER.encode()}
    headers = [
        (name.decode("latin-1"), value.decode("utf-8", "replace"))
        for name, value in scope["headers"]
        if name.lower() not in left_out
    ]
    headers.append((SCHEME, scope["scheme"]))
    if (user := scope.get("user")) is not None:
        headers.append((CALLER, b64encode(msgspec.json.encode(dict(user), enc_hook=str)).decode()))
    return headers


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return
        if body := message.get("body", b""):
            yield bytes(body)
        if not message.get("more_body"):
            return


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json" if body.startswith(b"{") else b"text/plain")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def patterns(routes: list[Route]) -> list[tuple[str, re.Pattern[str]]]:
    """(method or ``ALL``, pattern of paths) of each route. What covers every path is middleware, and none.

    Source: hono.dev/docs/api/routing: ``/posts/:id``, ``/:date{[0-9]+}``, ``/api/animal/:type?``, ``/wild/*/card``.
    """
    made: list[tuple[str, re.Pattern[str]]] = []
    for route in routes:
        if route.method == "ALL" and route.path in ("*", "/*"):
            continue
        made.append((route.method, re.compile(_pattern(route.path), re.DOTALL)))
    return made


def _pattern(path: str) -> str:
    """A parameter's own pattern is left to Hono: here it takes whatever one segment, or more, may be."""
    if path.endswith("/*"):
        return "".join(f"/{_part(part)}" for part in path[1:-2].split("/") if part) + "(/.*)?"
    expression = ""
    for part in path.lstrip("/").split("/"):
        parameter = _SEGMENT.fullmatch(part)
        optional = parameter is not None and parameter[3] is not None
        expression += f"(/{_part(part)})?" if optional else f"/{_part(part)}"
    return expression or "/"


def _part(part: str) -> str:
    if part == "*":
        return "[^/]*"
    parameter = _SEGMENT.fullmatch(part)
    if parameter is not None:
        return ".+" if parameter[2] else "[^/]+"
    return re.escape(part)
