"""A thread's events, read from the log: located by the read model's index of positions, never by scanning a topic.

    thread_events (Postgres): offsets  ──►  Log.fetch: those records  ──►  their commands, by the cause  ──►  `EventView`

Concurrency: holds nothing between calls, so calls may overlap. While Postgres or the log is unavailable, a call raises
their error. Events that were dropped when folded (duplicates, records of attempts that are past) are not in the index.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from langlog_schemas import commands as cmd
from langlog_schemas import envelope
from langlog_schemas import event_index as ix
from langlog_schemas import events as ev
from langlog_schemas.event_index import IndexEntry

from ..log import Log, Record
from ..postgres.database import load_sql
from .event_view import EventView, PositionView, causes, event_view, gone_view
from .thread_snapshot import ThreadRows, thread_rows

SQL = load_sql("langlog_backbone", "audit.sql")

INDEX_ROWS = 1_000
"""Rows of the index read in one query; more than `SPAN`, so that a bucket is always whole."""
CHUNK_RECORDS = 64
"""Number of records fetched at once."""

Rows = Callable[..., Awaitable[Sequence[Any]]]
"""A function like ``pool.fetch``."""


class EventQuery(NamedTuple):
    """A selection of a thread's events; None and empty: no restriction."""

    thread_id: str
    run_id: str | None = None
    types: tuple[str, ...] = ()
    """Type filters, as in `event_index.matches`."""
    since: datetime | None = None
    until: datetime | None = None
    frames: bool = False
    """Show the data of frames, not only their number."""


class Page(NamedTuple):
    events: list[EventView]
    last: int
    """Offset after which the next page begins: every offset up to this one was examined."""
    more: bool
    """There may be more beyond ``last``."""


class Audit:
    def __init__(self, log: Log, rows: Rows, page_bytes: int) -> None:
        self._log = log
        self._rows = rows
        self._page_bytes = page_bytes

    async def page(self, query: EventQuery, after: int, limit: int) -> Page:
        """Return the next events past an offset (-1: from the first), at most ``limit``, fewer when their records are big."""
        views: list[EventView] = []
        size = 0
        last = after
        partition = self._log.partition_of(query.thread_id)
        async for entries, seen in self._chunks(query, after):
            records = {
                r.offset: r for r in await self._log.fetch(ev.RUN_EVENTS, partition, [p.offset for p in entries])
            }
            shown = [entry for entry in entries if wanted(query, records.get(entry.offset))]
            room = limit - len(views)
            for view in await self._views(query, partition, shown[:room], records):
                views.append(view)
            if len(shown) > room or len(views) == limit:
                return Page(views, views[-1].position.offset, more=True)
            last = seen
            size += sum(len(record.value) for record in records.values())
            if size >= self._page_bytes:
                return Page(views, last, more=True)
        return Page(views, last, more=False)

    async def entries(self, query: EventQuery, after: int = -1) -> AsyncIterator[list[IndexEntry]]:
        """Yield the positions of events that may match, in order. Times are compared coarsely: filter the records by `wanted`."""
        of_type = ix.wanted(query.types)
        bucket = (after + 1) // ix.SPAN
        while True:
            rows = await self._rows(
                SQL["places"], query.thread_id, bucket, query.run_id, query.since, query.until, INDEX_ROWS
            )
            whole = len(rows) < INDEX_ROWS
            if not whole:  # of the last bucket there may be more
                rows = [row for row in rows if row["bucket"] < rows[-1]["bucket"]]
            bucket_entries = [
                entry
                for row in rows
                for entry in ix.unpack(row["bucket"], row["run_id"], row["entries"])
                if entry.offset > after and of_type(entry.code)
            ]
            bucket_entries.sort()
            if bucket_entries:
                yield bucket_entries
            if whole:
                return
            bucket = rows[-1]["bucket"] + 1

    async def cut_below(self, thread_id: str) -> int:
        """Return the offset at which the log begins for this thread: events below it were cut. Raises LogUnavailable."""
        return (await self._log.start_offsets(ev.RUN_EVENTS))[self._log.partition_of(thread_id)]

    async def snapshot(self, thread_id: str, tables: Collection[str]) -> ThreadRows | None:
        """Return the rows of the thread that replace the cut events (`thread_snapshot.thread_rows`). Raises LogUnavailable."""
        return await thread_rows(self._log, thread_id, tables)

    async def records(self, thread_id: str, entries: Sequence[IndexEntry]) -> AsyncIterator[tuple[IndexEntry, Record]]:
        """Return the records at these positions that are still in the log, in the given order."""
        partition = self._log.partition_of(thread_id)
        for n in range(0, len(entries), CHUNK_RECORDS):
            chunk = entries[n : n + CHUNK_RECORDS]
            records = {r.offset: r for r in await self._log.fetch(ev.RUN_EVENTS, partition, [p.offset for p in chunk])}
            for entry in chunk:
                if entry.offset in records:
                    yield entry, records[entry.offset]

    async def _chunks(self, query: EventQuery, after: int) -> AsyncIterator[tuple[list[IndexEntry], int]]:
        """Yield a few positions at a time, and the offset up to which they are complete."""
        async for batch in self.entries(query, after):
            for n in range(0, len(batch), CHUNK_RECORDS):
                chunk = batch[n : n + CHUNK_RECORDS]
                yield chunk, chunk[-1].offset

    async def _views(
        self, query: EventQuery, partition: int, entries: Sequence[IndexEntry], records: dict[int, Record]
    ) -> list[EventView]:
        decided = causes([records[p.offset] for p in entries if p.offset in records])
        offsets = {cause.offset for cause in decided.values()}
        commands = {r.offset: r for r in await self._log.fetch(cmd.TOPIC, partition, offsets)} if offsets else {}
        views = []
        for entry in entries:
            record, run_id = records.get(entry.offset), entry.run_id or None
            if record is None:
                position = PositionView(ev.RUN_EVENTS, partition, entry.offset)
                views.append(gone_view(ix.NAMES.get(entry.code, "unknown"), query.thread_id, run_id, position))
                continue
            cause = decided.get(entry.offset)
            command = None if cause is None else commands.get(cause.offset)
            views.append(event_view(record, run_id, cause, command, with_frames=query.frames))
        return views


def wanted(query: EventQuery, record: Record | None) -> bool:
    """Return whether a record matches the query. A record that is no longer in the log (None) matches unless times were requested."""
    if record is None:
        return query.since is None and query.until is None
    if not ix.matches(envelope.type_of(record.headers), query.types):
        return False
    if query.since is None and query.until is None:
        return True
    try:
        time = datetime.fromisoformat(record.headers["ce_time"])
    except (KeyError, ValueError):
        return False
    return (query.since is None or time >= query.since) and (query.until is None or time <= query.until)
