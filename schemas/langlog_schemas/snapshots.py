"""The replacement for the front of a log that was cut: the read model's rows as of the cut, on a topic of their own.

A snapshot is made for each partition number by itself. Its records are those of the aggregates whose keys fall there, and last a
`SnapshotTaken` with the positions that it covers; the last completed snapshot of a partition is valid. Only then are
the partition's topics cut. Rows are text as Postgres reads and writes it (bytes where the column holds bytes), under the names of
tables and columns (`langlog_backbone/sql/read_model.sql`). Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any, ClassVar

import msgspec

from .events import Event, ThreadEvent

TOPIC = "snapshots"


class Column(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One column's values, row by row; None is SQL's NULL. Either ``text``, in Postgres's text format, or ``data`` for bytea."""

    name: str
    text: list[str | None] = []
    data: list[bytes | None] = []


class TableRows(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of one table, by columns."""

    table: str
    columns: list[Column]

    def __len__(self) -> int:
        first = self.columns[0]
        return max(len(first.text), len(first.data))


class ThreadSnapshot(ThreadEvent, kw_only=True, frozen=True):
    """Rows that belong to a thread: its own, those of its runs and checkpoints, and deliveries that are pending."""

    TYPE: ClassVar[str] = "snapshot.thread.v1"
    TOPIC: ClassVar[str] = TOPIC
    snapshot_id: str
    number: int
    """Number of this group of rows within the snapshot of the partition."""
    index: int = 0
    """Index of this piece. Rows over the record limit are divided into pieces."""
    count: int = 1
    """Number of pieces."""
    rows: bytes
    """A piece of an encoded list of `TableRows`."""


class RowsSnapshot(Event, kw_only=True, frozen=True):
    """Rows that belong to something else: assistants, crons, the store, graphs, outcomes of requests."""

    TYPE: ClassVar[str] = "snapshot.rows.v1"
    TOPIC: ClassVar[str] = TOPIC
    aggregate_id: str
    snapshot_id: str
    number: int
    """Number of this group of rows within the snapshot of the partition."""
    index: int = 0
    """Index of this piece. Rows over the record limit are divided into pieces."""
    count: int = 1
    """Number of pieces."""
    rows: bytes
    """A piece of an encoded list of `TableRows`."""

    @property
    def key(self) -> str:
        return self.aggregate_id


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a topic's partition that a snapshot covers: everything below ``offset``, and the last cause folded."""

    topic: str
    offset: int
    cause_offset: int = -1
    cause_index: int = 0
    cause_count: int = 0


class SnapshotTaken(Event, kw_only=True, frozen=True):
    """The partition's snapshot is complete, was compared with the live read model, and replaces what is below ``positions``."""

    TYPE: ClassVar[str] = "snapshot.taken.v1"
    TOPIC: ClassVar[str] = TOPIC
    snapshot_id: str
    partition_key: str
    """Key that places this record in its partition; it has no other meaning."""
    positions: list[Position]
    first: int
    """Offset of the snapshot's first record in this partition of ``snapshots``."""
    records: int
    """Number of the snapshot's records, between ``first`` and this record."""

    @property
    def key(self) -> str:
        return self.partition_key

    def offsets(self) -> dict[str, int]:
        """Topic -> offset below which it replaces the records."""
        return {position.topic: position.offset for position in self.positions}


AnySnapshot = ThreadSnapshot | RowsSnapshot | SnapshotTaken

SNAPSHOTS: dict[str, type[Event]] = {cls.TYPE: cls for cls in (ThreadSnapshot, RowsSnapshot, SnapshotTaken)}
"""Type -> class. All bodies are msgpack on the wire."""

encode_rows: Callable[[list[TableRows]], bytes] = msgspec.msgpack.Encoder().encode
decode_rows: Callable[[bytes], list[TableRows]] = msgspec.msgpack.Decoder(list[TableRows]).decode

_encoder = msgspec.msgpack.Encoder()
_decoders: dict[str, Callable[[bytes], Any]] = {
    type_name: msgspec.msgpack.Decoder(cls).decode for type_name, cls in SNAPSHOTS.items()
}


def encode(body: AnySnapshot) -> bytes:
    """The record value."""
    return _encoder.encode(body)


def decode(type_name: str, value: bytes) -> AnySnapshot:
    """Return the body of a record. Raises KeyError for an unknown type, msgspec.MsgspecError for a body that does not fit its type."""
    body: AnySnapshot = _decoders[type_name](value)
    return body


class Assembled:
    """Assembles the records of one snapshot into rows; holds pieces until all of them have arrived. Not safe for concurrent use."""

    def __init__(self) -> None:
        self._pieces: dict[int, dict[int, bytes]] = {}

    def rows(self, body: ThreadSnapshot | RowsSnapshot) -> list[TableRows]:
        """Return the rows that are complete with this record; empty while pieces are missing. Raises msgspec.MsgspecError."""
        if body.count == 1:
            return decode_rows(body.rows)
        pieces = self._pieces.setdefault(body.number, {})
        pieces[body.index] = body.rows
        if len(pieces) < body.count:
            return []
        del self._pieces[body.number]
        return decode_rows(b"".join(pieces[n] for n in range(body.count)))


def rows_of(snapshot: Iterable[TableRows], table: str) -> Iterator[dict[str, Any]]:
    """Rows of one table: column -> text as Postgres writes it (bytes where it is bytea), or None."""
    for rows in snapshot:
        if rows.table == table:
            names = [column.name for column in rows.columns]
            for values in zip(*(column.text or column.data for column in rows.columns), strict=True):
                yield dict(zip(names, values, strict=True))


def partition_key(partition: int, partition_of: Callable[[str], int]) -> str:
    """Return the first number, as text, whose partition is ``partition``."""
    return next(text for n in count() if partition_of(text := str(n)) == partition)
