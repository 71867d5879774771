"""Waiting until the read model holds what the log holds now, before a process that has just started answers from it.

Postgres may lose its last commits at the moment at which every process that knew of them ends: all are killed together, or one after the
other. No process then knows that positions went back (`positions`), but the log has what was answered: it is appended to first.

Concurrency: reads only. Death: changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

from ..log import Log, Positions
from ..process.unavailable import may_pass
from ..time.sources import monotonic
from .positions import ReadPositions
from .same_log import QUERY_LIMIT_S, bounds

logger = structlog.get_logger(__name__)

STALLED_S = 30.0
"""Seconds without a record folded after which no projector is taken to be there: longer than one takes to start and to be given the
partitions of one that is gone (`Settings.group_session_s`)."""
RECHECK_S = 1.0
"""Seconds after which positions are read again, although no message reported a change: Redis may be away, and messages may be lost."""
LOOKS_APART_S = 0.05
"""Seconds between two looks: a projector that has much to fold reports each batch."""
_POSITIONS = 'SELECT topic, part, "offset" FROM positions'


async def catch_up(
    fetch: Callable[[str], Awaitable[Sequence[Any]]],
    log: Log,
    positions: ReadPositions,
    *,
    stalled_s: float = STALLED_S,
    limit_s: float = math.inf,
) -> bool:
    """Wait until the read model holds all records that the log holds at the first look, while records are folded.

    ``fetch``: of a pool on the read model; ``positions``: of that pool, which get what it shows. ``limit_s``: seconds that it takes at
    most. False: nothing was folded for ``stalled_s``, so that no projector may be there, or a server was unavailable for so long, or the
    limit was reached; then what was answered before may be missing until it is folded, and a warning is logged.
    """
    ends: Positions | None = None
    missing: int | None = None
    since = began = monotonic()
    while True:
        moved = positions.moved
        try:
            async with asyncio.timeout(QUERY_LIMIT_S):
                ends = ends or await bounds(log.end_offsets)
                rows = await fetch(_POSITIONS)
        except Exception as error:
            if not may_pass(error):
                raise
        else:
            for topic, part, offset in rows:
                positions.note((topic, part), offset)
            now_missing = _missing(ends, rows)
            if not now_missing:
                return True
            if missing is None:
                logger.info("read_model.catching_up", records=now_missing)
            if missing is None or now_missing < missing:
                missing, since = now_missing, monotonic()
        left_s = min(since + stalled_s, began + limit_s) - monotonic()
        if left_s <= 0:
            logger.warning(
                "read_model.behind",
                records="unknown" if missing is None else missing,
                after_s=round(monotonic() - began, 1),
                effect="answers may lack what was acknowledged until a projector has folded these records",
            )
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(RECHECK_S, left_s)):
                await moved.wait()
                await asyncio.sleep(LOOKS_APART_S)


def _missing(ends: Positions, rows: Sequence[Any]) -> int:
    """Return the number of records below the ends that are not folded."""
    folded = {(topic, part): offset for topic, part, offset in rows}
    return sum(max(0, end - folded.get(partition, 0)) for partition, end in ends.items())
