"""A thread in the last snapshot of the log: where its first events were cut, its past begins here (docs/how-to/retention.md).

A partition's snapshot has the records of threads first, in the order of their ids
(`langlog_projector.rebuild.snapshot_write`), so those of one thread are found by halving and not by reading all of them. Records of other
producers, of cuts that were given up, and gaps may be among them: they are passed over.

Concurrency: holds nothing between calls; a cut that replaces the snapshot meanwhile is found out. Death: nothing to lose.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from langlog_schemas import envelope, snapshots
from langlog_schemas import events as ev
from langlog_schemas.aggregates.thread import ThreadState, interrupt_ids
from langlog_schemas.snapshots import Assembled, SnapshotTaken, TableRows, ThreadSnapshot, rows_of
from msgspec import Raw

from ..log import Log, LogUnavailable, Record
from ..read_model.thread_rows import run_in_flight, thread_state

LOOK_BACK = 16
"""Number of records that one step reads to find the end of a snapshot, from the last one backwards."""
READ_RECORDS = 16
"""Maximum number of records of one thread, or of others among them, that one call reads."""
_json = msgspec.json.decode


class ThreadRows(NamedTuple):
    """The thread's rows as of a position."""

    thread_id: str
    offset: int
    """Offset in ``run-events`` below which the rows replace the events."""
    rows: list[TableRows]

    def state(self) -> ThreadState:
        """Return the aggregate; a non-existent one if there is no such row."""
        row = next(rows_of(self.rows, "threads"), None)
        if row is None:
            return ThreadState(thread_id=self.thread_id)
        in_flight = [row for row in rows_of(self.rows, "runs") if row["status"] in ("pending", "running")]
        runs = [run_in_flight(run) for run in sorted(in_flight, key=lambda run: int(run["ordinal"]))]
        return thread_state(row, interrupt_ids(Raw((row["interrupts"] or "").encode())), runs)

    def last_at(self) -> datetime:
        """Return the time of the last event that the rows include, in UTC."""
        times = [datetime.fromisoformat(row["last_at"]) for row in rows_of(self.rows, "thread_events")]
        return max(times, default=datetime.min.replace(tzinfo=UTC)).astimezone(UTC)

    def head(self, gone: Collection[str]) -> str | None:
        """Return the id of the last root checkpoint that belongs to no run in flight."""
        _, checkpoint_id = max(
            (
                log_order(row)
                for row in rows_of(self.rows, "checkpoints")
                if row["ns"] == "" and row["run_id"] not in gone
            ),
            default=(-1, None),
        )
        return checkpoint_id

    def pieces(self) -> dict[str, dict[int, bytes]]:
        """Return the parts of incomplete bodies over the record limit: blob id -> index -> bytes."""
        by_blob: dict[str, dict[int, bytes]] = {}
        for row in rows_of(self.rows, "checkpoint_parts"):
            by_blob.setdefault(row["blob_id"], {})[int(row["idx"])] = row["data"]
        return by_blob


async def latest(log: Log, partition: int) -> SnapshotTaken | None:
    """Return the last complete snapshot of a partition. Raises LogUnavailable."""
    first = (await log.start_offsets(snapshots.TOPIC))[partition]
    end = (await log.end_offsets(snapshots.TOPIC))[partition]
    while end > first:
        begin = max(first, end - LOOK_BACK)
        for record in reversed(await log.fetch(snapshots.TOPIC, partition, range(begin, end))):
            if envelope.type_of(record.headers) == SnapshotTaken.TYPE:
                snapshot = snapshots.decode(SnapshotTaken.TYPE, record.value)
                assert isinstance(snapshot, SnapshotTaken)
                return snapshot
        end = begin
    return None


async def thread_rows(log: Log, thread_id: str, tables: Collection[str] | None = None) -> ThreadRows | None:
    """Return the thread's rows, of these tables only if named; None when the snapshot has none that can be read (an erased thread).

    Raises LogUnavailable, also when the log is being cut at this moment.
    """
    part = log.partition_of(thread_id)
    taken = await latest(log, part)
    if taken is None:
        return None
    end = (await log.end_offsets(snapshots.TOPIC))[part]
    assembled, tables_rows = Assembled(), []
    seen: set[str] = set()
    async for record in _records(log, part, taken, await _first(log, thread_id, part, taken, end), end):
        if _thread_of(record) != thread_id:
            break
        if envelope.ERASED in record.headers or envelope.SEALED in record.headers:
            return None
        if record.headers["ce_id"] in seen:
            continue  # appended twice
        seen.add(record.headers["ce_id"])
        body = snapshots.decode(ThreadSnapshot.TYPE, record.value)
        assert isinstance(body, ThreadSnapshot)
        tables_rows += [rows for rows in assembled.rows(body) if tables is None or rows.table in tables]
    if (await log.start_offsets(snapshots.TOPIC))[part] > taken.first:
        raise LogUnavailable("the log is being cut")
    return ThreadRows(thread_id, taken.offsets().get(ev.RUN_EVENTS, 0), tables_rows) if tables_rows else None


async def _first(log: Log, thread_id: str, part: int, taken: SnapshotTaken, end: int) -> int:
    """Return a position at which the first record of this thread is the next one of the snapshot, if there is any.

    Reads each foreign record twice at most on the way.
    """
    low, high = taken.first, end
    while low < high:
        middle = (low + high) // 2
        record = await anext(_records(log, part, taken, middle, high), None)
        other = None if record is None else _thread_of(record)
        if record is not None and other is not None and other < thread_id:
            low = record.offset + 1
        else:
            high = middle
    return low


async def _records(log: Log, part: int, taken: SnapshotTaken, start: int, end: int) -> AsyncIterator[Record]:
    """Yield the records of the snapshot at positions from ``start`` to below ``end``, without the foreign ones among them."""
    at, count = start, 1  # most of the time one is all that is looked at
    while at < end:
        for record in await log.fetch(snapshots.TOPIC, part, range(at, min(end, at + count))):
            if record.headers.get("ce_id", "").startswith(f"{taken.snapshot_id}-"):
                yield record
        at += count
        count = READ_RECORDS


def _thread_of(record: Record) -> str | None:
    """Return the thread whose rows the record of a snapshot holds; None for rows of other aggregates, which follow all threads."""
    return record.key if envelope.type_of(record.headers) == ThreadSnapshot.TYPE else None


def log_order(row: Mapping[str, Any]) -> tuple[int, str]:
    """Return a sort key for a snapshot's rows of ``checkpoints`` by their order in the log; snapshots of older releases
    know ids alone."""
    return int(row.get("log_position") or -1), row["checkpoint_id"]
