"""How many runs wait on the whole server, known closely enough to refuse more (``LANGLOG_MAX_QUEUED_RUNS``).

The count comes from Postgres, at most once in `FRESH_S` and never before a run that is let in; in between, what this gateway
lets in is added. Only a queue that looks full makes a run wait for a fresh count. One per gateway, on its event loop.
"""

from __future__ import annotations

import asyncio

from langlog_backbone.postgres import load_sql

from .errors import ApiError
from .ports import Reads

SQL = load_sql("langlog_gateway", "runs.sql")
FRESH_S = 1.0
FULL_FRESH_S = 0.2
"""As long as a count that says full is believed."""
RETRY_AFTER_S = 1


class QueueDepth:
    """``limit`` 0: nothing is counted."""

    def __init__(self, reads: Reads, limit: int) -> None:
        self._reads, self._limit = reads, limit
        self._counted = self._admitted = 0
        self._counted_at = float("-inf")
        self._counting: asyncio.Task[None] | None = None

    async def admit(self) -> None:
        """One more run. Raises ApiError 429 when as many wait as may."""
        if not self._limit:
            return
        age = asyncio.get_running_loop().time() - self._counted_at
        full = self._counted + self._admitted >= self._limit
        if age > (FULL_FRESH_S if full else FRESH_S) and self._counting is None:
            self._counting = asyncio.create_task(self._count())
            self._counting.add_done_callback(self._done)
        if full:
            if self._counting is not None:
                await asyncio.shield(self._counting)
            if self._counted + self._admitted >= self._limit:
                told = f"Too many runs are queued (limit {self._limit}), try again shortly"
                raise ApiError(429, told, {"retry-after": str(RETRY_AFTER_S)})
        self._admitted += 1

    async def _count(self) -> None:
        before = self._admitted
        self._counted = int(await self._reads.value(SQL["queued"], self._limit))
        self._admitted -= before
        self._counted_at = asyncio.get_running_loop().time()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._counting = None
        if not task.cancelled():
            task.exception()  # Postgres is away: the run itself will say so
