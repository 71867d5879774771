"""Reads of a decider from Postgres, which may be unavailable, behind the log, or behind its own former state.

A crash without synchronous commits, or a failover to an asynchronous replica, costs Postgres its last commits. The projector folds
them again; until it has, no decision uses these rows. So a position is valid only if it is read together with the rows:
a position that was notified before is a lower bound to wait for.

Belongs to one decider; not safe for concurrent use.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING, TypeVar

import msgspec
import structlog
from langlog_backbone.log import TopicPartition
from langlog_backbone.process.retry import READ_LIMIT_S, Availability, until_available
from langlog_backbone.process.unavailable import is_internal
from langlog_backbone.time.sources import monotonic
from langlog_schemas.envelope import Cause

from .aggregates import SQL, Aggregates, ReadModelBehind

if TYPE_CHECKING:
    import asyncpg
    from langlog_backbone.postgres.pool import Pool

logger = structlog.get_logger(__name__)

T = TypeVar("T")

INTERNAL_S = 15.0
"""Seconds for which Postgres has to fail by internal errors before the rows of one key may be the cause."""
RECHECK_S = 0.5
"""Seconds after which a position is read again, although no message reported a change."""


class ReadModel:
    patience_s = INTERNAL_S

    def __init__(self, pool: Pool, aggregates: Aggregates, availability: Availability) -> None:
        self.behind = 0
        """Number of partitions that are waited for, because the projector has not folded them as far as it must have."""
        self._pool = pool
        self._aggregates = aggregates
        self.availability = availability
        self._moved = asyncio.Event()

    def on_watermark(self, data: bytes) -> None:
        """Handler of `channels.WATERMARK`."""
        for topic, marks in msgspec.json.decode(data, type=dict[str, dict[int, int]]).items():
            for part, offset in marks.items():
                self._aggregates.advance_watermark((topic, part), offset)
        self._moved.set()

    async def folded(self, parts: list[int], ends: Mapping[TopicPartition, int]) -> dict[TopicPartition, Cause]:
        """Wait until Postgres holds everything below ``ends``. Returns the last cause of each event topic of the partitions."""
        logged = False
        while True:
            self._moved.clear()
            rows = await self.sure(lambda: self._pool.fetch(SQL["read_causes"], parts))
            positions = {(row["topic"], row["part"]): row["offset"] for row in rows}
            for partition, offset in positions.items():
                self._aggregates.advance_watermark(partition, offset)
            behind = [partition for partition, end in ends.items() if positions.get(partition, 0) < end]
            self.behind = len(behind)
            if not behind:
                return {
                    (topic, part): Cause(part, cause_offset, index, count)
                    for topic, part, _, cause_offset, index, count in rows
                    if cause_offset >= 0
                }
            if not logged:
                logged = True
                logger.info("decider.waits_for_projector", partitions=len(behind))
            await self._projector_moves()

    async def current(self, parts: Collection[int], read: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Return the result of ``read`` on a read model that holds all that is known to be folded of these partitions."""

        async def query_current() -> T:
            async with self._aggregates.current(parts) as connection:
                return await read(connection)

        return await self.sure(query_current)

    async def sure(self, query: Callable[[], Awaitable[T]], internal_s: float = math.inf) -> T:
        """Return the result of a query, however long Postgres is unavailable or behind its former state (`ReadModelBehind`).

        ``internal_s``: seconds after which an internal error of Postgres is raised: the rows of some key may be on a broken page.
        """
        since: float | None = None

        def lasts(error: Exception) -> bool:
            nonlocal since
            if not is_internal(error):
                return False
            since = monotonic() if since is None else since
            return monotonic() - since >= internal_s

        while True:
            self._moved.clear()
            try:
                result = await until_available(query, on=self.availability, limit_s=READ_LIMIT_S, unless=lasts)
            except ReadModelBehind as error:
                if not self.behind:
                    logger.warning("decider.read_model_went_back")
                self.behind = error.partitions
                await self._projector_moves()
            else:
                self.behind = 0
                return result

    async def _projector_moves(self) -> None:
        """Wait until the watermark moves; the time limit covers a message that Redis lost."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RECHECK_S):
                await self._moved.wait()
