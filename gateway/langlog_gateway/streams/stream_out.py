"""One SSE response: writes events, keeps the connection alive by heartbeats, and drops readers that are too slow.

A heartbeat is sent every few seconds counted from the start, whatever else is sent (wire contract §6.1).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NoReturn, Protocol

import msgspec
from aiohttp import hdrs, web
from langlog_backbone.metrics.table import STREAM_BYTES, STREAM_WRITES

from ..http.errors import ApiError
from . import slow_readers, sse
from .permission import AtDeletion, Check, Permission, PermissionEnded, Permissions

CUT_OFF_WRITE_S = 5.0
"""Seconds for a reader that lagged too far to read the last event."""
PORTION_BYTES = 1_000_000
"""Size in bytes from which encoded events are written before further ones are encoded."""
AGAIN_S = 0.5
"""Seconds before a read is repeated that a server was unavailable for."""
REFUSED = "HTTPException"
"""Error name of a stream whose caller may not, or may no longer, read it."""
GOING_DOWN = "the server stops"


class Lagging(Protocol):
    """A queue that calls back when too much waits in it."""

    on_overrun: Callable[[], object] | None


class Ending(Protocol):
    """A queue whose stream may have to end."""

    closing: bool
    overrun: bool


class Waited(Protocol):
    """A source that a stream waits for."""

    @property
    def ready(self) -> bool: ...

    async def wait(self, until: float) -> None: ...


class StreamOut:
    def __init__(self, request: web.Request, heartbeat_s: float, headers: Mapping[str, str]) -> None:
        self.request = request
        self._heartbeat = heartbeat_s
        self._response = web.StreamResponse(headers={**sse.HEADERS, **headers})
        self._beat = 0.0
        self._writing = False
        self._slow = False
        self.permission: Permission | None = None
        """Permission of the client to continue reading; None: nothing has to be checked."""

    @property
    def response(self) -> web.StreamResponse:
        return self._response

    async def open(self) -> None:
        await self._response.prepare(self.request)
        self._beat = asyncio.get_running_loop().time() + self._heartbeat

    async def write(self, data: bytes) -> None:
        """Write bytes; nothing in response to HEAD, whose client takes it for the next response. Raises ConnectionResetError when
        the client is gone, PermissionEnded when it may no longer read."""
        if data and self.request.method != hdrs.METH_HEAD:
            if self.permission is not None and data is not sse.HEARTBEAT:
                await self.permission.settle()
            self._writing = True
            await self._response.write(data)
            self._writing = False
            STREAM_WRITES.inc()
            STREAM_BYTES.inc(len(data))

    async def write_all(self, pieces: Iterable[bytes]) -> None:
        """Write the pieces together, in portions: of a long past, only one is in memory for a client that does not read. Raises
        the errors of `write`."""
        portion: list[bytes] = []
        size = 0
        for piece in pieces:
            portion.append(piece)
            size += len(piece)
            if size >= PORTION_BYTES:
                await self.write(b"".join(portion))
                portion, size = [], 0
        await self.write(b"".join(portion))

    def guard(self, watch: Lagging) -> None:
        """Drop the connection when the queue overruns while a write is stuck: the reader has stopped reading."""
        loop = asyncio.get_running_loop()
        watch.on_overrun = lambda: loop.call_later(CUT_OFF_WRITE_S, self._drop_if_stuck)

    def _drop_if_stuck(self) -> None:
        if self._writing and self.request.transport is not None:
            self._note_slow()
            self.request.transport.abort()

    def _note_slow(self) -> None:
        """Record once that the client reads too slowly."""
        if not self._slow:
            self._slow = True
            slow_readers.SLOW.cut_off(self.request.path)

    async def wait(self, watch: Waited, until: float | None = None) -> bool:
        """Wait until the watch holds something, sending heartbeats. Return False if the loop's time ``until`` has come."""
        loop = asyncio.get_running_loop()
        while True:
            await watch.wait(self._beat if until is None else min(self._beat, until))
            now = loop.time()
            if now >= self._beat:
                self._beat += self._heartbeat
                await self.write(sse.HEARTBEAT)
            if watch.ready:
                return True
            if until is not None and now >= until:
                return False

    async def outlast(self, watch: Ending) -> bool:
        """Wait before a read is repeated, sending heartbeats: a stream that has begun outlasts a server that is unavailable. Return False
        if it ends instead, because the server stops or too much waits for it."""
        loop = asyncio.get_running_loop()
        until = loop.time() + AGAIN_S
        while (now := loop.time()) < until and not (watch.closing or watch.overrun):
            # nothing signals that the server is available again, and frames that arrive meanwhile must not wake the stream
            await asyncio.sleep(max(min(self._beat, until) - now, 0))
            if loop.time() >= self._beat:
                self._beat += self._heartbeat
                await self.write(sse.HEARTBEAT)
        return not (watch.closing or watch.overrun)

    async def fail(self, error: str, message: str) -> None:
        """Write the last event, with the error."""
        data = msgspec.json.encode({"error": error, "message": message})
        await self.write(sse.event("error", data))

    async def while_permitted(
        self,
        permissions: Permissions,
        thread_id: str,
        at_deletion: AtDeletion,
        check: Check | None,
        follow: Callable[[], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Run ``follow`` as long as the caller may read; then end the stream with the reason."""
        try:
            async with permissions.hold(self.request, thread_id, at_deletion) as permission:
                self.permission = permission
                if check is not None:
                    permission.follow(check)
                return await follow()
        except PermissionEnded as ended:
            self.permission = None
            await self.refuse(ended.error)
            return self._response

    async def refuse(self, error: ApiError) -> None:
        """End the stream with the reason, if its client still reads it."""
        try:
            async with asyncio.timeout(CUT_OFF_WRITE_S):
                if not self._response.prepared:
                    await self.open()
                await self.fail(REFUSED, f"{error.status}: {error.detail}")
                await self._response.write_eof()
        except TimeoutError:
            if self.request.transport is not None:
                self.request.transport.abort()

    async def cut_off(self) -> None:
        """The reader lags: write an error if it still reads, and drop the connection."""
        self._note_slow()
        try:
            async with asyncio.timeout(CUT_OFF_WRITE_S):
                await self.fail("SlowReader", "The client reads too slowly: too many events wait for it")
        except TimeoutError:
            if self.request.transport is not None:
                self.request.transport.abort()

    def break_off(self) -> NoReturn:
        """Abort the response without a final chunk: SDKs resume with Last-Event-ID only after a broken connection."""
        raise ConnectionResetError(GOING_DOWN)

    async def close(self) -> web.StreamResponse:
        await self._response.write_eof()
        return self._response
