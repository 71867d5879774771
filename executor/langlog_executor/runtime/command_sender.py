"""Commands that a worker sends for graph code (store writes, removal of checkpoints), and their outcomes.

The same exchange as a gateway's: the command names a channel of this process to reply to, and the projector replies once the
read model holds the outcome. Ids begin with ``worker-``: such a channel is never in the projector's own process. A reply may be
lost with Redis: then the router requests it again from the projector, and the projection's last cause shows whether it has passed
the command. While the log is unavailable, senders wait.
Concurrency: belongs to the I/O loop. When it dies, commands that are in the log are still carried out.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog
from langlog_backbone.log import NewRecord, Position
from langlog_backbone.log.records import command_record
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.process import tracing
from langlog_backbone.process.retry import Availability, until_available
from langlog_backbone.process.unavailable import UNAVAILABLE_ERRORS
from langlog_backbone.redis import channels
from langlog_backbone.redis.replies import ReplyRouter
from langlog_backbone.time.clock import new_id, now_iso
from langlog_backbone.time.sources import monotonic
from langlog_schemas import commands, messages
from langlog_schemas.events import RUN_EVENTS, STORE_EVENTS
from langlog_schemas.messages import Reply

if TYPE_CHECKING:
    from langlog_schemas.commands import Body

    from .io_loop import IoLoop

logger = structlog.get_logger(__name__)

SOURCE = "/langlog/executor"
RECHECK_S = 5.0
"""Seconds without a reply after which Postgres is queried whether the command was carried out. The router has requested the
reply again before: Postgres does not show whether a command was refused."""
WARN_AFTER_S = 30.0
"""Seconds without an outcome after which the worker logs what a run waits for."""

_CAUSE = load_sql("langlog_executor", "checkpoints.sql")["cause"]


class CommandRefused(Exception):
    """The command changed nothing. ``status`` as in HTTP."""

    for_clients = True

    def __init__(self, status: int, detail: str | None) -> None:
        super().__init__(detail or f"refused with status {status}")
        self.status = status


class CommandSender:
    def __init__(self, io: IoLoop) -> None:
        self._backbone = io.backbone
        self._log = Availability("worker.commands", "log")
        self._replies = ReplyRouter(io.backbone.bus, f"{channels.WORKER_ID}{new_id()}")

    async def send(self, sent: Sequence[Body], *, actor: str | None = None) -> list[Reply]:
        """Append the commands in one go and wait for all outcomes.

        Waits as long as log or read model are unavailable. Raises CommandRefused for the first one refused. An append of which it is
        not known whether it came about is made again: the effect of these commands may happen twice.
        """
        await self._replies.start()
        now = now_iso()
        records = []
        futures: dict[str, asyncio.Future[bytes]] = {}
        topics = [STORE_EVENTS if isinstance(command, commands.StoreCommand) else RUN_EVENTS for command in sent]
        for command in sent:
            id = new_id()
            futures[id] = self._replies.pending_reply(id)
            records.append(
                command_record(
                    command,
                    id=id,
                    source=SOURCE,
                    time=now,
                    reply_to=self._replies.id,
                    actor=actor,
                    traceparent=tracing.current(),
                )
            )
        try:
            await self._append(records, futures, topics)
            replies = [messages.decode_reply(await future) for future in futures.values()]
        finally:
            for id, future in futures.items():
                self._replies.discard(id, future)
        for reply in replies:
            if reply.status != 200:
                raise CommandRefused(reply.status, reply.detail)
        return replies

    async def _append(
        self, records: Sequence[NewRecord], futures: Mapping[str, asyncio.Future[bytes]], topics: Sequence[str]
    ) -> None:
        """Append the commands and wait for every outcome, without a time limit: the caller is a run, which has a time limit of its
        own."""
        positions = await until_available(lambda: self._backbone.log.append(records), on=self._log)
        waiting = set(futures.values())
        began, warned = monotonic(), False
        while waiting:
            _, waiting = await asyncio.wait(waiting, timeout=RECHECK_S)
            if waiting:
                await self._check_carried_out(futures, zip(topics, positions, strict=False))
                if not warned and monotonic() - began > WARN_AFTER_S:
                    warned = True
                    logger.warning(
                        "commands.waiting_for_projector", commands=len(waiting), keys=[r.key for r in records[:3]]
                    )

    async def _check_carried_out(
        self, futures: Mapping[str, asyncio.Future[bytes]], appended: Iterable[tuple[str, Position]]
    ) -> None:
        """Treat commands as carried out if the projection has passed their events: their reply was lost."""
        for (id, future), (topic, position) in zip(futures.items(), appended, strict=False):
            if future.done():
                continue
            with contextlib.suppress(*UNAVAILABLE_ERRORS):
                cause = await self._backbone.pool.fetchval(_CAUSE, topic, position.partition)
                if cause is not None and cause >= position.offset and not future.done():
                    future.set_result(messages.encode(Reply(command_id=id)))
