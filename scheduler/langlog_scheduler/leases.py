"""Runs that have lost their worker, or their task in the hot queue.

The tasks of a worker whose lease has expired are reaped (`HotQueue.reap`): each becomes ``run.requeue``, a crash. A run that Postgres
shows as dispatched but Redis does not know (it was wiped, or a decider died between log and queue) is requeued too, without counting
as a crash: one that no worker has begun after it was missing in two polls, one that a worker has begun only after a lease's time,
since a live worker stores its tasks again. A run that will not be tried again ends with its thread's latest state, if
another worker can read it (`LastStates`); the decider ends a run with a stop request. When this dies between reaping and
appending, the second check finds the runs.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import asyncpg
import structlog
from langlog_backbone.history.last_states import LastStates, OrphanedRun, State, ended
from langlog_backbone.metrics.table import DISPATCHES_LOST, LEASES_LOST
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.process.server_errors import RedisUnavailable
from langlog_backbone.process.settings import Settings
from langlog_backbone.redis.hot_queue import HotQueue
from langlog_backbone.time.sources import monotonic
from langlog_schemas import commands as cmd
from langlog_schemas.aggregates.thread import WORKER_LOST

logger = structlog.get_logger(__name__)

SQL = load_sql("langlog_scheduler", "scheduler.sql")


class Leases:
    """``clock``: monotonic seconds."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        queue: HotQueue,
        settings: Settings,
        states: LastStates,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._clock = clock
        self._pool, self._queue, self._settings, self._states = pool, queue, settings, states
        self._given_up: dict[str, int] = {}
        """Runs whose last attempt is lost -> that attempt; `given_up` ends them."""
        self.giving_up = asyncio.Event()
        self._refused_at = -math.inf
        """Time at which Redis last refused writes."""
        self._missing_since: dict[tuple[str, int], float] = {}

    async def lost(self) -> list[tuple[str, cmd.Body]]:
        """Return requeue commands for tasks of workers whose lease has expired."""
        await self._check_redis()
        if self._clock() - self._refused_at < self._settings.lease_s:
            return []  # leases ran out because Redis did not let workers renew them: those who live do so first
        tasks = [id.rpartition(":") for id in await self._queue.reap()]
        if not tasks:
            return []
        rows = await self._pool.fetch(SQL["runs_in_flight"], [run_id for run_id, _, _ in tasks])
        runs = {row["run_id"]: row for row in rows}
        requeues, given_up = [], 0
        for run_id, _, attempt in tasks:
            run = runs.get(run_id)
            if run is None:
                continue
            if run["attempt"] == int(attempt) and self._is_last(run):
                self._given_up[run_id] = int(attempt)
                self.giving_up.set()
                given_up += 1
            else:
                requeues.append(self._requeue(run["thread_id"], run_id, int(attempt), "lease_lost"))
        LEASES_LOST.inc(len(requeues) + given_up)
        logger.warning("scheduler.leases_lost", runs=len(requeues) + given_up)
        return requeues

    async def given_up(self) -> list[tuple[str, cmd.Body]]:
        """Return the ends of runs whose last attempt `lost` has found to be lost. A separate poll, because it waits for workers."""
        attempts = dict(self._given_up)
        rows = await self._pool.fetch(SQL["runs_in_flight"], list(attempts))
        rows = [row for row in rows if row["attempt"] == attempts[row["run_id"]]]
        states = await self._states.of([orphaned_run(row) for row in rows])
        for run_id in attempts:
            del self._given_up[run_id]
        if not self._given_up:
            self.giving_up.clear()
        return [self._end(row, state) for row, state in zip(rows, states, strict=True)]

    def _is_last(self, run: asyncpg.Record) -> bool:
        """Return whether a crash of the present attempt is the end of the run, and leaves an end to be reported."""
        if run["temporary"] or not run["started"] or run["cancel"] is not None:
            return False
        last: bool = run["crashes"] + 1 >= self._settings.max_attempts
        return last

    def _end(self, run: asyncpg.Record, state: State | None) -> tuple[str, cmd.Body]:
        id, command = self._requeue(run["thread_id"], run["run_id"], run["attempt"], "lease_lost")
        if state is None:
            return id, command
        error = cmd.RunError(error="WorkerLost", message=WORKER_LOST.format(run["crashes"] + 1))
        return id, ended(orphaned_run(run), state, "error", error)

    async def missing(self, new_for_s: float | None = None) -> list[tuple[str, cmd.Body]]:
        """Return requeue commands for dispatched runs that Redis does not know.

        ``new_for_s``: the queue was created empty that many seconds ago. Runs that were dispatched before, and that no
        worker has begun, are lost for certain, and found by this one poll.
        """
        rows = await self._pool.fetch(
            SQL["dispatched_runs"], self._settings.sweep_s / 2 if new_for_s is None else new_for_s
        )
        if not rows:
            self._missing_since.clear()
            return []
        await self._check_redis()  # while nothing can be dispatched, another dispatch would get lost as well
        known = await self._queue.known()
        now = self._clock()
        since: dict[tuple[str, int], float] = {}
        requeues = []
        for run_id, thread_id, attempt, started in rows:
            if f"{run_id}:{attempt}" in known or run_id in self._given_up:
                continue
            first = since[run_id, attempt] = self._missing_since.get((run_id, attempt), now)
            unbegun = self._settings.sweep_s / 2 if new_for_s is None else 0.0
            patience = self._settings.lease_s if started else unbegun
            if now - first >= patience:
                requeues.append(self._requeue(thread_id, run_id, attempt, "queue_lost"))
        self._missing_since = since
        if requeues:
            DISPATCHES_LOST.inc(len(requeues))
            logger.warning("scheduler.dispatches_lost", runs=len(requeues))
        return requeues

    async def _check_redis(self) -> None:
        try:
            await self._queue.check_writable()
        except RedisUnavailable:
            self._refused_at = self._clock()
            raise

    def _requeue(self, thread_id: str, run_id: str, attempt: int, reason: str) -> tuple[str, cmd.Body]:
        crash = reason == "lease_lost"
        command = cmd.RequeueRun(
            thread_id=thread_id,
            run_id=run_id,
            attempt=attempt,
            reason="lease_lost" if crash else "queue_lost",
            crash=crash,
            max_attempts=self._settings.max_attempts,
        )
        return f"{run_id}-{attempt}-requeue", command


def orphaned_run(row: asyncpg.Record) -> OrphanedRun:
    """Return the orphaned run of a row, as `LastStates` needs it."""
    return OrphanedRun(
        row["thread_id"], row["run_id"], row["attempt"], row["graph_id"], row["config"].encode(), row["temporary"]
    )
