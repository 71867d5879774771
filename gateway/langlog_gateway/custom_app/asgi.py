"""The project's own ASGI application around the built-in routes (wire contract §16, ``http.app``).

Its routes take precedence, its middleware sees every request and every WebSocket, its lifespan runs with the gateway's (and in workers,
where graphs use what it prepares). Requests without a route of its own go back to the built-in routes: a request passes aiohttp → ASGI →
aiohttp, and the response the other way, chunk by chunk as it is written, so that streams stay streams.
A request's body is read when the application, or the built-in route, reads it: the caller is authenticated by then.

    middleware ─► router ─► own route           authenticated before, if the project requires it (`enable_custom_route_auth`)
                     └────► built-in route      always authenticated

`find_routers` also finds the router inside a wrapped application. An application without a visible router is called for
everything: its 404 means that it has no such route, and its refusal of a WebSocket is final.

aiohttp-asgi was considered: it serves an ASGI app under aiohttp, but cannot return a request, and middleware that sees
only its own app's routes does not fulfil the contract.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from langlog_backbone.process.service import StartError
from langlog_backbone.project.exits import contained
from langlog_backbone.project.lifespan import LIFESPAN_S, Lifespan
from multidict import CIMultiDict, CIMultiDictProxy

from ..auth.access import USER, identify
from ..auth.starlette import Caller, Credentials, scope_of
from ..http.aiohttp_members import set_writer, with_headers
from ..http.bodies.expectation import keeps_body
from ..http.bodies.reader import HELD, RECEIVED, SOURCE, BodySource, receive_body
from ..http.errors import CLOSING, ApiError
from .headers import asgi_headers, headers_of
from .routers import find_routers
from .sockets import Socket

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Builtin = Callable[[web.Request], Awaitable[web.StreamResponse]]

RETIRE_S = 10.0
"""Seconds for a replaced application to end its requests."""
REQUEST = "langlog.request"
"""Key of the original request in the scope."""
OWN_DOCUMENTS = ("openapi_url", "docs_url", "redoc_url", "swagger_ui_oauth2_redirect_url")
"""Attributes with the paths of FastAPI's own documents: its routes are in the server's document instead."""


class CustomApp:
    """One ASGI application. Not to be shared between event loops."""

    def __init__(self, app: Any, prefix: str) -> None:
        """Raises StartError if the object is not an ASGI application."""
        if not callable(app):
            raise StartError(f"http.app is a {type(app).__name__}, not an ASGI application")
        self.app: AsgiApp = app
        self._prefix = prefix
        self._lifespan = Lifespan(app)
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._routers = find_routers(app)
        self.opaque = not any(router is app or router is getattr(app, "router", None) for router in self._routers)
        """Whether the application may have routes that are not visible."""
        for router in self._routers:
            router.default = self._given_back(router.default)
            router.middleware_stack = self._guarded(router, router.middleware_stack)
        own = {getattr(app, name, None) for name in OWN_DOCUMENTS}
        if not self.opaque:
            router = self._routers[0]
            router.routes[:] = [route for route in router.routes if getattr(route, "path", "") not in own]

    # lifespan

    async def start(self, limit_s: float = LIFESPAN_S) -> None:
        """Run the application's start-up. Raises StartError when it fails; one that knows no lifespan is fine."""
        await self._lifespan.start(limit_s)

    async def stop(self) -> None:
        await self._lifespan.stop()

    async def retire(self, limit_s: float = RETIRE_S) -> None:
        """Stop it once the requests that it has begun have ended, or after that many seconds: another one serves by now."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._idle.wait()
        await self.stop()

    @contextlib.contextmanager
    def _request(self) -> Iterator[None]:
        self._under_way += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    # requests

    async def handle(
        self, request: web.Request, builtin: Builtin, *, guard_own: bool = False, withheld: ApiError | None = None
    ) -> web.StreamResponse:
        """Return the application's response, or that of ``builtin`` if it has no route.

        ``guard_own``: its own routes are for authenticated callers alone. ``withheld``: why the caller may not see what a route of
        its own answers, only what a built-in one does.
        """
        exchange = _Exchange(request, builtin, opaque=self.opaque, guard_own=guard_own, withheld=withheld)
        scope = self._scope(request)
        scope[REQUEST] = exchange
        with self._request():
            try:
                with contained():
                    await self.app(scope, exchange.receive, exchange.send)
            except Exception:
                if exchange.failure is None:
                    raise
        exchange.check()
        if exchange.unknown:
            return await builtin(request)
        return await exchange.finish()

    async def socket(
        self, request: web.Request, builtin: Builtin, limit: int, *, guard_own: bool, reserved: bool
    ) -> web.StreamResponse:
        """Serve a WebSocket by a route of the application or by ``builtin``. ``limit``: bytes of a message.

        ``reserved``: the path is a built-in WebSocket's, which the application cannot have.
        """
        scope = self._scope(request)
        exchange = _Exchange(request, builtin, opaque=self.opaque, guard_own=guard_own, reserved=reserved)
        scope[REQUEST] = exchange
        with self._request():
            return await Socket(request, limit, exchange).serve(self.app, scope)

    def _scope(self, request: web.Request) -> Scope:
        scope = scope_of(request, self._prefix)
        _introduce(scope, request)
        scope["state"] = dict(self._lifespan.state)
        return scope

    def routes(self, request: web.Request, kind: str = "http") -> bool:
        """Return whether a route of the application matches this request, without calling it."""
        scope = {**scope_of(request, self._prefix), "type": kind, "path_params": {}}
        return any(_matches(router, scope) for router in self._routers)

    def endpoints(self) -> list[tuple[str, set[str]]]:
        """Return the paths and methods of the application's visible routes."""
        routes: list[Any] = [route for router in self._routers for route in router.routes]
        return [(route.path, set(route.methods)) for route in routes if getattr(route, "methods", None)]

    def _given_back(self, default: AsgiApp) -> AsgiApp:
        """Return the replacement of the application's router for unknown paths: it passes the request back."""

        async def given_back(scope: Scope, receive: Receive, send: Send) -> None:
            exchange = scope.get(REQUEST)
            if exchange is None:  # the application is called by itself
                await default(scope, receive, send)
            elif scope["type"] == "websocket":
                await exchange.builtin_socket(scope)
            else:
                await exchange.builtin_answer(scope, receive, send)

        return given_back

    def _guarded(self, router: Any, dispatch: AsgiApp) -> AsgiApp:
        """Return the router's dispatch behind authentication: middleware may have changed the request since `routes` checked it."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            exchange = scope.get(REQUEST)
            if exchange is None:
                await dispatch(scope, receive, send)
            elif exchange.reserved:
                await exchange.builtin_socket(scope)
            elif not exchange.guard_own or not _matches(router, scope) or await exchange.admits(scope, send):
                await dispatch(scope, receive, send)

        return guarded


def _matches(router: Any, scope: Scope) -> bool:
    return any(route.matches(dict(scope))[0].value for route in router.routes)


def _introduce(scope: Scope, request: web.Request) -> None:
    """Set the caller where Starlette's own middleware would: `request.user.identity`, `@requires("permission")`."""
    user = request.get(USER)
    if user is not None:
        scope["user"], scope["auth"] = Caller(user), Credentials(user["permissions"])


