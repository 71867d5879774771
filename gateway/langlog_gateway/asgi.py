"""The project's own ASGI application around the built-in routes (API.md 16, ``http.app``).

Its routes come first, its middleware sees every request, its lifespan runs once, with the gateway's. What it has no route for goes
back to the built-in routes: a request travels aiohttp → ASGI → aiohttp, and the answer the other way, piece by piece as it is
written, so that streams stay streams. Request bodies are read whole beforehand: built-in routes do that anyway.

aiohttp-asgi was looked at for this: it serves an ASGI app under aiohttp, but cannot give a request back, and middleware that sees
only its own app's routes is not what the contract asks for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import structlog
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from langlog_backbone.service import StartError
from multidict import CIMultiDict, CIMultiDictProxy

from .asgi_socket import Socket
from .custom_auth import Caller, Credentials

logger = structlog.get_logger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Builtin = Callable[[web.Request], Awaitable[web.StreamResponse]]

REQUEST = "langlog.request"
"""Where the scope keeps the request that it was made of."""
OWN_DOCUMENTS = ("openapi_url", "docs_url", "redoc_url", "swagger_ui_oauth2_redirect_url")
"""Where FastAPI shows its own documents: its routes are in the server's document instead."""
LIFESPAN_S = 60.0
"""How long the application may take to start, and to stop."""


class CustomApp:
    """One ASGI application. Not to be shared between event loops."""

    def __init__(self, app: Any, prefix: str) -> None:
        """Raises StartError for an object that is no ASGI application."""
        if not callable(app):
            raise StartError(f"http.app is a {type(app).__name__}, not an ASGI application")
        self.app: AsgiApp = app
        self._prefix = prefix
        self._lifespan: asyncio.Task[None] | None = None
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._started: asyncio.Future[bool] | None = None
        self._stopped = asyncio.Event()
        self._state: dict[str, Any] = {}
        router: Any = getattr(app, "router", None)
        self.has_router = hasattr(router, "default") and hasattr(router, "routes")
        if self.has_router:
            router.default = self._default
            own = {getattr(app, name, None) for name in OWN_DOCUMENTS}
            router.routes[:] = [route for route in router.routes if getattr(route, "path", "") not in own]

    # lifespan

    async def start(self) -> None:
        """Run the application's start-up. Raises StartError when it fails; one that knows no lifespan is fine."""
        self._started = asyncio.get_running_loop().create_future()
        self._lifespan = asyncio.create_task(self._live())
        self._events.put_nowait({"type": "lifespan.startup"})
        async with asyncio.timeout(LIFESPAN_S):
            await self._started

    async def lifespan(self, app: web.Application) -> AsyncIterator[None]:
        """From the gateway's start to its end."""
        await self.start()
        yield
        await self.stop()

    async def stop(self) -> None:
        if self._lifespan is None or self._lifespan.done():
            return
        self._events.put_nowait({"type": "lifespan.shutdown"})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LIFESPAN_S):
                await self._stopped.wait()
        self._lifespan.cancel()
        await asyncio.gather(self._lifespan, return_exceptions=True)

    async def _live(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        assert self._started is not None
        try:
            await self.app(scope, self._events.get, self._heard)
        except Exception as error:
            if self._started.done():
                logger.exception("gateway.app_lifespan_failed")
            elif self._stopped.is_set():
                self._started.set_exception(StartError(f"http.app did not start: {error}"))
            else:  # the specification: an exception before startup.complete means that there is no lifespan
                logger.info("gateway.app_has_no_lifespan", error=repr(error))
        finally:
            self._stopped.set()
            if not self._started.done():
                self._started.set_result(False)

    async def _heard(self, message: Message) -> None:
        assert self._started is not None
        match message["type"]:
            case "lifespan.startup.complete":
                if not self._started.done():
                    self._started.set_result(True)
            case "lifespan.startup.failed":
                if not self._started.done():
                    why = message.get("message") or "its lifespan failed"
                    self._started.set_exception(StartError(f"http.app did not start: {why}"))
            case "lifespan.shutdown.complete" | "lifespan.shutdown.failed":
                self._stopped.set()

    # requests

    async def handle(self, request: web.Request, builtin: Builtin, user: Any = None) -> web.StreamResponse:
        """Answer by the application, or by ``builtin`` where it has no route. ``user``: who was authenticated, for its routes."""
        exchange = _Exchange(request, builtin, await request.read(), whole=not self.has_router)
        scope = self._scope(request, user)
        scope[REQUEST] = exchange
        await self.app(scope, exchange.receive, exchange.send)
        if exchange.unknown:
            return await builtin(request)
        return await exchange.finish()

    def takes_socket(self, path: str) -> bool:
        """Whether a WebSocket of this path is the application's. One that does not tell is asked: it may refuse."""
        return self.routes(path, "GET", "websocket") if self.has_router else True

    async def socket(self, request: web.Request, user: Any, limit: int) -> web.StreamResponse:
        """A WebSocket of the application's. ``limit``: bytes of a message."""
        return await Socket(request, limit).serve(self.app, self._scope(request, user))

    def _scope(self, request: web.Request, user: Any) -> Scope:
        scope = scope_of(request, self._prefix)
        if user is not None:  # as Starlette's own middleware would: `request.user.identity`, `@requires("permission")`
            scope["user"], scope["auth"] = Caller(user), Credentials(user["permissions"])
        scope["state"] = dict(self._state)
        return scope

    def routes(self, path: str, method: str, kind: str = "http") -> bool:
        """Whether a route of the application takes this path (without looking into it further)."""
        if not self.has_router:
            return False
        scope: Scope = {
            "type": kind,
            "path": path,
            "root_path": self._prefix,
            "method": method,
            "headers": [],
            "path_params": {},
        }
        for route in self.app.router.routes:  # type: ignore[attr-defined]
            match, _ = route.matches(dict(scope))
            if match.value:
                return True
        return False

    def endpoints(self) -> list[tuple[str, set[str]]]:
        """Paths and methods of the application's own routes, as far as it tells."""
        if not self.has_router:
            return []
        routes: Any = self.app.router.routes  # type: ignore[attr-defined]
        return [(route.path, set(route.methods)) for route in routes if getattr(route, "methods", None)]

    async def _default(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What the application's router does with a path that it does not know."""
        exchange = scope.get(REQUEST)
        if exchange is None or scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1000, "reason": ""})
            return
        await exchange.builtin_answer(scope, receive, send)


