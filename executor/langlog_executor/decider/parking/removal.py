"""Removing a thread whose key is parked: its owner, or its TTL, need not wait for an operator.

The event `events.ThreadDeleted` is folded although events of the key wait, and they are removed with it.
`events.ParkedReleased`, behind it, names the waiting commands: they are never decided. Both are events of one command, so
both are appended or neither.

Belongs to one decider; not safe for concurrent use.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence

import structlog
from langlog_backbone.log import NewRecord, Position, Record
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from langlog_schemas.aggregates.thread import ThreadState
from langlog_schemas.envelope import CommandMeta
from langlog_schemas.rules.filters import FilterError

from ..aggregates import Aggregates
from ..decisions.parked_threads import Removal, decide_removal
from ..decisions.thread_events import fold_thread
from ..decisions.threads import THREAD_MISSING
from ..effects import Decided, Effects, event_records
from ..read_model import ReadModel
from .keys import DeadLetter, ParkedKeys

logger = structlog.get_logger(__name__)

REMOVALS = (cmd.DeleteThread, cmd.ExpireThread)


class ParkedRemoval:
    """``ends``: the ends of a topic's partitions; ``append``: returns when the records are in the log; ``reply``: sends status and detail
    to the client that waits for a command."""

    def __init__(
        self,
        model: ReadModel,
        aggregates: Aggregates,
        parked: ParkedKeys,
        effects: Effects,
        ends: Callable[[str], Awaitable[list[int]]],
        append: Callable[[Sequence[NewRecord]], Awaitable[list[Position]]],
        reply: Callable[[Record, int, str], None],
    ) -> None:
        self._model, self._aggregates, self._parked = model, aggregates, parked
        self._effects, self._ends, self._append, self._reply = effects, ends, append, reply

    async def remove(self, record: Record, command: Removal, meta: CommandMeta, internal_s: float = math.inf) -> bool:
        """Try to remove the thread; return whether it was removed. A rejection is sent and not written: behind an event that cannot be
        folded, it
        would not be folded either.

        Raises an internal error of Postgres if the thread's rows cannot be read for ``internal_s`` seconds; nothing is changed then."""
        part = record.partition
        # the letters that this decider has written are named in the event
        await self._model.folded([part], {(ev.DEAD_LETTERS, part): (await self._ends(ev.DEAD_LETTERS))[part]})
        waiting = await self._model.current(
            [part], lambda connection: self._parked.dead_letters(connection, record.key)
        )
        known = await self._known(record, waiting, internal_s)
        newest = max((parked.at for parked in waiting), default=None)
        try:
            events = decide_removal(known, command, meta, newest)
        except FilterError as error:
            logger.error("decider.failed", type=command.TYPE, key=record.key, error=str(error))
            events = [ev.CommandRejected(aggregate_id=record.key, status=404, detail=THREAD_MISSING.format(record.key))]
        if not events:
            return False
        if isinstance(events[0], ev.CommandRejected):
            self._reply(record, events[0].status, events[0].detail)
            return False
        removed = [parked.origin for parked in waiting if parked.topic == cmd.TOPIC]
        events.append(ev.ParkedReleased(aggregate_id=record.key, removed=removed))
        cached = self._aggregates.thread(command.thread_id)
        before = next((state for state in known if state.exists), cached.state)
        cached.state = fold_thread(before, events, meta.time)
        decided = Decided(meta, events, before, cached)
        positions = await self._append(list(event_records(decided)))
        self._effects.follow([decided], positions)
        # until then the projector may report once more that the key is parked, and its rows show the same
        await self._model.folded([part], {(ev.RUN_EVENTS, part): positions[-1].offset + 1})
        self._parked.released(record.key, None)
        logger.warning("decider.parked_thread_removed", key=record.key, records=len(waiting))
        return True

    async def _known(self, record: Record, waiting: Sequence[DeadLetter], internal_s: float) -> list[ThreadState]:
        """Return the thread as it is in memory, and, where events wait or it is not in memory, as Postgres has it."""
        cached = self._aggregates.cached_thread(record.key)
        if cached is not None and all(parked.topic == cmd.TOPIC for parked in waiting):
            return [cached.state]
        stored = await self._model.sure(
            lambda: self._aggregates.stored_thread(record.key, record.partition), internal_s
        )
        return [cached_thread.state for cached_thread in (cached, stored) if cached_thread is not None]
