"""A raw HTTP/1.1 connection: with minimal work on the client's side, since it shares the machine.

One request at a time on a kept-alive connection; bodies by Content-Length or chunked; server-sent events are passed on
as they arrive. Not a general client: no redirects, no TLS, no compression.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

OnEvent = Callable[[bytes, bytes, int], None]
"""Function of name, data, and the time of arrival in nanoseconds of the monotonic clock."""


class Connection(asyncio.Protocol):
    def __init__(self, host: str) -> None:
        self._host = host.encode()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._body = bytearray()
        self._status = 0
        self._length: int | None = None
        """Remaining bytes of the body; None: chunked."""
        self._in_body = False
        self._on_event: OnEvent | None = None
        self._waiter: asyncio.Future[tuple[int, bytes]] | None = None

    @classmethod
    async def open(cls, host: str, port: int) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(lambda: cls(f"{host}:{port}"), host, port)
        return connection

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    async def get(self, path: str, on_event: OnEvent | None = None) -> tuple[int, bytes]:
        return await self.send("GET", path, None, on_event)

    async def post(self, path: str, body: bytes, on_event: OnEvent | None = None) -> tuple[int, bytes]:
        return await self.send("POST", path, body, on_event)

    async def send(
        self, method: str, path: str, body: bytes | None, on_event: OnEvent | None = None
    ) -> tuple[int, bytes]:
        """Send a request; return status and body. With ``on_event`` the body's events are passed to it, and the call
        returns when the stream ends."""
        self._on_event = on_event
        head = f"{method} {path} HTTP/1.1\r\nHost: ".encode() + self._host
        if body is None:
            return await self._send(head + b"\r\n\r\n")
        return await self._send(
            b"%b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
        )

    async def post_json(self, path: str, body: Any) -> Any:
        """Return the decoded response. Raises RuntimeError for any status but 200."""
        status, answer = await self.post(path, json.dumps(body).encode())
        if status != 200:
            raise RuntimeError(f"{path}: {status} {answer[:200]!r}")
        return json.loads(answer)

    def _send(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        assert self._transport is not None and self._waiter is None
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._waiter

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(exc or ConnectionResetError("closed by the server"))

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        if not self._in_body:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self._head(bytes(buffer[:end]))
            del buffer[: end + 4]
        if self._length is not None:
            if len(buffer) >= self._length:
                self._body += buffer[: self._length]
                del buffer[: self._length]
                self._done()
            return
        while True:
            end = buffer.find(b"\r\n")
            if end < 0:
                break
            size = int(buffer[:end], 16)
            if len(buffer) < end + 4 + size:
                break
            self._body += buffer[end + 2 : end + 2 + size]
            del buffer[: end + 4 + size]
            if size == 0:
                self._events()
                self._done()
                return
        self._events()

    def _head(self, head: bytes) -> None:
        self._status = int(head[9:12])
        self._in_body, self._length = True, 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            match name.lower():
                case b"content-length":
                    self._length = int(value)
                case b"transfer-encoding":
                    self._length = None

    def _events(self) -> None:
        if self._on_event is None or self._status != 200:
            return
        now = time.monotonic_ns()
        *blocks, rest = self._body.split(b"\n\n")
        for block in blocks:
            name = data = b""
            for line in block.split(b"\n"):
                if line.startswith(b"event: "):
                    name = bytes(line[7:])
                elif line.startswith(b"data: "):
                    data = bytes(line[6:])
            if name:
                self._on_event(name, data, now)
        self._body = rest

    def _done(self) -> None:
        waiter, self._waiter = self._waiter, None
        body, self._body = bytes(self._body), bytearray()
        self._in_body, self._on_event = False, None
        if waiter is not None and not waiter.done():
            waiter.set_result((self._status, body))
