"""The replacement for the front of a log that was cut: the read model's rows as of the cut, on a topic of their own.

A snapshot is made for each partition number by itself. Its records are those of the aggregates whose keys fall there, and last a
`SnapshotTaken` that says of which positions it is; the snapshot of a partition is the last one that was so completed. Only then are
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
    """One column's values, row by row; None is SQL's NULL. Either ``text``, as Postgres writes it, or ``data``, where it is bytea."""

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
    """Of these rows among those of the snapshot in this partition."""
    index: int = 0
    """Rows over the record limit come in pieces: which one this is."""
    count: int = 1
    """… and of how many."""
    rows: bytes
    """A piece of an encoded list of `TableRows`."""


class RowsSnapshot(Event, kw_only=True, frozen=True):
    """Rows that belong to something else: assistants, crons, the store, graphs, outcomes of requests."""

    TYPE: ClassVar[str] = "snapshot.rows.v1"
    TOPIC: ClassVar[str] = TOPIC
    aggregate_id: str
    snapshot_id: str
    number: int
    """Of these rows among those of the snapshot in this partition."""
    index: int = 0
    """Rows over the record limit come in pieces: which one this is."""
    count: int = 1
    """… and of how many."""
    rows: bytes
    """A piece of an encoded list of `TableRows`."""

    @property
    def key(self) -> str:
        return self.aggregate_id


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """How far a topic's partition is part of a snapshot: everything below ``offset``, and the last cause folded."""

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
    """Only determines the partition of this record."""
    positions: list[Position]
    first: int
    """Offset of its first record in this partition of ``snapshots``."""
    records: int
    """How many there are, between there and here."""

    @property
    def key(self) -> str:
        return self.partition_key

    def offsets(self) -> dict[str, int]:
        """Topic -> offset below which it replaces the records."""
        return {position.topic: position.offset for position in self.positions}


AnySnapshot = ThreadSnapshot | RowsSnapshot | SnapshotTaken

SNAPSHOTS: dict[str, type[Event]] = {cls.TYPE: cls for cls in (ThreadSnapshot, RowsSnapshot, SnapshotTaken)}
"""All of them are msgpack on the wire."""

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
    """Raises KeyError for an unknown type, msgspec.MsgspecError for a body that does not fit it."""
    body: AnySnapshot = _decoders[type_name](value)
    return body


class Assembled:
    """Records of one snapshot into rows: pieces wait until all of them have come. Not safe for concurrent use."""

    def __init__(self) -> None:
        self._pieces: dict[int, dict[int, bytes]] = {}

    def rows(self, body: ThreadSnapshot | RowsSnapshot) -> list[TableRows]:
        """What can be read with this record; empty when pieces are missing. Raises msgspec.MsgspecError."""
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
    """The first number, as text, that falls into a partition."""
    return next(text for n in count() if partition_of(text := str(n)) == partition)
