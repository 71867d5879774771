"""A gateway without HTTP: its commands, watches, streams and waits are real, and a client's request is a call of `GatewayService`.

Requests are what aiohttp would give as far as streams look at them (`_Request`); what goes out is taken as bytes of server-sent events by
`_Out`, and parsed by the client as any client would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from langlog_backbone.context import Backbone
from langlog_backbone.read_model.catching_up import catch_up
from langlog_backbone.read_model.watermark import Watermark
from langlog_backbone.redis.replies import ReplyRouter
from langlog_gateway.http.backends import Commands, Origin, Reads
from langlog_gateway.http.errors import ApiError
from langlog_gateway.runs.streaming import RunFollower, RunStreams
from langlog_gateway.runs.waiting import RunWaits
from langlog_gateway.streams.backlog import Backlog
from langlog_gateway.streams.ends_in_log import EndsInLog
from langlog_gateway.streams.folding import Folding
from langlog_gateway.streams.permission import Permissions
from langlog_gateway.streams.sequencer import FrameSequencer
from langlog_gateway.streams.stream_out import StreamOut
from langlog_gateway.streams.watch import Watches
from langlog_schemas import commands as cmd
from langlog_schemas.messages import Reply

SECRET = b"a secret of the world"

Write = Callable[[bytes], None]


class _Query(dict[str, str]):
    def getall(self, name: str, default: Any) -> Any:
        return [self[name]] if name in self else default


class _Request(dict[str, Any]):
    """The parts that streams use."""

    method = "GET"
    transport = None

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__()
        self.headers = headers
        self.query = _Query()
        self.app: dict[Any, Any] = {}


class _Out(StreamOut):
    """A response that is handed to the client piece by piece."""

    def __init__(self, request: Any, heartbeat_s: float, write: Write) -> None:
        super().__init__(request, heartbeat_s, {})
        self._to_client = write

    async def open(self) -> None:
        self._beat = asyncio.get_running_loop().time() + self._heartbeat

    async def write(self, data: bytes) -> None:
        if data:
            if self.permission is not None:
                await self.permission.settle()
            self._to_client(data)

    async def close(self) -> Any:
        return None


class _Streams(RunStreams):
    def __init__(self, core: Any, write: Write) -> None:
        super().__init__(core)
        self._write = write

    def _out(self, request: Any, path: str) -> StreamOut:
        return _Out(request, self._core.settings.heartbeat_s, self._write)


class GatewayService:
    name = "gateway"

    def __init__(self, backbone: Backbone) -> None:
        self._backbone, settings = backbone, backbone.settings
        reads = Reads(backbone.pool, settings.read_timeout_s)
        self._replies = ReplyRouter(backbone.bus)
        self.commands = Commands(backbone.log, self._replies, reads, settings.reply_timeout_s)
        self.watches = Watches(backbone.bus, settings, backbone.log.partition_of)
        self.watches.handlers = reads.handlers
        self.reads = reads
        self._core: Any = SimpleNamespace(
            settings=settings,
            reads=reads,
            watches=self.watches,
            ends=EndsInLog(backbone.log),
            permissions=Permissions(settings, reads, self.watches),
            backlog=Backlog(
                backbone.pipe, reads, Folding(backbone.log, Watermark(backbone.bus, backbone.positions), reads)
            ),
        )
        self._waits = RunWaits(self._core)

    async def start(self) -> None:
        await self._replies.start()
        await self.watches.start()
        backbone = self._backbone
        await catch_up(backbone.pool.fetch, backbone.log, backbone.positions)

    async def serve(self) -> None:
        await asyncio.get_running_loop().create_future()

    async def drain(self) -> None:
        self.watches.close_all()

    async def stop(self) -> None:
        await self.watches.stop()
        await self._replies.stop()

    async def not_ready(self) -> str | None:
        return None

    # what clients call, in this process

    async def execute(self, command: cmd.Body, key: str | None) -> Reply:
        """Raises ApiError."""
        origin = Origin(None, key, SECRET)
        return await self.commands.execute(command, origin)

    async def stream(
        self, command: cmd.CreateRun, key: str | None, write: Write, made: Callable[[Reply], None]
    ) -> None:
        """Make a run and follow it; ``made`` gets the outcome first. Raises ApiError."""
        watch = await self.watches.open(command.thread_id, command.run_id, frames=True)
        try:
            watch.sent = True
            made(await self.execute(command, key))
            out = _Out(_Request({}), self._core.settings.heartbeat_s, write)
            await out.open()
            if key is not None:
                watch.missed = True
            recorded = b'"resumable":true' in bytes(command.kwargs)
            frames = FrameSequencer(self._core.backlog, command.thread_id, command.run_id, recorded=recorded)
            try:
                await RunFollower(self._core, out, watch, command.run_id, frames).follow()
            except ApiError as error:  # the response has begun
                raise ConnectionResetError(error.detail) from error
        finally:
            self.watches.close(watch)

    async def join(self, thread_id: str, run_id: str, last_id: str, write: Write) -> None:
        """Follow a run that exists, from after an event. Raises ApiError."""
        watch = await self.watches.open(thread_id, run_id, frames=True)
        try:
            request: Any = _Request({"last-event-id": last_id} if last_id else {})
            await _Streams(self._core, write).join(request, watch, run_id)
        finally:
            self.watches.close(watch)

    async def wait(self, thread_id: str, run_id: str) -> bytes:
        """A run's answer. Raises ApiError."""
        watch = await self.watches.open(thread_id, run_id)
        try:
            watch.missed = True  # it may be over
            return await self._waits.until_ended(watch, run_id)
        finally:
            self.watches.close(watch)
