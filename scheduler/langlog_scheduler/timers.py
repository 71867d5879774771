"""Starts delayed runs when they are due, and ends overdue ones."""

from __future__ import annotations

from datetime import UTC, datetime

import asyncpg
from langlog_backbone.history.last_states import LastStates, ended
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.process.settings import Settings
from langlog_schemas import commands as cmd
from langlog_schemas.aggregates.thread import TIME_OVER

from .leases import orphaned_run

SQL = load_sql("langlog_scheduler", "scheduler.sql")

OVERDUE_GRACE_S = 30.0
"""Seconds after which an overdue run is ended here: its worker should have ended it."""


class Timers:
    def __init__(self, pool: asyncpg.Pool, settings: Settings, states: LastStates) -> None:
        self._pool, self._settings, self._states = pool, settings, states
        self._checked_at = datetime.min.replace(tzinfo=UTC)

    async def due(self) -> list[tuple[str, cmd.Body]]:
        """Return start commands for runs whose delay has passed."""
        rows = await self._pool.fetch(SQL["due_runs"])
        self._checked_at = rows[0]["at"]
        return [
            (f"{row['run_id']}-due", cmd.StartDueRun(thread_id=row["thread_id"], run_id=row["run_id"]))
            for row in rows
            if row["run_id"] is not None
        ]

    async def next_due_s(self) -> float | None:
        """Return the seconds until the next delay has passed, of those that were not `due`; None when no run waits for a moment."""
        seconds: float | None = await self._pool.fetchval(SQL["next_due"], self._checked_at)
        return seconds

    async def overdue(self) -> list[tuple[str, cmd.Body]]:
        """Return time-out commands for overdue runs."""
        rows = await self._pool.fetch(SQL["overdue_runs"], self._settings.job_timeout_s + OVERDUE_GRACE_S)
        runs = [orphaned_run(row) for row in rows]
        time_outs: list[tuple[str, cmd.Body]] = []
        for run, state in zip(runs, await self._states.of(runs), strict=True):
            command: cmd.Body
            if state is None:
                command = cmd.TimeOutRun(thread_id=run.thread_id, run_id=run.run_id, attempt=run.attempt)
            else:
                command = ended(run, state, "timeout", cmd.RunError(error="TimeoutError", message=TIME_OVER))
            time_outs.append((f"{run.run_id}-{run.attempt}-timeout", command))
        return time_outs
