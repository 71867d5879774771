"""Releasing the commands of a parked key: they are decided in order, up to one that cannot be, as the events of the release.

While two deciders take a partition for theirs, Postgres may show what the other has released already. This one then decides nothing.

Belongs to one decider; not safe for concurrent use.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import asyncpg
import msgspec
import structlog
from langlog_backbone.log import NewRecord, Position, Record
from langlog_backbone.log.dead_letters import error_text
from langlog_backbone.log.foreign_records import storable_key
from langlog_schemas import commands as cmd
from langlog_schemas import envelope
from langlog_schemas import events as ev
from langlog_schemas.envelope import Cause, CommandMeta

from ..aggregates import DECIDED_TOPICS, Aggregates
from ..command_decider import CommandDecider
from ..effects import Decided, Effects, event_records
from ..read_model import ReadModel
from .keys import PARKED, DeadLetter, ParkedKeys, another_release

logger = structlog.get_logger(__name__)


class Released(NamedTuple):
    """Outcome of deciding a key's waiting commands."""

    decided: list[Decided]
    over: list[str]
    """Origins of the commands that were decided."""
    dropped: list[str]
    full: bool
    """Whether it stopped because no more events fit into one append."""


class ParkedRelease:
    """``max_bytes``: maximum size of a record; ``ends``, ``append``, ``reply``: as for `ParkedRemoval`."""

    def __init__(
        self,
        model: ReadModel,
        aggregates: Aggregates,
        parked: ParkedKeys,
        decider: CommandDecider,
        effects: Effects,
        max_bytes: Callable[[], int],
        ends: Callable[[str], Awaitable[list[int]]],
        append: Callable[[Sequence[NewRecord]], Awaitable[list[Position]]],
        reply: Callable[[Record, int, str], None],
    ) -> None:
        self._model, self._aggregates, self._parked = model, aggregates, parked
        self._decider, self._effects = decider, effects
        self._max_bytes, self._ends, self._append, self._reply = max_bytes, ends, append, reply

    async def release(self, record: Record) -> bool:
        """Decide the parked commands of a key until one cannot be. Their events are this command's: there all or none.

        Returns False if another owner has decided this command, or a later one of its partition: then what is in memory of the
        partition must be read again.
        """
        try:
            release = cmd.decode(envelope.type_of(record.headers), record.value)
            meta = envelope.meta_of(record.headers, record.partition, record.offset)
        except (KeyError, ValueError, msgspec.MsgspecError) as error:
            logger.error("decider.release_not_understood", offset=record.offset, error=error_text(error))
            return True
        assert isinstance(release, cmd.ReleaseParked)
        # this decider's own dead letters, and operators' requests for the key's events, must be folded first
        end = (await self._ends(ev.DEAD_LETTERS))[record.partition]
        await self._model.folded([record.partition], {(ev.DEAD_LETTERS, record.partition): end})
        waiting = await self._model.current([record.partition], lambda connection: self._waiting(connection, record))
        if self._aggregates.passed(record.partition, record.offset):
            return False
        if waiting and waiting[0].topic != cmd.TOPIC:
            self._reply(record, 504, PARKED.format(record.key))  # any event of ours would be parked behind the key's
            return True
        decided, over, dropped, full = await self._decide(record.key, waiting, release.drop)
        if self._aggregates.passed(record.partition, record.offset):
            for one in decided:
                self._decider.forget(one.meta.id)
            return False
        left = waiting[len(over) + len(dropped) :]
        if full:
            # ahead of the events: a decider that dies in between leaves no key half released without a further release
            await self._append([another_release(meta, release)])
        released = ev.ParkedReleased(aggregate_id=record.key, decided=over, dropped=dropped, left=len(left))
        positions = await self._append(_records(record, meta, decided, released))
        self._effects.follow(decided, positions[:-1])
        self._parked.released(record.key, left[0] if left else None)
        logger.warning("decider.released", key=record.key, decided=len(over), dropped=len(dropped), left=len(left))
        return True

    async def _waiting(self, connection: asyncpg.Connection, record: Record) -> list[DeadLetter]:
        """Return what waits of the key. Notes which commands have had the events that it may show."""
        waiting = await self._parked.dead_letters(connection, record.key, self._max_bytes() // 4)
        await self._aggregates.note_decided(connection, DECIDED_TOPICS, [record.partition])
        return waiting

    async def _decide(self, key: str, waiting: Sequence[DeadLetter], drop: str | None) -> Released:
        """Decide the commands in order, up to one that cannot be decided or would not fit."""
        released = Released([], [], [], full=False)
        size = 0
        for parked in waiting:
            if parked.origin == drop:
                released.dropped.append(parked.origin)
                continue
            if parked.value is None:
                return released._replace(full=True)
            size += len(parked.value)
            if released.over and size > self._max_bytes() // 4:
                return released._replace(full=True)
            try:
                command = cmd.decode(envelope.type_of(parked.headers), parked.value)
                meta = envelope.meta_of(parked.headers, parked.part, parked.offset)
                if storable_key(command.key) != key:
                    raise ValueError("the key of the record is not that of its command")
                await self._decider.load([(command, meta)], self._model.patience_s)
                released.decided.append(self._decider.decide(command, msgspec.structs.replace(meta, reply_to=None)))
            except Exception as error:
                self._decider.forget(parked.headers.get("ce_id", ""))
                logger.error("decider.still_bad", origin=parked.origin, error=error_text(error))
                break
            released.over.append(parked.origin)
        return released


def _records(
    record: Record, meta: CommandMeta, decided: Sequence[Decided], released: ev.ParkedReleased
) -> list[NewRecord]:
    """Return the records of a release, with ``released`` as the last one, as events of one command."""
    topic = next((event.topic for d in decided for event in d.events), ev.RUN_EVENTS)
    count = sum(d.held for d in decided) + 1
    records: list[NewRecord] = []
    place = 0
    for d in decided:
        records += event_records(d, Cause(record.partition, record.offset, place, count))
        place += d.held
    records += event_records(
        Decided(meta, [released], None, None), Cause(record.partition, record.offset, count - 1, count)
    )
    records[-1] = records[-1]._replace(topic=topic)
    return records
