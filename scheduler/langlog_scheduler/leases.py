"""Runs that have lost their worker, or their place in the hot queue.

A lease that ran out gives up what its worker held (`HotQueue.reap`): each task becomes ``run.requeue``, a crash. What Postgres
says is dispatched but Redis does not know (it was wiped, or a decider died between log and queue) is requeued too, without counting
as a crash: a run that nobody has begun after it was missing in two looks, one that a worker has begun only after a lease's time,
since a live worker says again what it holds. When this dies between reaping and appending, the second way finds the runs.
"""

from __future__ import annotations

import time

import asyncpg
import structlog
from langlog_backbone.hot_queue import HotQueue
from langlog_backbone.postgres import load_sql
from langlog_backbone.settings import Settings
from langlog_schemas import commands as cmd

logger = structlog.get_logger(__name__)

SQL = load_sql("langlog_scheduler", "scheduler.sql")


class Leases:
    def __init__(self, pool: asyncpg.Pool, queue: HotQueue, settings: Settings) -> None:
        self._pool, self._queue, self._settings = pool, queue, settings
        self._missing_since: dict[tuple[str, int], float] = {}

    async def lost(self) -> list[tuple[str, cmd.Body]]:
        """Requeue commands for tasks of workers whose lease ran out."""
        tasks = [id.rpartition(":") for id in await self._queue.reap()]
        if not tasks:
            return []
        rows = await self._pool.fetch(SQL["threads_of_runs"], [run_id for run_id, _, _ in tasks])
        threads = {row["run_id"]: row["thread_id"] for row in rows}
        found = [
            self._requeue(threads[run_id], run_id, int(attempt), "lease_lost")
            for run_id, _, attempt in tasks
            if run_id in threads
        ]
        logger.warning("scheduler.leases_lost", runs=len(found))
        return found

    async def missing(self) -> list[tuple[str, cmd.Body]]:
        """Requeue commands for dispatched runs that Redis knows nothing of."""
        rows = await self._pool.fetch(SQL["dispatched_runs"], self._settings.sweep_s / 2)
        if not rows:
            self._missing_since.clear()
            return []
        known = await self._queue.known()
        now = time.monotonic()
        since: dict[tuple[str, int], float] = {}
        found = []
        for run_id, thread_id, attempt, started in rows:
            if f"{run_id}:{attempt}" in known:
                continue
            first = since[run_id, attempt] = self._missing_since.get((run_id, attempt), now)
            patience = self._settings.lease_s if started else self._settings.sweep_s / 2
            if now - first >= patience:
                found.append(self._requeue(thread_id, run_id, attempt, "queue_lost"))
        self._missing_since = since
        if found:
            logger.warning("scheduler.dispatches_lost", runs=len(found))
        return found

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
