"""Measures the difference between Postgres' clock and this process's, at the start and then every `MEASURE_S`: see `clock`.

Concurrency: a task of the loop that opened the block. While Postgres is unavailable, the last measurement counts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog

from ..process.retry import READ_LIMIT_S
from ..process.unavailable import is_unavailable
from ..time.clock import SharedClock, shared
from ..time.sources import machine_time_ns, monotonic_ns
from .pool import Pool

logger = structlog.get_logger(__name__)

MEASURE_S = 10.0
"""Seconds between two measurements: nothing signals that a clock was moved."""
CLOCK = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"


async def measure(pool: Pool, clock: SharedClock = shared) -> None:
    """Compare the clocks once. Raises asyncpg's errors."""
    began = monotonic_ns()
    microseconds: int = await pool.fetchval(CLOCK)
    clock.learn(microseconds * 1000, began, monotonic_ns(), machine_time_ns())


@contextlib.asynccontextmanager
async def following_postgres(pool: Pool) -> AsyncIterator[None]:
    """Use Postgres' clock in this block, and count on from there after it. Raises what asyncpg does."""
    await measure(pool)
    task = asyncio.create_task(_follow(pool))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _follow(pool: Pool) -> None:
    while True:
        await asyncio.sleep(MEASURE_S)  # a clock that drifts or steps sends no signal
        try:
            async with asyncio.timeout(READ_LIMIT_S):
                await measure(pool)
        except Exception as error:  # measured again: the end of this task would go unnoticed
            if not is_unavailable(error):
                logger.exception("clock.not_measured")
