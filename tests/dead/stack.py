"""Decider and projector on a log of the test's own, to be stopped and started at will, fed by hand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from langlog_backbone.context import Backbone, open_backbone
from langlog_backbone.log import NewRecord, Position
from langlog_backbone.process.settings import Settings
from langlog_backbone.redis import channels
from langlog_backbone.time.clock import new_id, now_iso
from langlog_executor.decider.service import DeciderService
from langlog_projector.service import ProjectorService
from langlog_schemas import commands as cmd
from langlog_schemas import envelope, messages
from langlog_schemas import events as ev

from tests.stack.waiting import until

LIMIT_S = 60.0
OPEN = "SELECT topic, type, state FROM dead_letters WHERE key = $1 AND state IN ('bad', 'behind') ORDER BY topic = 'commands', topic, \"offset\""


class Stack:
    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self._id = new_id()
        self._replies: dict[str, asyncio.Future[messages.Reply]] = {}
        self._services: contextlib.AsyncExitStack | None = None
        self.projector: ProjectorService
        self.decider: DeciderService

    async def listen(self) -> None:
        def on_reply(data: bytes) -> None:
            reply = messages.decode_reply(data[1:])
            asked = self._replies.get(reply.command_id)
            if asked is not None and not asked.done():  # a decider that takes over may say it again
                asked.set_result(reply)

        await self.backbone.bus.subscribe(channels.gateway(self._id), on_reply)

    async def start(self) -> None:
        """Start a decider and a projector whose only sources are the log and Postgres."""
        self._services = contextlib.AsyncExitStack()
        self.projector, self.decider = ProjectorService(self.backbone), DeciderService(self.backbone)
        for service in (self.projector, self.decider):
            await service.start()
            self._services.push_async_callback(service.stop)
            task = asyncio.create_task(service.serve())
            self._services.push_async_callback(_cancel, task)

    async def stop(self) -> None:
        if self._services is not None:
            await self._services.aclose()
            self._services = None

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def send(self, command: cmd.Body, *, id: str | None = None, **more: Any) -> messages.Reply:
        """Append a command and wait for its reply."""
        id = id or new_id()
        self._replies[id] = asyncio.get_running_loop().create_future()
        await self.append(cmd.TOPIC, command.key, command.TYPE, cmd.encode(command), id=id, reply_to=self._id, **more)
        async with asyncio.timeout(LIMIT_S):
            return await self._replies[id]

    async def append(
        self, topic: str, key: str, type: str, value: bytes, *, id: str | None = None, **more: Any
    ) -> Position:
        headers = envelope.headers(id=id or new_id(), type=type, source="/test", time=now_iso(), subject=key, **more)
        (position,) = await self.backbone.log.append([NewRecord(topic, key, value, headers)])
        return position

    async def event(self, event: ev.Event) -> Position:
        """Append an event like a worker."""
        return await self.append(event.TOPIC, event.key, event.TYPE, ev.encode(event))

    async def folded(self, position: Position, topic: str = ev.RUN_EVENTS) -> None:
        """Until the projection has passed the position."""

        async def look() -> bool:
            query = 'SELECT "offset" FROM positions WHERE topic = $1 AND part = $2'
            at = await self.backbone.pool.fetchval(query, topic, position.partition)
            return at is not None and at > position.offset

        await until(self.backbone, look, LIMIT_S)

    async def waiting(self, key: str) -> list[tuple[str, str, str]]:
        """(topic, type, state) of what is parked, in order."""
        return [tuple(row) for row in await self.backbone.pool.fetch(OPEN, key)]

    async def parked(self, key: str, count: int) -> list[tuple[str, str, str]]:
        """The same, once there are so many."""

        async def look() -> list[tuple[str, str, str]] | None:
            result = await self.waiting(key)
            return result if len(result) == count else None

        return await until(self.backbone, look, LIMIT_S)

    async def metadata(self, thread_id: str) -> Any:
        value = await self.backbone.pool.fetchval("SELECT metadata FROM threads WHERE thread_id = $1", thread_id)
        return None if value is None else msgspec.json.decode(value)

    def neighbour(self, key: str) -> str:
        """Another key of the same partition."""
        partition = self.backbone.log.partition_of(key)
        while True:
            other = new_id()
            if self.backbone.log.partition_of(other) == partition:
                return other


@contextlib.asynccontextmanager
async def stack_of(settings: Settings) -> AsyncIterator[Stack]:
    async with open_backbone(settings, local=True) as backbone:
        result = Stack(backbone)
        await result.listen()
        await result.start()
        try:
            yield result
        finally:
            await result.stop()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