class _Exchange:
    """One request on its way through the application."""

    def __init__(self, request: web.Request, builtin: Builtin, body: bytes, *, whole: bool) -> None:
        """``whole``: the application cannot give requests back; its 404 means that it has no such route."""
        self._whole = whole
        self._request = request
        self._builtin = builtin
        self._body: bytes | None = body
        self._response: web.StreamResponse | None = None
        self._start: Message | None = None
        self._over = asyncio.Event()
        self.unknown = False

    async def receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._over.wait()  # a client that leaves cancels the request's task
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            self.unknown = self._whole and message["status"] == 404
        elif self.unknown:
            if not message.get("more_body"):
                self._over.set()
        elif message["type"] == "http.response.body":
            await self._write(bytes(message.get("body", b"")), more=bool(message.get("more_body")))

    async def _write(self, data: bytes, *, more: bool) -> None:
        start = self._start
        if start is None:
            raise RuntimeError("http.response.body before http.response.start")
        if self._response is None:
            headers: CIMultiDict[str] = CIMultiDict()
            for name, value in start.get("headers", ()):
                headers.add(bytes(name).decode("latin-1"), bytes(value).decode("latin-1"))
            if not more:
                headers.pop("content-length", None)
                headers.pop("transfer-encoding", None)
                head = self._request.method == "HEAD"
                self._response = web.Response(status=start["status"], headers=headers, body=None if head else data)
                if "content-type" not in headers:
                    self._response.headers.pop("content-type", None)
                self._over.set()
                return
            self._response = web.StreamResponse(status=start["status"], headers=headers)
            await self._response.prepare(self._request)
        if data:
            await self._response.write(data)
        if not more:
            self._over.set()
            if self._response.prepared:
                await self._response.write_eof()

    async def finish(self) -> web.StreamResponse:
        if self._response is None:
            raise RuntimeError("http.app gave no answer")
        self._over.set()
        return self._response

    async def builtin_answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The built-in routes' answer, as messages. Headers that middleware has changed are seen by them."""
        parts = []
        while True:
            message = await receive()
            if message["type"] != "http.request":
                break
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                break
        outer = self._request
        kept, outer._read_bytes = outer._read_bytes, None  # what has been read cannot be cloned otherwise
        inner = outer.clone(headers=_headers(scope))
        outer._read_bytes = kept
        inner._read_bytes = b"".join(parts)
        writer = _MessageWriter(send)
        inner._payload_writer = writer
        response = await self._builtin(inner)
        if not response.prepared:
            await response.prepare(inner)
        await response.write_eof()
        await writer.write_eof()


class _MessageWriter(AbstractStreamWriter):
    """Takes what a response writes and sends it on as ASGI messages."""

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
        kept = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in headers.items()
            if name.lower() not in ("date", "server", "connection", "transfer-encoding")
        ]
        self._start = {"type": "http.response.start", "status": status, "headers": kept}

    def send_headers(self) -> None:
        return None

    async def _begin(self) -> None:
        if not self._sent and self._start is not None:
            self._sent = True
            await self._send(self._start)


def scope_of(request: web.Request, prefix: str) -> Scope:
    """The ASGI scope of a request."""
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    local = request.transport.get_extra_info("sockname") if request.transport is not None else None
    raw = request.raw_path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": f"{request.version.major}.{request.version.minor}",
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": raw[0].encode(),
        "query_string": raw[2].encode(),
        "root_path": prefix,
        "headers": [(bytes(k).lower(), bytes(v)) for k, v in request.raw_headers],
        "client": tuple(peer[:2]) if isinstance(peer, tuple) else None,
        "server": tuple(local[:2]) if isinstance(local, tuple) else None,
    }


def _headers(scope: Scope) -> CIMultiDictProxy[str]:
    found: CIMultiDict[str] = CIMultiDict()
    for name, value in scope["headers"]:
        found.add(bytes(name).decode("utf-8", "surrogateescape"), bytes(value).decode("utf-8", "surrogateescape"))
    return CIMultiDictProxy(found)


def check_starlette(why: str) -> None:
    """Raises StartError when Starlette is not installed."""
    try:
        import starlette.requests  # noqa: F401
    except ImportError:
        raise StartError(f"{why}: that needs the package starlette") from None


async def starlette_request(request: web.Request) -> Any:
    """The request as Starlette has it, with its body at hand."""
    from starlette.requests import Request

    body = await request.read()

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = scope_of(request, "")
    scope["path_params"] = dict(request.match_info)
    return Request(scope, receive)
