"""Checks whether Postgres, Redis and the log are available, for monitors of a process.

One check at a time: concurrent callers share its result, and one that is younger than `FRESH_S` is reused. So health checks
cost the same however often they come. Concurrency: belongs to one event loop. It changes nothing that others read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from .log import Log
from .postgres.pool import Pool
from .process.retry import NAMES
from .process.server_errors import Explained
from .process.unavailable import Dependency, may_pass
from .redis.hot_queue import HotQueue
from .time.sources import monotonic

LIMIT_S = 2.0
"""Seconds without an answer after which a server counts as unavailable."""
FRESH_S = 1.0
REASON_CHARACTERS = 600
"""Maximum length of an error's text in a reason."""

_TABLES = "SELECT FROM assistants, threads, runs, checkpoints, crons, store_items, positions WHERE false"
"""Statement that finds no row, and waits for locks as every read of these tables does."""
_READ_ONLY = "SELECT current_setting('transaction_read_only') = 'on'"


class Probe:
    def __init__(self, pool: Pool, queue: HotQueue, log: Log) -> None:
        self._pool, self._queue, self._log = pool, queue, log
        self._running: asyncio.Task[dict[Dependency, str]] | None = None
        self._checked_at = -FRESH_S

    async def failures(self) -> dict[Dependency, str]:
        """Return the unavailable servers, each with the reason in words for operators. Takes `LIMIT_S` at most."""
        if self._running is None or (self._running.done() and monotonic() - self._checked_at >= FRESH_S):
            self._running = asyncio.create_task(self._check_all(), name="probe")
        return await asyncio.shield(self._running)

    async def reason(self) -> str | None:
        """Return one line for all unavailable servers, or None if all are available."""
        return "; ".join((await self.failures()).values()) or None

    async def _check_all(self) -> dict[Dependency, str]:
        calls: dict[Dependency, Callable[[], Awaitable[object]]] = {
            "postgres": self._check_postgres,
            "redis": self._queue.check_usable,
            "log": self._log.check,
        }
        reasons = await asyncio.gather(*(_check(name, call) for name, call in calls.items()))
        self._checked_at = monotonic()
        return {name: reason for name, reason in zip(calls, reasons, strict=True) if reason is not None}

    async def _check_postgres(self) -> None:
        await self._pool.fetch(_TABLES)
        if await self._pool.fetchval(_READ_ONLY):
            raise OSError("it takes no writes")


async def _check(name: Dependency, call: Callable[[], Awaitable[object]]) -> str | None:
    try:
        async with asyncio.timeout(LIMIT_S):
            await call()
    except TimeoutError:
        return f"{NAMES[name]} has not answered within {LIMIT_S:.0f} s"
    except Exception as error:
        if not may_pass(error):
            raise
        words = isinstance(error, Explained) or type(error) is OSError
        reason = f"{error}".partition("\n")[0][:REASON_CHARACTERS] if words else type(error).__name__
        return f"{NAMES[name]} is unavailable ({reason})"
    return None
