"""Notifies waiters of changes of the read model: replies, lifecycle updates, watermark. Always after the commit.

Messages that Redis loses are repeated or replaced: replies are sent again to processes that still wait (`recent_replies`), and
readers query
Postgres.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import asyncpg
import msgspec
import structlog
from langlog_backbone.log import Record, TopicPartition
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.process.retry import READ_LIMIT_S
from langlog_backbone.process.unavailable import may_pass
from langlog_backbone.redis import channels
from langlog_backbone.redis.client import Bus
from langlog_backbone.time.clock import iso
from langlog_schemas import events as ev
from langlog_schemas import messages
from langlog_schemas.envelope import Cause
from langlog_schemas.messages import LifecycleUpdate, Reply

from .apply import Removed, Step
from .folding.outcomes import reply_to
from .publishing.list_changes import ListGathering
from .publishing.recent_replies import RecentReplies

logger = structlog.get_logger(__name__)

SQL = load_sql("langlog_projector", "apply.sql")
Command = tuple[str, int, int]
"""Topic and partition of a command's events, and its offset."""

REPLY = b"R"
EMPTY_LINGER_S = 0.05
"""Positions that a batch has moved without leaving anything are published to other processes after this, or with the next ones."""
LIVELY: frozenset[str] = frozenset(
    e.TYPE
    for e in (
        *ev.FINAL_RUN_EVENTS,
        ev.RunStarted,
        ev.RunDeleted,
        ev.RunCancelRequested,
        ev.ThreadDeleted,
        ev.ThreadUpdated,
        ev.StateUpdated,
    )
)
"""Types of events that the projector publishes to watchers of a thread."""
AWAITED = LIVELY - {ev.RunStarted.TYPE}
"""Those of them that a client may be waiting for."""


class Announcer:
    """Implements `projection.Listener`: collects the messages of one batch, and publishes them in order once it is committed."""

    def __init__(self, pool: asyncpg.Pool, bus: Bus) -> None:
        self._pool, self._bus = pool, bus
        self.replies = RecentReplies(bus)
        self._pending: dict[Command, tuple[str, Reply]] = {}
        """Command -> the reply that is sent when its last event is folded."""
        self._settled: list[Command] = []
        self._unpublished: dict[str, dict[int, int]] = {}
        """Positions that other processes were not notified of yet."""
        self._lingering: asyncio.TimerHandle | None = None
        self._forget()

    def _forget(self) -> None:
        self._updates: list[LifecycleUpdate] = []
        self._settled.clear()
        self._parked: list[str] = []
        self._timer_set = False
        self._lists = ListGathering()

    def parked(self, key: str) -> None:
        self._parked.append(key)

    def dropped(self) -> None:
        self._forget()

    def removed(self, threads: Removed) -> None:
        self._lists.removed_threads |= threads

    def folded(self, record: Record, event: ev.AnyEvent, cause: Cause | None) -> None:
        self._note(event, record.value, record.headers["ce_time"])
        self._lists.note(event)
        if cause is None:
            return
        command = (record.topic, record.partition, cause.offset)
        headers = record.headers
        if "ce_replyto" in headers and "ce_command" in headers:
            reply = reply_to(event, record.value, headers["ce_command"], headers["ce_time"])
            self._pending[command] = (headers["ce_replyto"], reply)
        if cause.index == cause.count - 1 and command in self._pending:
            self._settled.append(command)

    def _note(self, event: ev.AnyEvent, body: bytes, time: str) -> None:
        if event.TYPE in LIVELY:
            thread_id: str = event.key
            self._updates.append(LifecycleUpdate(thread_id=thread_id, type=event.TYPE, body=body, time=time))
            if isinstance(event, ev.ThreadDeleted):
                self._parked = [key for key in self._parked if key != thread_id]
            elif isinstance(event, ev.RunEnded) and event.deletes_thread:
                removed = ev.ThreadDeleted(thread_id=thread_id)
                self._note(removed, ev.encode(removed), time)
            self._timer_set = self._timer_set or (isinstance(event, ev.RunEnded) and event.webhook is not None)
        elif isinstance(event, ev.RunCreated):
            self._timer_set = self._timer_set or event.not_before is not None
        elif isinstance(
            event, ev.WebhookAttempted | ev.WebhookDueAgain | ev.CronCreated | ev.CronChanged | ev.CronAdvanced
        ):
            self._timer_set = True

    def stop(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None

    def _note_positions(self, steps: Mapping[TopicPartition, Step], *, empty: bool) -> None:
        marks: dict[str, dict[int, int]] = {}
        for (topic, part), step in steps.items():
            marks.setdefault(topic, {})[part] = step.after
            self._unpublished.setdefault(topic, {})[part] = step.after
        self._bus.deliver_local(channels.WATERMARK, msgspec.json.encode(marks))
        if not empty:
            self._publish_positions()
        elif self._lingering is None:
            self._lingering = asyncio.get_running_loop().call_later(EMPTY_LINGER_S, self._publish_positions)

    def _publish_positions(self) -> None:
        self.stop()
        unpublished, self._unpublished = self._unpublished, {}
        self._bus.publish(channels.WATERMARK, msgspec.json.encode(unpublished))

    async def committed(self, steps: Mapping[TopicPartition, Step], *, empty: bool = False) -> None:
        replies = [self._pending.pop(command) for command in self._settled]
        updates, timer_set, parked, lists = self._updates, self._timer_set, self._parked, self._lists
        self._forget()
        bus = self._bus
        self._note_positions(steps, empty=empty)
        for waiting, reply in await self._first_outcomes(replies):
            channel, data = channels.gateway(waiting), REPLY + messages.encode(reply)
            if bus.local and not waiting.startswith(channels.WORKER_ID):
                bus.deliver_local(channel, data)
            else:
                self.replies.publish(reply.command_id, channel, data)
        for update in updates:
            bus.publish_local(channels.lifecycle(update.thread_id), messages.encode(update))
        listed = lists.message(steps)
        if listed is not None:
            bus.publish_local(channels.LISTS, messages.encode(listed))
        for key in parked:
            bus.deliver_local(channels.PARKED, key.encode())
            bus.publish(channels.PARKED, key.encode())
        if timer_set:
            bus.publish_local(channels.TIMERS, b"")

    async def _first_outcomes(self, replies: list[tuple[str, Reply]]) -> list[tuple[str, Reply]]:
        """Reply to repeated commands with their first outcome."""
        repeated = [r.command_id for _, r in replies if r.type == ev.CommandRepeated.TYPE]
        if not repeated:
            return replies
        try:
            async with asyncio.timeout(READ_LIMIT_S):
                rows = await self._pool.fetch(SQL["read_outcomes"], repeated)
        except Exception as error:
            if not may_pass(error):
                raise
            logger.warning("projector.replies_lost", repeated=len(repeated), error=str(error))
            return [(waiting, r) for waiting, r in replies if r.type != ev.CommandRepeated.TYPE]
        first = {row["command_id"]: row for row in rows}
        return [
            (waiting, _first(reply.command_id, first[reply.command_id]) if _known(reply, first) else reply)
            for waiting, reply in replies
        ]


def _known(reply: Reply, first: Mapping[str, asyncpg.Record]) -> bool:
    return reply.type == ev.CommandRepeated.TYPE and reply.command_id in first


def _first(command_id: str, row: asyncpg.Record) -> Reply:
    return Reply(
        command_id=command_id,
        status=row["status"],
        detail=row["detail"],
        type=row["type"],
        body=row["body"].encode(),
        time=iso(row["at"]),
    )
