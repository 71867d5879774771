"""Number of pending runs on the whole server, precise enough to refuse more (``LANGLOG_MAX_QUEUED_RUNS``), and of each
authenticated user (``LANGLOG_MAX_QUEUED_RUNS_PER_USER``), so that one user cannot fill the queue.

The count is read from Postgres, once per `FRESH_S` while runs are created; runs that this gateway has admitted since are
added. A run never waits for a count unless the queue looks full; then concurrent requests wait for the same one. One per
gateway, on its event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

from langlog_backbone.postgres.database import load_sql

from .backends import Reads
from .errors import ApiError

SQL = load_sql("langlog_gateway", "runs.sql")
FRESH_S = 1.0
BELIEVED = 2.0
"""Factor: a count of a full queue stays valid for this many times as long as counting took, so that refusing stays cheap."""
RETRY_AFTER_S = 1


class QueueDepth:
    """``limit``: maximum of pending runs; 0: no limit. ``share``: maximum of one user; 0: no limit."""

    def __init__(self, reads: Reads, limit: int, share: int = 0) -> None:
        self._reads, self._limit, self._share = reads, limit, share
        self._counted: Counter[str] = Counter()
        """User -> runs at the last count; runs without a user under the empty string."""
        self._counted_at = float("-inf")
        self._took_s = 0.0
        self._entering: Counter[str] = Counter()
        """Admitted runs that may not be in Postgres yet."""
        self._entered: Counter[str] = Counter()
        """Runs that were admitted since the last count began."""
        self._counting: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def enter(self, user: str, runs: int = 1) -> AsyncIterator[None]:
        """Context for the creation of runs. Raises ApiError 429 if there would be too many."""
        if not self._limit:
            yield
            return
        await self._admit(user, runs)
        self._entering[user] += runs
        try:
            yield
            self._entered[user] += runs
        finally:
            self._entering[user] -= runs
            if not self._entering[user]:
                del self._entering[user]

    async def _admit(self, user: str, runs: int) -> None:
        age = asyncio.get_running_loop().time() - self._counted_at
        full = self._refusal(user, runs) is not None
        if self._counting is None and age > (BELIEVED * self._took_s if full else FRESH_S):
            self._counting = asyncio.create_task(self._count())
            self._counting.add_done_callback(self._done)
        if not full:
            return
        if self._counting is not None:
            await asyncio.shield(self._counting)
        if (refusal := self._refusal(user, runs)) is not None:
            raise ApiError(429, refusal, {"retry-after": str(RETRY_AFTER_S)})

    def _refusal(self, user: str, runs: int) -> str | None:
        counts = (self._counted, self._entering, self._entered)
        if sum(count.total() for count in counts) + runs > self._limit:
            return f"Too many runs are queued (limit {self._limit}), try again shortly"
        if user and self._share and sum(count[user] for count in counts) + runs > self._share:
            return f"Too many of your runs are queued (limit {self._share}), try again when some of them have ended"
        return None

    async def _count(self) -> None:
        clock = asyncio.get_running_loop().time
        began, included = clock(), self._entered.copy()
        rows = await self._reads.rows(SQL["queued"], self._limit)
        self._counted = Counter({row["user_id"]: row["runs"] for row in rows})
        self._entered -= included
        self._counted_at = clock()
        self._took_s = self._counted_at - began

    def _done(self, task: asyncio.Task[None]) -> None:
        self._counting = None
        if not task.cancelled():
            task.exception()  # Postgres is unavailable: the request itself will report it
