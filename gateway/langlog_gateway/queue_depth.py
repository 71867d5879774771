"""How many runs wait on the whole server, known closely enough to refuse more (``LANGLOG_MAX_QUEUED_RUNS``).

The count comes from Postgres, while runs are made once in `FRESH_S`; what this gateway has let in since is added. A run never waits
for a count unless the queue looks full; then all that come together wait for the same one. One per gateway, on its event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from langlog_backbone.postgres import load_sql

from .errors import ApiError
from .ports import Reads

SQL = load_sql("langlog_gateway", "runs.sql")
FRESH_S = 1.0
BELIEVED = 2.0
"""A count that says full is believed for this many times as long as counting took: refusing must stay cheap."""
RETRY_AFTER_S = 1


class QueueDepth:
    """``limit`` 0: nothing is counted."""

    def __init__(self, reads: Reads, limit: int) -> None:
        self._reads, self._limit = reads, limit
        self._counted = 0
        self._counted_at = float("-inf")
        self._took_s = 0.0
        self._entering = 0
        """Let in, and perhaps not in Postgres yet."""
        self._entered = 0
        """In Postgres since the last count began."""
        self._counting: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def enter(self, runs: int = 1) -> AsyncIterator[None]:
        """Around the making of runs. Raises ApiError 429 when there would be more than may wait."""
        if not self._limit:
            yield
            return
        await self._admit(runs)
        self._entering += runs
        try:
            yield
            self._entered += runs
        finally:
            self._entering -= runs

    async def _admit(self, runs: int) -> None:
        age = asyncio.get_running_loop().time() - self._counted_at
        full = self._full(runs)
        if self._counting is None and age > (BELIEVED * self._took_s if full else FRESH_S):
            self._counting = asyncio.create_task(self._count())
            self._counting.add_done_callback(self._done)
        if not full:
            return
        if self._counting is not None:
            await asyncio.shield(self._counting)
        if self._full(runs):
            told = f"Too many runs are queued (limit {self._limit}), try again shortly"
            raise ApiError(429, told, {"retry-after": str(RETRY_AFTER_S)})

    def _full(self, runs: int) -> bool:
        return self._counted + self._entering + self._entered + runs > self._limit

    async def _count(self) -> None:
        clock = asyncio.get_running_loop().time
        began, included = clock(), self._entered
        self._counted = int(await self._reads.value(SQL["queued"], self._limit))
        self._entered -= included
        self._counted_at = clock()
        self._took_s = self._counted_at - began

    def _done(self, task: asyncio.Task[None]) -> None:
        self._counting = None
        if not task.cancelled():
            task.exception()  # Postgres is away: the run itself will say so
