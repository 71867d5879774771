"""Server-sent streams of a source that belongs to no thread: written as data arrives, with heartbeats, until the client disconnects.

Concurrency: one task reads the source while another writes. The source is closed with the stream, however it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

from aiohttp import hdrs, web

from ..auth.access import admit_operator_again
from ..core import Core
from ..streams import sse
from ..streams.stream_out import StreamOut

NO_THREAD = ""
"""Thread id of operators' streams, which have no thread."""


def wants_stream(request: web.Request) -> bool:
    """Return whether the client accepts server-sent events."""
    return "text/event-stream" in request.headers.get(hdrs.ACCEPT, "")


class LiveStreams:
    """One per gateway."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._draining = asyncio.Event()
        core.on_drain.append(self._draining.set)

    async def follow(self, request: web.Request, source: AsyncGenerator[bytes, None]) -> web.StreamResponse:
        """Write the source's data, as long as the caller is an operator. Ends with the source; breaks off when the server stops."""
        core = self._core
        out = StreamOut(request, core.settings.heartbeat_s, {})
        return await out.while_permitted(
            core.permissions,
            NO_THREAD,
            "leave",
            partial(admit_operator_again, request),
            partial(self.written, out, source),
        )

    async def written(self, out: StreamOut, source: AsyncGenerator[bytes, None]) -> web.StreamResponse:
        """Write the source's data to a stream whose permission the caller of this method holds."""
        core, request = self._core, out.request
        core.enter_stream(request)
        going_down: asyncio.Future[object] = asyncio.ensure_future(self._draining.wait())
        pending: asyncio.Future[bytes] | None = None
        try:
            await out.open()
            if request.method == hdrs.METH_HEAD:
                return await out.close()
            while True:
                pending = pending or asyncio.ensure_future(anext(source))
                waited: list[asyncio.Future[Any]] = [pending, going_down]
                await asyncio.wait(waited, timeout=core.settings.heartbeat_s, return_when=asyncio.FIRST_COMPLETED)
                if going_down.done():
                    out.break_off()
                if not pending.done():
                    await out.write(sse.HEARTBEAT)
                    continue
                done, pending = pending, None
                try:
                    data = done.result()
                except StopAsyncIteration:
                    return await out.close()
                await out.write(data)
        finally:
            going_down.cancel()
            if pending is not None:
                pending.cancel()
                await asyncio.gather(pending, return_exceptions=True)
            await source.aclose()
            core.leave_stream(request)
