"""Checks at each start that the read model was folded from this log, because a service on another one serves wrong data or stops
later. An older copy of a log under a newer database is the usual case.

Concurrency: two reads, positions first, so that a projector at work never appears ahead of the log. Death: changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import asyncpg
import structlog
from langlog_schemas import events as ev

from ..log import Log, LogFault, LogUnavailable, Positions

logger = structlog.get_logger(__name__)

QUERY_LIMIT_S = 5.0
"""Seconds for the log to report its ends; a start does not fail because a partition has no leader at the moment."""
REMEDY = (
    "check LOG_URI and DATABASE_URI (or --data-dir); if this is the log to go by, run `langlog rebuild --from-scratch`"
)
_POSITIONS = 'SELECT topic, part, "offset" FROM positions WHERE "offset" > 0'

Rows = Callable[[str], Awaitable[Sequence[Any]]]


class OtherLog(LogFault):
    """The read model and the log do not belong together; the message is one line with the remedy."""


async def check_same_log(fetch: Rows, log: Log, schema: str, *, cut: bool = True) -> None:
    """Raise OtherLog if the read model is ahead of the log or (with ``cut``) behind what was cut from it.

    ``fetch``: of a connection on the schema of the read model; where that is not there, nothing is wrong. A log that does not
    answer in time is left to those that read it.
    """
    try:
        positions = {(topic, part): offset for topic, part, offset in await fetch(_POSITIONS)}
    except asyncpg.UndefinedTableError:
        return
    try:
        async with asyncio.timeout(QUERY_LIMIT_S):
            ends = await bounds(log.end_offsets)
            starts = await bounds(log.start_offsets) if cut else {}
    except (LogUnavailable, TimeoutError) as error:
        logger.info("log.not_compared", error=str(error))
        return
    difference = ahead(positions, ends, schema) or behind(positions, starts, schema)
    if difference is not None:
        raise OtherLog(f"{difference}: {REMEDY}")


async def bounds(query: Callable[[str], Awaitable[list[int]]]) -> Positions:
    """Return the ends or starts of every partition of the folded topics. Raises LogUnavailable."""
    return {(topic, part): offset for topic in ev.FOLDED_TOPICS for part, offset in enumerate(await query(topic))}


def ahead(positions: Mapping[Any, int], ends: Mapping[Any, int], schema: str) -> str | None:
    """Return the error if a read model has folded records that the log does not hold, or None."""
    topics = {topic for topic, _ in ends}
    for (topic, part), offset in sorted(positions.items()):
        if topic not in topics or not offset:
            continue
        end = ends.get((topic, part))
        if end is None:
            return f"the read model {schema} was folded from another log: this one has no partition {topic}/{part}"
        if offset > end:
            return (
                f"the read model {schema} was folded from another log, or from a newer copy of this one: "
                f"it is at offset {offset} of {topic}/{part}, where the log ends at {end}"
            )
    return None


def behind(positions: Mapping[Any, int], starts: Mapping[Any, int], schema: str) -> str | None:
    """Return the error if a non-empty read model would have to continue below the cut, or None."""
    begun = {part for (_, part), offset in positions.items() if offset > 0}
    for (topic, part), start in sorted(starts.items()):
        offset = positions.get((topic, part), 0)
        if part in begun and offset < start:
            return (
                f"the read model {schema} is at offset {offset} of {topic}/{part}, which was cut below {start} "
                "(docs/how-to/retention.md)"
            )
    return None
