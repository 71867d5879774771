"""Commands that a worker sends for graph code (store writes, removal of checkpoints), and their outcomes.

The same exchange as a gateway's: the command names a channel of this process to reply to, and the projector replies once the
read model holds the outcome. Ids begin with ``worker-``: such a channel is never in the projector's own process. A reply may be
lost with Redis: then the router asks the projector for it again, and the projection's last cause tells whether the command is
behind it. While the log is away, senders wait.
Concurrency: belongs to the I/O loop. What happens when it dies: commands that are in the log are carried out all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog
from langlog_backbone import channels, tracing
from langlog_backbone.clock import new_id, now_iso
from langlog_backbone.log import AppendUnknown, LogUnavailable, NewRecord, Position
from langlog_backbone.postgres import load_sql
from langlog_backbone.replies import ReplyRouter
from langlog_backbone.unavailable import UNAVAILABLE_ERRORS
from langlog_schemas import commands, envelope, messages
from langlog_schemas.events import RUN_EVENTS, STORE_EVENTS
from langlog_schemas.messages import Reply

if TYPE_CHECKING:
    from langlog_schemas.commands import Body

    from .io_loop import IoLoop

logger = structlog.get_logger(__name__)

SOURCE = "/langlog/executor"
ASK_AGAIN_S = 5.0
"""Without a reply for this long, Postgres is asked whether the command is carried out. The router has asked the projector for the
reply before: Postgres does not know whether a command was refused."""
RETRY_PAUSE_S = 0.1
MAX_RETRY_PAUSE_S = 2.0

_CAUSE = load_sql("langlog_executor", "checkpoints.sql")["cause"]


class CommandRefused(Exception):
    """The command changed nothing. ``status`` as in HTTP."""

    for_clients = True

    def __init__(self, status: int, detail: str | None) -> None:
        super().__init__(detail or f"refused with status {status}")
        self.status = status


class OutcomeUnknown(Exception):
    """No reply came in time; the command is in the log and will be carried out."""


class CommandSender:
    def __init__(self, io: IoLoop) -> None:
        self._backbone = io.backbone
        self._replies = ReplyRouter(io.backbone.bus, f"{channels.WORKER_ID}{new_id()}")

    async def send(self, sent: Sequence[Body], *, actor: str | None = None) -> list[Reply]:
        """Append the commands in one go and wait for all outcomes.

        Waits as long as the log is away. Raises CommandRefused for the first one refused, and OutcomeUnknown.
        """
        await self._replies.start()
        time = now_iso()
        records = []
        futures: dict[str, asyncio.Future[bytes]] = {}
        topics = [STORE_EVENTS if isinstance(command, commands.StoreCommand) else RUN_EVENTS for command in sent]
        for command in sent:
            id = new_id()
            futures[id] = self._replies.expect_reply(id)
            records.append(
                NewRecord(
                    commands.TOPIC,
                    command.key,
                    commands.encode(command),
                    envelope.headers(
                        id=id,
                        type=command.TYPE,
                        source=SOURCE,
                        time=time,
                        subject=command.key,
                        reply_to=self._replies.id,
                        actor=actor,
                        traceparent=tracing.current(),
                    ),
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
        """Into the log, and until every outcome is there."""
        positions: Sequence[Position] = ()
        try:
            positions = await self._appended(records)
        except AppendUnknown:
            logger.warning("commands.append_unknown", commands=len(records))
        waiting = set(futures.values())
        try:
            async with asyncio.timeout(self._backbone.settings.reply_timeout_s):
                while waiting:
                    _, waiting = await asyncio.wait(waiting, timeout=ASK_AGAIN_S)
                    if waiting:
                        await self._look(futures, zip(topics, positions, strict=False))
        except TimeoutError:
            raise OutcomeUnknown("no outcome in time; the command is in the log and will be carried out") from None

    async def _appended(self, records: Sequence[NewRecord]) -> Sequence[Position]:
        pause = RETRY_PAUSE_S
        while True:
            try:
                return await self._backbone.log.append(records)
            except AppendUnknown:
                raise
            except LogUnavailable as error:
                if pause == RETRY_PAUSE_S:
                    logger.warning("commands.waiting_for_log", error=str(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, MAX_RETRY_PAUSE_S)

    async def _look(self, futures: Mapping[str, asyncio.Future[bytes]], places: Iterable[tuple[str, Position]]) -> None:
        """Take commands whose events the projection has behind it for carried out: their reply was lost."""
        for (id, future), (topic, position) in zip(futures.items(), places, strict=False):
            if future.done():
                continue
            with contextlib.suppress(*UNAVAILABLE_ERRORS):
                cause = await self._backbone.pool.fetchval(_CAUSE, topic, position.partition)
                if cause is not None and cause >= position.offset and not future.done():
                    future.set_result(messages.encode(Reply(command_id=id)))