class _Exchange:
    """A request while it passes through the application."""

    def __init__(
        self,
        request: web.Request,
        builtin: Builtin,
        *,
        opaque: bool,
        guard_own: bool = False,
        withheld: ApiError | None = None,
        reserved: bool = False,
    ) -> None:
        """``opaque``: the application cannot return requests; its 404 means that it has no such route. Others: see `CustomApp`."""
        self._opaque = opaque
        self._request = request
        self._builtin = builtin
        self._receive_called = False
        self._withheld = withheld
        self._response: web.StreamResponse | None = None
        self._start: Message | None = None
        self._over = asyncio.Event()
        self._by_builtin = False
        self.guard_own = guard_own
        self.reserved = reserved
        self.unknown = False
        self.failure: ApiError | None = None
        """Error of reading the body, however the application responds to it."""
        self.taken: web.StreamResponse | None = None
        """Response of the built-in route that accepted the WebSocket."""

    async def admits(self, scope: Scope, send: Send) -> bool:
        """Authenticate the caller; return False after sending the refusal."""
        try:
            await identify(self._request)
        except ApiError as error:
            await _refuse(scope, send, error)
            return False
        _introduce(scope, self._request)
        return True

    async def receive(self) -> Message:
        if not self._receive_called:
            self._receive_called = True
            try:
                body = await receive_body(self._request)
            except ApiError as error:
                self.failure = error
                raise
            return {"type": "http.request", "body": body, "more_body": False}
        await self._over.wait()  # a client that leaves cancels the request's task
        return {"type": "http.disconnect"}

    def check(self) -> None:
        """Raise ApiError if the body could not be read, or the response is not for this caller."""
        if self.failure is not None and self._response is None:
            raise self.failure

    async def send(self, message: Message) -> None:
        starts = message["type"] == "http.response.start"
        if starts:
            self._start = message
            if not self._by_builtin:
                self.unknown = self._opaque and message["status"] == 404
                self.failure = self.failure or (None if self.unknown else self._withheld)
        if self.failure is not None and not self._by_builtin:
            self._over.set()  # `check` answers instead
        elif self.unknown:
            if not starts and not message.get("more_body"):
                self._over.set()
        elif message["type"] == "http.response.body":
            await self._write(bytes(message.get("body", b"")), more=bool(message.get("more_body")))

    async def _write(self, data: bytes, *, more: bool) -> None:
        start = self._start
        if start is None:
            raise RuntimeError("http.response.body before http.response.start")
        if self._response is None:
            headers = headers_of(start.get("headers", ()))
            if not more and not self._has_no_body(start["status"]):
                headers.pop("content-length", None)
                headers.pop("transfer-encoding", None)
                self._response = web.Response(status=start["status"], headers=headers, body=data)
                if "content-type" not in headers:
                    self._response.headers.pop("content-type", None)
                self._over.set()
                return
            self._response = web.StreamResponse(status=start["status"], headers=headers)
            if start["status"] in CLOSING or keeps_body(self._request):
                self._response.force_close()
            await self._response.prepare(self._request)
        if data and not self._has_no_body(start["status"]):
            await self._response.write(data)
        if not more:
            self._over.set()
            if self._response.prepared:
                await self._response.write_eof()

    def _has_no_body(self, status: int) -> bool:
        """Return whether the client expects the next response after the headers (RFC 9112, §6.3), whatever the application sends."""
        return self._request.method == hdrs.METH_HEAD or status < 200 or status in (204, 304)

    async def finish(self) -> web.StreamResponse:
        if self._response is None:
            raise RuntimeError("http.app gave no answer")
        self._over.set()
        return self._response

    async def builtin_answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the built-in routes' response as messages. Headers that middleware has changed are seen by them."""

        async def body() -> bytes:
            parts = []
            while True:
                try:
                    message = await receive()
                except Exception as error:  # middleware may have made a group of it
                    raise self.failure or error from None
                if message["type"] != "http.request":
                    break
                parts.append(message.get("body", b""))
                if not message.get("more_body"):
                    break
            return b"".join(parts)

        self._by_builtin = True
        inner = self._inner(scope)
        inner[SOURCE] = BodySource(body)
        writer = _MessageWriter(send)
        set_writer(inner, writer)
        response = await self._builtin(inner)
        if not response.prepared:
            await response.prepare(inner)
        await response.write_eof()
        await writer.write_eof()

    async def builtin_socket(self, scope: Scope) -> None:
        """Let the built-in routes accept or refuse the WebSocket; messages do not pass through the application."""
        self.taken = await self._builtin(self._inner(scope))

    def _inner(self, scope: Scope) -> web.Request:
        """Return the request with the headers as the application's middleware has changed them."""
        inner = with_headers(self._request, _headers(scope))
        inner.pop(RECEIVED, None)
        inner.pop(HELD, None)  # the outer request returns it
        return inner


