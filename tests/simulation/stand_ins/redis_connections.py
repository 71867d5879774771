"""Connections to the Redis in memory: RESP over the world's network. `Session` is the server's end, `MemoryTransport` the client's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import hiredis

from ..network import Network, Wire

if TYPE_CHECKING:
    from .memory_redis import RedisServer

LATER, SAID = object(), object()
"""The answer comes later; the answers were pushed."""


def encoded(value: Any) -> bytes:
    """As RESP2 answers."""
    match value:
        case None:
            return b"$-1\r\n"
        case bool():
            return b":%d\r\n" % value
        case int():
            return b":%d\r\n" % value
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(value), value)
        case str():
            return b"+%b\r\n" % value.encode()
        case list():
            return b"*%d\r\n%b" % (len(value), b"".join(map(encoded, value)))
        case Exception():
            return b"-%b\r\n" % str(value).encode()
        case _:
            raise TypeError(value)


class Session:
    """One connection, at the server."""

    def __init__(self, server: RedisServer, transport: MemoryTransport) -> None:
        self.server, self.transport = server, transport
        self.id = server.number()
        self.channels: set[bytes] = set()
        self.blocked_on: bytes | None = None
        self._attempt: Callable[[], Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: list[list[bytes]] = []
        self._out: list[bytes] = []
        self._reader = hiredis.Reader()
        server.sessions[self.id] = self

    def receive(self, data: bytes) -> None:
        self._reader.feed(data)
        while (parts := self._reader.gets()) is not False:
            if self.blocked_on is not None:
                self._waiting.append(parts)
            else:
                self._carry_out(parts)
        self._flush()

    def _carry_out(self, parts: list[bytes]) -> None:
        answer = self.server.run(self, parts)
        if answer is not LATER and answer is not SAID:
            self._out.append(encoded(answer))

    def push(self, message: list[Any]) -> None:
        if self._out:
            self._out.append(encoded(message))
        else:
            self._out.append(encoded(message))
            self._flush()

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out:
            self.transport.deliver(b"".join(out))

    def block(self, key: bytes, attempt: Callable[[], Any], wait_s: float) -> Any:
        self.blocked_on, self._attempt = key, attempt
        self.server.blocked.append(self)
        if wait_s:
            self._timer = asyncio.get_running_loop().call_later(wait_s, self.unblock, None)
        return LATER

    def try_again(self) -> None:
        value = self._attempt() if self._attempt is not None else None
        if value is not None:
            self.unblock(value)

    def unblock(self, value: Any) -> bool:
        if self.blocked_on is None:
            return False
        self._stop_blocking()
        self._out.append(encoded(value))
        while self._waiting and self.blocked_on is None:
            self._carry_out(self._waiting.pop(0))
        self._flush()
        return True

    def _stop_blocking(self) -> None:
        self.blocked_on = self._attempt = None
        if self in self.server.blocked:
            self.server.blocked.remove(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """The client is gone."""
        self._stop_blocking()
        for channel in self.channels:
            self.server.subscribers.get(channel, {}).pop(self, None)
        self.server.sessions.pop(self.id, None)

    def hang_up(self) -> None:
        self.close()
        self.transport.lose()


class MemoryTransport(asyncio.Transport):
    """The client's end of a connection: bytes go out and come in over a wire."""

    def __init__(self, net: Network, wire: Wire, server: RedisServer, protocol: Any) -> None:
        super().__init__()
        self._net, self.wire, self._server = net, wire, server
        self.protocol = protocol
        self._session: Session | None = None
        self._closed = False

    def opened(self) -> None:
        self._session = Session(self._server, self)

    def write(self, data: Any) -> None:
        if not self._closed:
            self.wire.send(self._arrive, bytes(data))

    def _arrive(self, data: bytes) -> None:
        session = self._session
        if session is not None and session.id in self._server.sessions:
            session.receive(data)

    def deliver(self, data: bytes) -> None:
        self.wire.reply(self._received, data)

    def _received(self, data: bytes) -> None:
        if not self._closed:
            self.protocol.data_received(data)

    def lose(self) -> None:
        """From the server's side."""
        self.wire.reply(self._lost)

    def abort(self) -> None:
        if self._closed:
            return
        if self._session is not None:
            self.wire.send(self._session.close)
        self._net.loop.call_soon(self._lost)

    close = abort

    def _lost(self) -> None:
        if not self._closed:
            self._closed = True
            self.protocol.connection_lost(None)


async def connect(net: Network, wire: Wire, server: RedisServer, factory: Callable[[], Any]) -> tuple[Any, Any]:
    """Return the result of a loop's ``create_unix_connection``. Raises OSError."""
    answer: asyncio.Future[None] = net.loop.create_future()
    protocol = factory()
    transport = MemoryTransport(net, wire, server, protocol)

    def accept() -> None:
        refused = wire.server.down
        if not refused:
            transport.opened()
        wire.reply(_answered, answer, refused)

    wire.send(accept)
    await answer
    protocol.connection_made(transport)
    return transport, protocol


def _answered(answer: asyncio.Future[None], refused: bool) -> None:
    if answer.done():
        return
    if refused:
        answer.set_exception(ConnectionRefusedError("connection refused"))
    else:
        answer.set_result(None)
