"""Outcomes of commands that may be repeated, and their retention. Part of `changes.Changes`; one per batch.

An outcome is removed once a later one of the same partition is newer than it by more than the retention time: the partition's
own clock, so that a rebuilt read model holds the same. The result does not depend on the ends of batches.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import asyncpg
from langlog_backbone.postgres.database import load_sql

KEPT_LEAST = timedelta(hours=1)
"""Minimum retention, whatever is configured: firing of crons and repeated commands rely on it."""

SQL = load_sql("langlog_projector", "outcomes.sql")


class Outcome(NamedTuple):
    """The reply to a repetition of the command. ``at``: the time of the first request."""

    topic: str
    part: int
    aggregate_id: str
    status: int
    detail: str | None
    type: str
    body: str
    at: datetime


class OutcomeChanges:
    def __init__(self) -> None:
        self._rows: dict[str, Outcome] = {}
        self._kept = timedelta()

    def __bool__(self) -> bool:
        return bool(self._rows)

    def note(self, command_id: str, outcome: Outcome, kept: timedelta) -> None:
        """Add an outcome; the first one of a command is valid. ``kept``: retention time."""
        self._rows.setdefault(command_id, outcome)
        self._kept = max(kept, KEPT_LEAST)

    def forget(self, aggregate_id: str) -> None:
        """Drop the collected outcomes of an erased thread."""
        self._rows = {id: row for id, row in self._rows.items() if row.aggregate_id != aggregate_id}

    async def apply(self, connection: asyncpg.Connection) -> None:
        if not self._rows:
            return
        columns = zip(*[(id, *row) for id, row in self._rows.items()], strict=True)
        await connection.execute(SQL["insert"], *map(list, columns))
        partitions = sorted({(row.topic, row.part) for row in self._rows.values()})
        await connection.execute(SQL["prune"], [t for t, _ in partitions], [p for _, p in partitions], self._kept)