class _MessageWriter(AbstractStreamWriter):
    """Sends the chunks of a response as ASGI messages."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._sent = False
        self._over = False
        self.length = None

    async def write(self, chunk: Any) -> None:
        await self._begin()
        if chunk:
            await self._send({"type": "http.response.body", "body": bytes(chunk), "more_body": True})

    async def write_eof(self, chunk: bytes = b"") -> None:
        if self._over:
            return
        self._over = True
        await self._begin()
        await self._send({"type": "http.response.body", "body": bytes(chunk), "more_body": False})

    async def drain(self) -> None:
        return None

    def enable_compression(self, *args: Any, **kwargs: Any) -> None:
        return None

    def enable_chunking(self) -> None:
        return None

    async def write_headers(self, status_line: str, headers: CIMultiDict[str]) -> None:
        status = int(status_line.split(" ", 2)[1])
        left_out = ("date", "server", "connection", "transfer-encoding")
        kept = ((name, value) for name, value in headers.items() if name.lower() not in left_out)
        self._start = {"type": "http.response.start", "status": status, "headers": asgi_headers(kept)}

    def send_headers(self) -> None:
        return None

    async def _begin(self) -> None:
        if not self._sent and self._start is not None:
            self._sent = True
            await self._send(self._start)


async def _refuse(scope: Scope, send: Send, error: ApiError) -> None:
    """Send the error, in place of a route."""
    response = error.response()
    kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    headers = asgi_headers(response.headers.items())
    await send({"type": f"{kind}.start", "status": response.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": response.body, "more_body": False})


def _headers(scope: Scope) -> CIMultiDictProxy[str]:
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in scope["headers"]:
        headers.add(bytes(name).decode("utf-8", "surrogateescape"), bytes(value).decode("utf-8", "surrogateescape"))
    return CIMultiDictProxy(headers)
