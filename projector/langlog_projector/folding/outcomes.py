"""Outcomes of commands that may be repeated, and their retention. Part of `changes.Changes`; one per batch.

An outcome is removed once a later one of the same partition is newer than it by more than the retention time: the partition's
own clock, so that a rebuilt read model holds the same. The result does not depend on the ends of batches.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import asyncpg
from langlog_backbone.log import Record
from langlog_backbone.postgres.database import load_sql
from langlog_schemas import events as ev
from langlog_schemas.messages import Reply

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

    def note(self, record: Record, event: ev.AnyEvent, kept: timedelta) -> None:
        """Add the first event of a repeatable command, which its repetitions are answered with. ``kept``: retention time."""
        headers = record.headers
        if "ce_retry" not in headers or "ce_command" not in headers or isinstance(event, ev.CommandRepeated):
            return
        command_id, time = headers["ce_command"], headers["ce_time"]
        reply = reply_to(event, record.value, command_id, time)
        at, body = datetime.fromisoformat(time), reply.body.decode()
        outcome = Outcome(record.topic, record.partition, event.key, reply.status, reply.detail, reply.type, body, at)
        self.add(command_id, outcome, kept)

    def add(self, command_id: str, outcome: Outcome, kept: timedelta) -> None:
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


def reply_to(event: ev.AnyEvent, body: bytes, command_id: str, time: str) -> Reply:
    """Return the outcome of a command that an event represents."""
    if isinstance(event, ev.CommandRejected | ev.AssistantRejected | ev.CronRejected):
        return Reply(command_id=command_id, status=event.status, detail=event.detail, time=time)
    return Reply(command_id=command_id, type=event.TYPE, body=body, time=time)
