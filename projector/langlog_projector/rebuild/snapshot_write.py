"""Writes a snapshot: every row of a read model, as records of the topic ``snapshots`` (`langlog_schemas.snapshots`).

Rows are read table by table through cursors, in the order of their keys, and grouped by key: one record holds the rows of
a thread, or as many as fit. Threads come first (`langlog_backbone.history.thread_snapshot` looks for one of them). Rows of
threads are marked as theirs, so that they are sealed with their keys where records are encrypted. Memory is bounded by one
batch of records.

Concurrency: for a schema without other writers. Death: the records of an incomplete snapshot are ignored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple

import asyncpg
from langlog_backbone.log import PART_BYTES, Log, NewRecord
from langlog_backbone.log.encryption.sealed_log import OTHERS, PLAIN, SEALED_TOPICS
from langlog_backbone.log.records import snapshot_record
from langlog_backbone.postgres.database import load_sql
from langlog_schemas import events as ev
from langlog_schemas import snapshots
from langlog_schemas.snapshots import Column, Position, RowsSnapshot, SnapshotTaken, TableRows, ThreadSnapshot

SQL = load_sql("langlog_projector", "rebuild.sql")
SNAPSHOT = load_sql("langlog_projector", "snapshot.sql")

SOURCE = "/langlog/retention"
RECORD_BYTES = 256_000
"""Bytes of rows in one record; a row over the record limit is split."""
APPEND_BYTES = 2_000_000
"""Bytes that one call appends to the log."""
APPEND_RECORDS = 500
ROWS_AT_ONCE = 50
"""Number of rows fetched from a cursor at once: a row may be as large as a checkpoint."""
SEALING_BYTES = 4_000
"""Bytes that a record needs besides its rows."""

_SEALED = {True: "headers IS NOT NULL AND topic = ANY ($1::text[]) AND type <> ALL ($2::text[])"}
_SEALED[False] = f"NOT ({_SEALED[True]})"


class Source(NamedTuple):
    """A table, and the key of its rows' aggregate."""

    table: str
    key: str
    where: str = "true"
    join: str = ""


OF_THREADS = (
    Source("threads", "t.thread_id"),
    Source("runs", "t.thread_id"),
    Source("checkpoints", "t.thread_id"),
    Source("checkpoint_blobs", "t.thread_id"),
    Source("checkpoint_writes", "t.thread_id"),
    # those of an update of a state belong to no run: the ids of their bodies begin with the thread's
    Source(
        "checkpoint_parts",
        "coalesce(r.thread_id, split_part(t.blob_id, '/', 1))",
        join="LEFT JOIN runs r ON r.run_id = t.run_id",
    ),
    Source("frames", "t.thread_id"),
    Source("thread_events", "t.thread_id"),
    Source("webhooks", "t.thread_id"),
    Source("outcomes", "t.aggregate_id", f"topic = '{ev.RUN_EVENTS}' AND status < 400"),
    Source("dead_letters", "t.key", _SEALED[True]),
)
OF_OTHERS = (
    Source("graphs", "t.graph_id"),
    Source("assistants", "t.assistant_id"),
    Source("assistant_versions", "t.assistant_id"),
    Source("crons", "t.cron_id"),
    Source("store_items", "array_to_string(t.namespace, '.')"),
    Source("store_vectors", "array_to_string(t.namespace, '.')"),
    Source("outcomes", "t.aggregate_id", f"NOT (topic = '{ev.RUN_EVENTS}' AND status < 400)"),
    Source("dead_letters", "t.key", _SEALED[False]),
)
BY_PARTITION = frozenset({"positions"})
"""Tables whose rows belong to a partition itself: they are in `SnapshotTaken`."""

Columns = Mapping[str, Mapping[str, str]]
"""Table -> column -> type."""


class Written(NamedTuple):
    """The sources of a partition's snapshot; ``rows``: of all its tables."""

    taken: SnapshotTaken
    rows: int


async def columns_of(connection: asyncpg.Connection, schema: str) -> Columns:
    columns: dict[str, dict[str, str]] = {}
    for row in await connection.fetch(SQL["columns"], schema):
        columns.setdefault(row["table_name"], {})[row["column_name"]] = row["type"]
    return columns


async def write(
    log: Log, pool: asyncpg.Pool, schema: str, snapshot_id: str, commands: Mapping[int, int]
) -> dict[int, Written]:
    """Write all of the schema. The result is valid only once it has been appended too: see `retention`.

    ``commands``: partition -> offset below which it replaces ``commands`` as well. Raises LogUnavailable, AssertionError for a
    table that this module does not list.
    """
    writer = _Writer(log, snapshot_id, await log.end_offsets(snapshots.TOPIC))
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute("SET LOCAL enable_seqscan = on")
        tables = await columns_of(connection, schema)
        thought_of = {source.table for source in (*OF_THREADS, *OF_OTHERS)} | BY_PARTITION
        assert set(tables) == thought_of, f"not in a snapshot: {set(tables) ^ thought_of}"
        for sources, of_threads in ((OF_THREADS, True), (OF_OTHERS, False)):
            async for key, rows in _by_key(connection, tables, sources, writer.record_bytes):
                await writer.add(key, rows, of_thread=of_threads)
        await writer.flush()
        numbered_rows = await connection.fetch(SNAPSHOT["positions"], list(range(log.partitions)))
    positions: dict[int, list[Position]] = {
        part: [Position(topic="commands", offset=offset)] for part, offset in commands.items()
    }
    for topic, part, *numbers in numbered_rows:
        offset, cause_offset, index, count = numbers
        positions.setdefault(part, []).append(
            Position(topic=topic, offset=offset, cause_offset=cause_offset, cause_index=index, cause_count=count)
        )
    return {
        part: Written(
            SnapshotTaken(
                snapshot_id=snapshot_id,
                partition_key=snapshots.partition_key(part, log.partition_of),
                positions=sorted(of, key=lambda position: position.topic),
                first=writer.first[part],
                records=writer.records[part],
            ),
            writer.rows[part],
        )
        for part, of in sorted(positions.items())
    }


