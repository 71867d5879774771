"""Outcomes of commands that may be repeated, and how long they are kept. Part of `changes.Changes`; one per batch.

An outcome goes once a later one of the same partition is older than it by more than the time that outcomes are kept: the partition's
own clock, so that a read model that is built again holds the same. Nothing depends on where batches end.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import asyncpg
from langlog_backbone.postgres.database import load_sql

KEPT_LEAST = timedelta(hours=1)
"""Whatever is set: what fires crons and sends commands again relies on it."""

SQL = load_sql("langlog_projector", "outcomes.sql")


class Outcome(NamedTuple):
    """The answer to a repetition of the command. ``at``: the time of the first request."""

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
        """The first outcome of a command is valid. ``kept``: for how long."""
        self._rows.setdefault(command_id, outcome)
        self._kept = max(kept, KEPT_LEAST)

    def forget(self, aggregate_id: str) -> None:
        """The gathered outcomes of a thread are erased with it."""
        self._rows = {id: row for id, row in self._rows.items() if row.aggregate_id != aggregate_id}

    async def apply(self, connection: asyncpg.Connection) -> None:
        if not self._rows:
            return
        columns = zip(*[(id, *row) for id, row in self._rows.items()], strict=True)
        await connection.execute(SQL["insert"], *map(list, columns))
        partitions = sorted({(row.topic, row.part) for row in self._rows.values()})
        await connection.execute(SQL["prune"], [t for t, _ in partitions], [p for _, p in partitions], self._kept)
