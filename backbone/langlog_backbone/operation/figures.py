"""Figures of the whole deployment: a gateway reads them from Postgres, Redis and the log at each scrape.

Each server is queried separately, so an unavailable one affects only its own figures. A reading that is younger than
`FRESH_S` is shared by all scrapes. Concurrency: on the gateway's event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from langlog_schemas.messages import WorkerInfo

from ..log.port import Log, LogUnavailable
from ..metrics import table
from ..metrics.families import Family, family
from ..postgres.database import load_sql
from ..postgres.pool import Pool
from ..process.server_errors import RedisUnavailable
from ..process.settings import Settings
from ..process.unavailable import is_unavailable
from ..redis.client import RedisPipe
from ..redis.kept_frames import KeptFrames
from ..redis.memory import redis_memory
from ..time.sources import monotonic
from . import group_lag
from .health import summed
from .workers import QueueView, WorkerView, queue_and_workers

SQL = load_sql("langlog_backbone", "figures.sql")
FRESH_S = 2.0
SERVER_LIMIT_S = 2.0
"""Seconds after which a server is left out."""
GRAPHS_MAX = 500
"""Maximum number of named graphs with runs in flight, the busiest first: those of former projects may have runs in flight too."""
GROUPS_MAX = 50
"""Maximum number of named groups of readers, langlog's own first."""


class DeploymentFigures:
    """A source of `metrics.exposition`."""

    def __init__(self, pool: Pool, log: Log, pipe: RedisPipe, settings: Settings) -> None:
        self._pool, self._log, self._pipe, self._settings = pool, log, pipe, settings
        self._known: list[Family] = []
        self._known_at = float("-inf")

    async def collect(self) -> Collection[Family]:
        """Return the figures that can be read now."""
        if monotonic() - self._known_at > FRESH_S:
            parts = await asyncio.gather(
                _reached(self._of_postgres()), _reached(self._of_redis()), _reached(self._of_log())
            )
            self._known = [one for part in parts for one in part]
            self._known_at = monotonic()
        return self._known

    async def _of_postgres(self) -> list[Family]:
        pool = self._pool
        runs = await pool.fetch(SQL["runs"], GRAPHS_MAX)
        parked = await pool.fetchrow(SQL["parked"])
        webhooks = await pool.fetchrow(SQL["webhooks"])
        given_up = await pool.fetchval(SQL["webhooks_given_up"])
        crons = await pool.fetchrow(SQL["crons"])
        states = ("running", "waiting", "delayed", "blocked")
        return [
            family(table.QUEUE_RUNS, {(row["graph_id"], state): row[state] for row in runs for state in states}),
            family(table.QUEUE_OLDEST, {(row["graph_id"],): row["oldest_s"] for row in runs}),
            family(table.PARKED_KEYS, parked["keys"]),
            family(table.PARKED_RECORDS, parked["records"]),
            family(table.WEBHOOKS_WAITING, webhooks["waiting"]),
            family(table.WEBHOOKS_LATE, webhooks["late_s"]),
            family(table.WEBHOOKS_GIVEN_UP, given_up),
            family(table.CRONS_DUE, crons["due"]),
            family(table.CRONS_LATE, crons["late_s"]),
        ]

    async def _of_redis(self) -> list[Family]:
        queue = await queue_and_workers(self._pipe)
        memory = await redis_memory(self._pipe)
        frames = await KeptFrames(self._pipe, self._settings).counts()
        slots, active, available = capacity(queue.workers, self._settings.jobs_per_worker)
        alive = sum(worker.lease_s > 0 for worker in queue.workers)
        return [
            family(table.WORKERS_MAX, slots),
            family(table.WORKERS_ACTIVE, active),
            family(table.WORKERS_AVAILABLE, available),
            family(table.WORKERS, {("alive",): alive, ("silent",): len(queue.workers) - alive}),
            family(table.QUEUE_TASKS, _tasks(queue)),
            family(table.REDIS_USED, memory.used),
            family(table.REDIS_MAX, memory.maximum),
            family(table.REDIS_FRAMES, frames.bytes),
            family(table.REDIS_STREAMS, frames.streams),
            family(table.REDIS_DROPPED, frames.dropped),
        ]

    async def _of_log(self) -> list[Family]:
        groups = summed(await group_lag.gather(self._log, self._pool))
        own = sorted(groups, key=lambda one: one.group != "deciders" and not one.group.startswith("projection "))
        names = list(dict.fromkeys(one.group for one in own))[:GROUPS_MAX]
        return [
            family(table.READER_LAG, {(one.group, one.topic): one.lag for one in own if one.group in names}),
        ]


def _tasks(queue: QueueView) -> float:
    return float(queue.queued)


def capacity(workers: Sequence[WorkerView], slots_each: int) -> tuple[int, int, int]:
    """Return the numbers of runs that workers can hold, hold, and could still take. ``slots_each``: slots of a worker
    without a report."""
    slots = sum(_slots(worker.about, slots_each) for worker in workers)
    active = sum(worker.held for worker in workers)
    return slots, active, max(0, slots - active)


def _slots(about: WorkerInfo | None, slots_each: int) -> int:
    return slots_each if about is None else about.slots


async def _reached(part: Any) -> list[Family]:
    """Return the figures of one server; none while it is unavailable."""
    try:
        async with asyncio.timeout(SERVER_LIMIT_S):
            families: list[Family] = await part
            return families
    except (RedisUnavailable, LogUnavailable, TimeoutError):
        return []
    except Exception as error:
        if not is_unavailable(error):
            raise
        return []
