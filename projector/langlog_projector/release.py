"""An operator's release of a parked key (`events.ParkedEventsReleased`): its waiting events are folded, in order.

The events of a topic are folded one by one, each in a transaction with the deletion of its row, until one still cannot be folded; it and those
behind it go on waiting. A release that is carried out again continues where it stood.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

import asyncpg
import msgspec
import structlog
from langlog_backbone.log import Record
from langlog_backbone.log.dead_letters import error_text
from langlog_schemas import events as ev

from .apply import PositionsMoved
from .folding.dead_letters import SQL, parsed_origin
from .parking import origin_of, parked_events

logger = structlog.get_logger(__name__)

FoldParked = Callable[[asyncpg.Connection, Record], Awaitable[str | None]]
"""Folds one event that was parked, and returns why it still cannot be folded, if so."""


async def release_events(connection: asyncpg.Connection, release: Record, fold: FoldParked) -> None:
    """Fold the waiting events of the key that ``release`` names. Raises what ``fold`` raises, and errors of Postgres."""
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
    for record in await parked_events(connection, request.aggregate_id):
        if record.topic in stuck:
            continue
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