def taken_record(taken: SnapshotTaken) -> NewRecord:
    """Return the record that makes a snapshot valid."""
    return snapshot_record(taken, id=f"{taken.snapshot_id}-{taken.partition_key}-taken", source=SOURCE)


class _Writer:
    """Writes rows into records, and records into the log."""

    def __init__(self, log: Log, snapshot_id: str, ends: Sequence[int]) -> None:
        self._log = log
        self._id = snapshot_id
        self._chunk_bytes = max(1_000, min(log.max_record_bytes, PART_BYTES) - SEALING_BYTES)
        self.record_bytes = min(RECORD_BYTES, self._chunk_bytes)
        self.first = list(ends)
        self.records = [0] * log.partitions
        self.rows = [0] * log.partitions
        self._numbers = [0] * log.partitions
        self._batch: list[NewRecord] = []
        self._size = 0

    async def add(self, key: str, rows: list[TableRows], *, of_thread: bool) -> None:
        part = self._log.partition_of(key)
        number = self._numbers[part]
        self._numbers[part] += 1
        self.rows[part] += sum(map(len, rows))
        body = snapshots.encode_rows(rows)
        chunks = [body[n : n + self._chunk_bytes] for n in range(0, len(body), self._chunk_bytes)]
        for index, chunk in enumerate(chunks):
            about: dict[str, Any] = {
                "snapshot_id": self._id,
                "number": number,
                "index": index,
                "count": len(chunks),
                "rows": chunk,
            }
            whole = ThreadSnapshot(thread_id=key, **about) if of_thread else RowsSnapshot(aggregate_id=key, **about)
            self._batch.append(snapshot_record(whole, id=f"{self._id}-{part}-{self.records[part]}", source=SOURCE))
            self.records[part] += 1
            self._size += len(chunk)
            if self._size >= APPEND_BYTES or len(self._batch) >= APPEND_RECORDS:
                await self.flush()

    async def flush(self) -> None:
        if self._batch:
            await self._log.append(self._batch)
        self._batch, self._size = [], 0


class _Cursor:
    """The rows of one source in the order of their keys."""

    def __init__(self, source: Source, columns: Mapping[str, str], cursor: Any) -> None:
        self.source = source
        self.columns = columns
        self._cursor = cursor
        self._rows: deque[asyncpg.Record] = deque()

    async def key(self) -> str | None:
        """Return the key of the next row; None at the end."""
        if not self._rows:
            self._rows.extend(await self._cursor.fetch(ROWS_AT_ONCE))
        return None if not self._rows else str(self._rows[0][0])

    def take(self) -> asyncpg.Record:
        return self._rows.popleft()


async def _by_key(
    connection: asyncpg.Connection, tables: Columns, sources: Sequence[Source], limit: int
) -> AsyncIterator[tuple[str, list[TableRows]]]:
    """Yield all rows of the sources, grouped by key, in pieces of about ``limit`` bytes."""
    cursors = []
    for source in sources:
        columns = tables[source.table]
        values = ", ".join(
            f't."{name}"' + ("" if column_type == "bytea" else "::text") for name, column_type in columns.items()
        )
        # tables and conditions are constants of this module, column names come from Postgres' own catalogue
        statement = (
            f'SELECT ({source.key}) COLLATE "C" AS snapshot_key, {values} FROM {source.table} t {source.join} '  # noqa: S608
            f"WHERE {source.where} ORDER BY 1"
        )
        arguments = [sorted(SEALED_TOPICS), sorted(PLAIN | OTHERS)] if "$1" in source.where else []
        cursors.append(_Cursor(source, columns, await connection.cursor(statement, *arguments)))
    while True:
        heads = [(key, cursor) for cursor in cursors if (key := await cursor.key()) is not None]
        if not heads:
            return
        key = min(key for key, _ in heads)
        gathered: dict[str, list[asyncpg.Record]] = {}
        size = 0
        for cursor in (cursor for head, cursor in heads if head == key):
            while await cursor.key() == key:
                row = cursor.take()
                gathered.setdefault(cursor.source.table, []).append(row)
                size += sum(len(value) for value in row if value is not None)
                if size >= limit:
                    yield key, _packed(gathered, tables)
                    gathered, size = {}, 0
        if gathered:
            yield key, _packed(gathered, tables)


def _packed(gathered: Mapping[str, Sequence[asyncpg.Record]], tables: Columns) -> list[TableRows]:
    packed = []
    for table, rows in gathered.items():
        by_column = list(zip(*rows, strict=True))[1:]
        packed.append(
            TableRows(
                table=table,
                columns=[
                    Column(name=name, data=list(values))
                    if column_type == "bytea"
                    else Column(name=name, text=list(values))
                    for (name, column_type), values in zip(tables[table].items(), by_column, strict=True)
                ],
            )
        )
    return packed
