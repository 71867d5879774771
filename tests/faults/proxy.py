"""A network between one process and one server, which a test may cut: connections are dropped and refused, or all of them stall."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

from tests.stack.server import free_port

CHUNK_BYTES = 1 << 16
Cut = Literal["dropped", "stalled"]
CUTS: tuple[Cut, ...] = ("dropped", "stalled")


class Proxy:
    """Listens on a port of its own and forwards to ``target``: a port of this machine, or a Unix socket."""

    def __init__(self, target: int | Path, port: int | None = None) -> None:
        self.port = port or free_port()
        self._target = target
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Ends all connections."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._open):
            writer.transport.abort()
        for pump in tuple(self._pumps):
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def cut(self, how: Cut) -> AsyncIterator[None]:
        """``dropped``: as when a process at either end is gone. ``stalled``: as when packets are lost, which nobody is told."""
        if how == "dropped":
            await self.stop()
        else:
            self._flows.clear()
        try:
            yield
        finally:
            self._flows.set()
            if self._server is None:
                await self.start()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pumps.add(task)
        self._open.add(writer)
        there: asyncio.StreamWriter | None = None
        try:
            await self._flows.wait()
            if isinstance(self._target, Path):
                back, there = await asyncio.open_unix_connection(str(self._target))
            else:
                back, there = await asyncio.open_connection("127.0.0.1", self._target)
            self._open.add(there)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, there))
                both.create_task(self._pump(back, writer))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in filter(None, (writer, there)):
                self._open.discard(end)
                end.transport.abort()
            self._pumps.discard(task)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(CHUNK_BYTES):
            await self._flows.wait()
            target.write(data)
            await target.drain()
        if target.can_write_eof():
            target.write_eof()
