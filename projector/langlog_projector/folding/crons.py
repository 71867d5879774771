"""The changes of a batch of events to crons. Part of `changes.Changes`; not safe for concurrent use: one per batch."""

from __future__ import annotations

from datetime import datetime

import asyncpg
import msgspec
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.time.schedule import moment_of
from langlog_schemas import events as ev
from msgspec.structs import replace

SQL = load_sql("langlog_projector", "crons.sql")

_dumps = msgspec.json.encode


class CronChanges:
    def __init__(self) -> None:
        self._whole: dict[str, ev.CronContent] = {}
        self._moved: dict[str, str] = {}
        """Cron -> its next date, for crons without other changes."""
        self._gone: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._whole or self._moved or self._gone)

    def note(self, event: ev.CronCreated | ev.CronChanged | ev.CronAdvanced | ev.CronDeleted) -> None:
        id = event.cron_id
        match event:
            case ev.CronDeleted():
                self._whole.pop(id, None)
                self._moved.pop(id, None)
                self._gone.add(id)
            case ev.CronAdvanced() if id in self._whole:
                self._whole[id] = replace(self._whole[id], next_run_date=event.next_run_date)
            case ev.CronAdvanced():
                self._moved[id] = event.next_run_date
            case _:
                self._moved.pop(id, None)
                self._whole[id] = event.content

    async def apply(self, connection: asyncpg.Connection) -> None:
        """Write the changes; removals first."""
        if self._gone:
            await connection.execute(SQL["remove"], list(self._gone))
        if self._whole:
            await connection.executemany(SQL["upsert"], [_row(id, content) for id, content in self._whole.items()])
        if self._moved:
            dates = [datetime.fromisoformat(date) for date in self._moved.values()]
            await connection.execute(SQL["advance"], list(self._moved), dates)


def _row(cron_id: str, content: ev.CronContent) -> tuple[object, ...]:
    return (
        cron_id,
        content.assistant_id,
        content.thread_id,
        content.user_id,
        content.schedule,
        content.timezone,
        content.end_time,
        None if content.end_time is None else moment_of(content.end_time),
        _dumps(content.payload).decode(),
        _dumps(content.metadata).decode(),
        content.on_run_completed,
        content.enabled,
        *map(datetime.fromisoformat, (content.next_run_date, content.created_at, content.updated_at)),
        None if content.authority is None else _dumps(content.authority).decode(),
    )
