"""Records that cannot be handled, and those that wait behind them: a key is parked, not its partition.

An event that cannot be folded becomes a row of ``dead_letters`` in the same transaction as the positions, and so does every later
event of the same topic and key, in order; all other keys are unaffected. There is no other state, and folding the same log
parks the same records, so that it survives restarts and rebuilds. Commands that the decider could not decide arrive as dead letters on
the topic ``dead-letters`` and become rows as well. An operator releases a key: `events.ParkedEventsReleased` (rows are
folded in order until one cannot be: `release_events`), `events.ParkedReleased` (the decider has decided commands). The deletion of a
thread removes its waiting records too: `events.ThreadDeleted` is folded although its key is parked.

Not safe for concurrent use: it belongs to one `Projection`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Set
from datetime import datetime

import asyncpg
import msgspec
import structlog
from langlog_backbone.log import Record
from langlog_backbone.log.dead_letters import error_text
from langlog_schemas import envelope
from langlog_schemas import events as ev

from .apply import PositionsMoved
from .folding.dead_letters import SQL, Origin, parsed_origin

logger = structlog.get_logger(__name__)

RELEASED_RECORDS = 1000
"""Maximum number of parked events that are read at once."""
RELEASED_BYTES = 4_000_000
"""Size in bytes beyond which no further parked event is read before those are folded."""

FoldParked = Callable[[asyncpg.Connection, Record], Awaitable[str | None]]
"""Folds one event that was parked, and returns why it still cannot be folded, if so."""


class Parked:
    """The parked keys during folding. ``keys``: (topic, key) of which all further events are parked."""

    def __init__(self) -> None:
        self.keys: set[tuple[str, str]] = set()
        self.dropped: set[Origin] = set()
        self.refused: dict[Origin, str] = {}
        """Records that were rejected only when they were written, with their errors. Found again after a restart."""

    async def read(self, connection: asyncpg.Connection) -> None:
        self.keys = {(topic, key) for topic, key in await connection.fetch(SQL["read_open"])}
        self.dropped = {(topic, part, offset) for topic, part, offset in await connection.fetch(SQL["read_dropped"])}


async def release_events(connection: asyncpg.Connection, release: Record, fold: FoldParked) -> None:
    """Fold the waiting events of the key that ``release`` names. Raises what ``fold`` raises, and errors of Postgres.

    The events of a topic are folded one by one, each in a transaction with the deletion of its row, until one still cannot be folded; it
    and those behind it go on waiting. A release that is carried out again continues where it stood.
    """
    try:
        request = ev.decode(ev.ParkedEventsReleased.TYPE, release.value)
        time = datetime.fromisoformat(release.headers["ce_time"])
    except (KeyError, ValueError, msgspec.MsgspecError) as error:
        logger.error("projector.release_not_understood", offset=release.offset, error=error_text(error))
        return
    assert isinstance(request, ev.ParkedEventsReleased)
    origin = parsed_origin(request.drop or "")
    if origin is not None:
        await connection.execute(SQL["drop_event"], *origin, request.aggregate_id, time)
    stuck: set[str] = set()
    async for record in _parked_events(connection, request.aggregate_id, stuck):
        why = await fold(connection, record)
        if why is not None:
            stuck.add(record.topic)
            logger.error("projector.still_bad", topic=record.topic, offset=record.offset, error=why)
            await connection.execute(SQL["still_bad"], *origin_of(record), why)


async def take_parked(connection: asyncpg.Connection, record: Record) -> None:
    """Delete the row of a parked event. Raises PositionsMoved if another owner has folded it."""
    taken: str = await connection.execute(SQL["take"], *origin_of(record))
    if not taken.endswith(" 1"):
        raise PositionsMoved


async def _parked_events(connection: asyncpg.Connection, key: str, stuck: Set[str]) -> AsyncIterator[Record]:
    """Yield the key's waiting events, in the order of each topic, without those of topics that are ``stuck`` by then. Events that are
    large are read in portions."""
    after: Origin = ("", -1, -1)
    while rows := await connection.fetch(
        SQL["parked_events"], key, *after, sorted(stuck), RELEASED_RECORDS, RELEASED_BYTES
    ):
        for topic, part, offset, headers, value in rows:
            after = (topic, part, offset)
            if topic not in stuck:
                yield Record(topic, part, offset, key, value, msgspec.json.decode(headers, type=dict[str, str]))


def origin_of(record: Record) -> Origin:
    """Return the topic, partition and offset of this record."""
    return record.topic, record.partition, record.offset


def releases_events(record: Record) -> bool:
    """Return whether the record is an operator's release of parked events."""
    return record.topic == ev.DEAD_LETTERS and envelope.type_of(record.headers) == ev.ParkedEventsReleased.TYPE
