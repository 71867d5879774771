"""WebSockets of the project's own application: one connection, between aiohttp and ASGI.

    connect ─► accepted by a built-in route, behind the application's middleware
       ├─► accepted ─► messages both ways ─► closed by either side
       └─► refused: the application closes it (403), sends another response, or fails (500)

Concurrency: the application's coroutine is the connection's; messages are read from the client when it receives them, so that a
slow application slows its client down. When the gateway stops, the connection is closed with 1001 (going away).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

import structlog
from aiohttp import WSMsgType, web
from langlog_backbone.project.exits import contained

from ..http.errors import internal_error
from .headers import headers_of

logger = structlog.get_logger(__name__)

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

HEARTBEAT_S = 30.0
"""Seconds without an answer to a ping after which a peer counts as gone."""
GOING_AWAY, BROKEN = 1001, 1011
REFUSED = 403
"""Status for an upgrade that no route accepts (wire contract §9.3; in ASGI also for a close before accept)."""


class Exchange(Protocol):
    taken: web.StreamResponse | None
    """Response of the built-in route that accepted the WebSocket; None while the application has it."""


class Socket:
    """One connection. ``limit``: maximum size of a message from the client, in bytes."""

    def __init__(self, request: web.Request, limit: int, exchange: Exchange) -> None:
        self._exchange = exchange
        self._request = request
        self._limit = limit
        self._receive_called = False
        self._socket: web.WebSocketResponse | None = None
        self._refusal: web.Response | None = None

    async def serve(self, app: App, scope: Message) -> web.StreamResponse:
        """Serve the connection until the application ends. ``scope``: that of the HTTP request."""
        given = self._request.headers.get("sec-websocket-protocol", "")
        scope = {
            **scope,
            "type": "websocket",
            "scheme": "wss" if scope["scheme"] == "https" else "ws",
            "subprotocols": [name.strip() for name in given.split(",") if name.strip()],
            "extensions": {"websocket.http.response": {}},
        }
        del scope["method"]
        try:
            with contained():
                await app(scope, self.receive, self.send)
        except asyncio.CancelledError:
            await self._close(GOING_AWAY)
            raise
        except Exception:
            logger.exception("gateway.app_failed", method="WEBSOCKET", path=self._request.path)
            if self._socket is None:
                return internal_error()
            await self._close(BROKEN)
            return self._socket
        if self._exchange.taken is not None:
            return self._exchange.taken
        if self._socket is None:
            return self._refusal or web.Response(status=REFUSED)
        await self._close(1000)
        return self._socket

    async def receive(self) -> Message:
        if not self._receive_called:
            self._receive_called = True
            return {"type": "websocket.connect"}
        if self._socket is None:
            return {"type": "websocket.disconnect", "code": 1006}
        message = await self._socket.receive()
        match message.type:
            case WSMsgType.TEXT:
                return {"type": "websocket.receive", "text": message.data}
            case WSMsgType.BINARY:
                return {"type": "websocket.receive", "bytes": message.data}
            case _:
                return {"type": "websocket.disconnect", "code": self._socket.close_code or 1006, "reason": ""}

    async def send(self, message: Message) -> None:
        match message["type"]:
            case "websocket.accept":
                await self._accept(message)
            case "websocket.send" if self._socket is not None:
                if message.get("text") is not None:
                    await self._socket.send_str(message["text"])
                else:
                    await self._socket.send_bytes(message.get("bytes") or b"")
            case "websocket.close":
                if self._socket is not None:
                    await self._close(message.get("code") or 1000, message.get("reason") or "")
            case "websocket.http.response.start":
                kept = headers_of(message["headers"])
                kept.popall("content-length", None)
                self._refusal = web.Response(status=message["status"], headers=kept, body=b"")
            case "websocket.http.response.body" if self._refusal is not None:
                whole = self._refusal.body
                assert isinstance(whole, bytes)
                self._refusal.body = whole + message.get("body", b"")
            case other:
                raise RuntimeError(f"{other} does not fit into this connection's state")

    async def _accept(self, message: Message) -> None:
        chosen = message.get("subprotocol")
        made = web.WebSocketResponse(
            protocols=[chosen] if chosen else (), heartbeat=HEARTBEAT_S, max_msg_size=self._limit, compress=False
        )
        made.headers.extend(headers_of(message.get("headers") or ()))
        await made.prepare(self._request)
        self._socket = made

    async def _close(self, code: int, reason: str = "") -> None:
        if self._socket is not None and not self._socket.closed:
            with contextlib.suppress(ConnectionError):
                await self._socket.close(code=code, message=reason.encode())
