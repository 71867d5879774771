"""Reads snapshots: where the log was cut, a read model begins with the rows of the snapshot instead of the log's first record.

Used wherever events are folded: by the live projector when it finds an empty read model, rebuilds, verify. Each partition
is restored by itself, in one transaction with its positions, so that it is restored completely or not at all.

Concurrency: two restores of the same partition take turns, and the second has nothing to do. Death: an uncommitted transaction
is repeated.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import asyncpg
import structlog
from langlog_backbone.history.thread_snapshot import latest
from langlog_backbone.log import Log, LogFault, Positions, Record
from langlog_backbone.read_model.same_log import REMEDY, OtherLog, behind
from langlog_schemas import envelope, snapshots
from langlog_schemas import events as ev
from langlog_schemas.snapshots import Assembled, RowsSnapshot, SnapshotTaken, TableRows, ThreadSnapshot

from ..apply import SQL as APPLY
from .snapshot_write import SNAPSHOT, Columns, columns_of

logger = structlog.get_logger(__name__)

READ_RECORDS = 64
"""Number of records that are read and written at once."""

Snapshots = Mapping[int, SnapshotTaken]
"""Partition -> its snapshot."""


async def starts_of(log: Log) -> Positions:
    """Return the offsets below which the folded topics were cut; uncut partitions are absent. Raises LogUnavailable."""
    return {
        (topic, part): offset
        for topic in ev.FOLDED_TOPICS
        for part, offset in enumerate(await log.start_offsets(topic))
        if offset > 0
    }


async def restore(log: Log, pool: asyncpg.Pool, schema: str, partitions: Collection[int]) -> int:
    """Restore partitions of which nothing is folded and whose log was cut; return the number of rows.

    Raises LogFault if the read model continues from below a cut, or a snapshot is missing; LogUnavailable; Postgres' errors.
    """
    starts = await starts_of(log)
    parts = sorted({part for _, part in starts} & set(partitions))
    if not parts:
        return 0
    rows = await pool.fetch(SNAPSHOT["positions"], parts)
    positions = {(row["topic"], row["part"]): row["offset"] for row in rows}
    trouble = behind(
        positions, {partition: start for partition, start in starts.items() if partition[1] in parts}, schema
    )
    if trouble is not None:
        raise OtherLog(f"{trouble}: {REMEDY}")
    begun = {part for (_, part), offset in positions.items() if offset > 0}
    count = 0
    for part in parts:
        if part not in begun:
            taken = await latest(log, part)
            if taken is None:
                raise LogFault(f"partition {part} of the log was cut, and there is no snapshot of it")
            count += await restore_partition(log, pool, schema, part, taken)
    if count:
        logger.info("projector.restored", schema=schema, rows=count)
    return count


async def restore_partition(log: Log, pool: asyncpg.Pool, schema: str, partition: int, taken: SnapshotTaken) -> int:
    """Restore rows and positions of one partition, unless it has been begun meanwhile; return the number of rows. Raises as `restore`."""
    end = (await log.end_offsets(snapshots.TOPIC))[partition]
    async with pool.acquire() as connection, connection.transaction():
        topics = [position.topic for position in taken.positions if position.topic in ev.FOLDED_TOPICS]
        await connection.execute(APPLY["open_positions"], topics, [partition] * len(topics))
        if any(offset > 0 for _, offset in await connection.fetch(SNAPSHOT["lock_positions"], partition)):
            return 0
        loader = Loader(connection, await columns_of(connection, schema), taken.snapshot_id)
        for begin in range(taken.first, end, READ_RECORDS):
            if len(loader.seen) == taken.records:
                break
            await loader.load(await log.fetch(snapshots.TOPIC, partition, range(begin, min(end, begin + READ_RECORDS))))
        if len(loader.seen) != taken.records:
            raise LogFault(
                f"the snapshot {taken.snapshot_id} of partition {partition} has {taken.records} records, "
                f"of which the log holds {len(loader.seen)}"
            )
        of = [position for position in taken.positions if position.topic in ev.FOLDED_TOPICS]
        await connection.execute(
            SNAPSHOT["save_positions"],
            partition,
            [position.topic for position in of],
            [position.offset for position in of],
            [position.cause_offset for position in of],
            [position.cause_index for position in of],
            [position.cause_count for position in of],
        )
    logger.debug("projector.partition_restored", partition=partition, rows=loader.rows, snapshot=taken.snapshot_id)
    return loader.rows


class Loader:
    """Loads records of a snapshot into tables."""

    def __init__(self, connection: asyncpg.Connection, tables: Columns, snapshot_id: str = "") -> None:
        self._connection = connection
        self._tables = tables
        self._id = snapshot_id
        self._assembled = Assembled()
        self.seen: set[str] = set()
        """Ids of its records, to skip one that was appended twice."""
        self.rows = 0

    async def load(self, records: Collection[Record]) -> None:
        await self.insert(rows for record in records for rows in self._rows_of(record))

    def _rows_of(self, record: Record) -> list[TableRows]:
        id, kind = record.headers.get("ce_id", ""), envelope.type_of(record.headers)
        if not id.startswith(f"{self._id}-") or kind == SnapshotTaken.TYPE or id in self.seen:
            return []
        self.seen.add(id)
        if envelope.ERASED in record.headers:
            return []  # its thread is erased, and stays so
        body = snapshots.decode(kind, record.value)
        assert isinstance(body, ThreadSnapshot | RowsSnapshot)
        return self._assembled.rows(body)

    async def insert(self, tables: Iterable[TableRows]) -> None:
        """Insert rows. Raises LogFault for a table or column that the read model does not have."""
        alike: dict[tuple[str, ...], list[TableRows]] = {}
        for rows in tables:
            alike.setdefault((rows.table, *(column.name for column in rows.columns)), []).append(rows)
        for (table, *_), gathered in alike.items():
            await self._insert(table, gathered)

    async def _insert(self, table: str, gathered: list[TableRows]) -> None:
        names = [column.name for column in gathered[0].columns]
        types = self._tables.get(table)
        if types is None:
            raise LogFault(f"this langlog's read model has no table {table}, of which a snapshot has rows")
        strange = [name for name in names if name not in types]
        if strange:
            raise LogFault(f"this langlog's read model has no {table}.{strange[0]}, of which a snapshot has values")
        count = sum(map(len, gathered))
        arguments: list[list[Any]] = []
        for n in range(len(names)):
            values: list[Any] = []
            for rows in gathered:
                values += rows.columns[n].text or rows.columns[n].data
            arguments.append(values)
        quoted = [f'"{name}"' for name in names]
        cast = ", ".join(
            f"n.{name}" if types[bare] == "bytea" else f"n.{name}::{types[bare]}"
            for name, bare in zip(quoted, names, strict=True)
        )
        arrays = ", ".join(
            f"${n}::{'bytea' if types[name] == 'bytea' else 'text'}[]" for n, name in enumerate(names, 1)
        )
        # table and columns are those that the schema has (checked above); values travel as parameters
        await self._connection.execute(
            f"INSERT INTO {table} ({', '.join(quoted)}) SELECT {cast} "  # noqa: S608
            f"FROM unnest({arrays}) AS n ({', '.join(quoted)}) ON CONFLICT DO NOTHING",
            *arguments,
        )
        self.rows += count
