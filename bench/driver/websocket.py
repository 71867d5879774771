"""A raw WebSocket: with minimal work on the client's side, since it shares the machine.

Text messages that are not fragmented; pings are answered. Not a general client.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, cast

OnMessage = Callable[[bytes, int], None]
"""Function of a message, and the time of arrival in nanoseconds of the monotonic clock."""

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
_LONG, _LONGER = 126, 127


class WebSocket(asyncio.Protocol):
    def __init__(self, head: bytes) -> None:
        self._head = head
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._open = False
        self._id = 0
        self._waiter: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.on_event: OnMessage | None = None
        self.close_code: int | None = None
        """Close code of the server; 1006: it sent none."""

    @classmethod
    async def open(cls, host: str, port: int, path: str) -> WebSocket:
        """Connect. Raises RuntimeError if the upgrade is refused."""
        head = (
            f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ).encode()
        _, socket = await asyncio.get_running_loop().create_connection(lambda: cls(head), host, port)
        await socket._waiter  # noqa: SLF001 - its own class
        return socket

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    async def command(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Send a command; return the response. Raises RuntimeError for an error."""
        self._id += 1
        self._waiter = asyncio.get_running_loop().create_future()
        self._send(TEXT, json.dumps({"id": self._id, "method": method, "params": params}).encode())
        answer = await self._waiter
        if answer.get("type") != "success":
            raise RuntimeError(f"{method}: {answer}")
        return answer

    def _send(self, opcode: int, body: bytes) -> None:
        assert self._transport is not None
        size = len(body)
        length = bytes([0x80 | size]) if size < _LONG else bytes([0x80 | _LONG]) + size.to_bytes(2, "big")
        self._transport.write(bytes([0x80 | opcode]) + length + bytes(4) + body)  # a mask of zeros leaves it as it is

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transport does not inherit from it
        self._transport.write(self._head)

    def connection_lost(self, exc: Exception | None) -> None:
        self.close_code = self.close_code or 1006
        if not self._waiter.done():
            self._waiter.set_exception(RuntimeError(f"closed by the server with {self.close_code}"))

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        buffer = self._buffer
        buffer += data
        if not self._open:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            if not buffer.startswith(b"HTTP/1.1 101 "):
                self._waiter.set_exception(RuntimeError(bytes(buffer[:end]).decode(errors="replace")))
                return
            self._open = True
            del buffer[: end + 4]
            self._waiter.set_result({})
        while len(buffer) >= 2:
            size, start = buffer[1] & 0x7F, 2
            if size == _LONG:
                size, start = int.from_bytes(buffer[2:4], "big"), 4
            elif size == _LONGER:
                size, start = int.from_bytes(buffer[2:10], "big"), 10
            if len(buffer) < start + size:
                return
            opcode, body = buffer[0] & 0x0F, bytes(buffer[start : start + size])
            del buffer[: start + size]
            self._on_message(opcode, body, now)

    def _on_message(self, opcode: int, body: bytes, now: int) -> None:
        match opcode:
            case _ if opcode == PING:
                self._send(PONG, body)
            case _ if opcode == CLOSE:
                self.close_code = int.from_bytes(body[:2], "big")
            case _ if body.startswith(b'{"type":"event"'):
                if self.on_event is not None:
                    self.on_event(body, now)
            case _:
                if not self._waiter.done():
                    self._waiter.set_result(json.loads(body))
