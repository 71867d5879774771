"""Records that cannot be handled, and those that wait behind them: a key is parked, not its partition.

An event that cannot be folded becomes a row of ``dead_letters`` in the same transaction as the positions, and so does every later
event of the same topic and key, in order; all other keys are unaffected. There is no other state, and folding the same log
parks the same records, so that it survives restarts and rebuilds. Commands that the decider could not decide arrive as dead letters on
the topic ``dead-letters`` and become rows as well. An operator releases a key: `events.ParkedEventsReleased` (rows are
folded in order until one cannot be), `events.ParkedReleased` (the decider has decided commands). The deletion of a thread removes
its waiting records too: `events.ThreadDeleted` is folded although its key is parked.

Not safe for concurrent use: it belongs to one `Projection`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import asyncpg
import msgspec
from langlog_backbone.log import Record
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.process.unavailable import is_unavailable
from langlog_schemas import commands as cmd
from langlog_schemas import envelope
from langlog_schemas import events as ev

SQL = load_sql("langlog_projector", "dead_letters.sql")

OWN_FAULT = ("0A", "22", "23", "54", "XX")
"""Classes of SQLSTATE that are caused by the record: its data, too large, against a constraint. All others are waited out."""

Origin = tuple[str, int, int]
"""(topic, partition, offset)"""


class DeadLetterChanges:
    """The changes of a batch to ``dead_letters``."""

    def __init__(self) -> None:
        self._rows: dict[Origin, tuple[Any, ...]] = {}
        self._settled: dict[Origin, tuple[str, str, datetime]] = {}
        self._forgotten: set[tuple[str, str]] = set()

    def __bool__(self) -> bool:
        return bool(self._rows or self._settled or self._forgotten)

    def park(self, origin: Origin, record: Record, error: str | None) -> None:
        """Park a record. ``error`` None: the record itself is valid."""
        headers = {k: v for k, v in record.headers.items() if not k.startswith(("dead_", "ll_"))}
        self._rows[origin] = (
            record.key,
            envelope.type_of(headers),
            "behind" if error is None else "bad",
            error,
            msgspec.json.encode(headers, order="sorted").decode(),  # logs do not preserve the order of headers
            record.value,
            _time(headers),
        )

    def add(self, record: Record) -> None:
        """Adds a dead letter of the decider. Dead letters of events are known already."""
        origin = parsed_origin(record.headers.get("dead_origin", ""))
        if origin is not None and origin[0] == cmd.TOPIC:
            self.park(origin, record, record.headers.get("dead_error"))

    def settle(self, key: str, origins: list[str], state: str, at: datetime) -> None:
        for text in origins:
            origin = parsed_origin(text)
            if origin is not None:
                self._settled[origin] = key, state, at

    def forget(self, topic: str, key: str) -> None:
        """Remove the parked events of a topic and key, those of this batch as well."""
        self._forgotten.add((topic, key))
        for origin in [origin for origin, row in self._rows.items() if origin[0] == topic and row[0] == key]:
            del self._rows[origin]

    async def apply(self, connection: asyncpg.Connection) -> None:
        if self._forgotten:
            await connection.execute(SQL["forget"], *map(list, zip(*self._forgotten, strict=True)))
        if self._rows:
            rows = [(*origin, *row) for origin, row in self._rows.items()]
            await connection.execute(SQL["insert"], *map(list, zip(*rows, strict=True)))
        if self._settled:
            settled = [(*origin, *what) for origin, what in self._settled.items()]
            await connection.execute(SQL["settle"], *map(list, zip(*settled, strict=True)))


class Parked:
    """The parked keys during folding. ``keys``: (topic, key) of which all further events are parked."""

    def __init__(self) -> None:
        self.keys: set[tuple[str, str]] = set()
        self.dropped: set[Origin] = set()
        self.refused: dict[Origin, str] = {}
        """Records that were rejected only when they were written, with their errors. Found again after a restart."""

    async def read(self, connection: asyncpg.Connection) -> None:
        self.keys = {(topic, key) for topic, key in await connection.fetch(SQL["read_open"])}
        self.dropped = {(topic, part, offset) for topic, part, offset in await connection.fetch(SQL["read_dropped"])}


class ParkedEvent(NamedTuple):
    origin: Origin
    record: Record


async def parked_events(connection: asyncpg.Connection, key: str) -> list[ParkedEvent]:
    """Return the key's waiting events, in the order of each topic."""
    return [
        ParkedEvent(
            (topic, part, offset),
            Record(topic, part, offset, key, value, msgspec.json.decode(headers, type=dict[str, str])),
        )
        for topic, part, offset, headers, value in await connection.fetch(SQL["parked_events"], key)
    ]


def origin_of(record: Record) -> Origin:
    """Return the topic, partition and offset of this record."""
    return record.topic, record.partition, record.offset


def releases_events(record: Record) -> bool:
    """Return whether the record is an operator's release of parked events."""
    return record.topic == ev.DEAD_LETTERS and envelope.type_of(record.headers) == ev.ParkedEventsReleased.TYPE


def parsed_origin(origin: str) -> Origin | None:
    """Parse ``<topic>-<partition>-<offset>``; None for any other text."""
    parts = origin.rsplit("-", 2)
    if len(parts) != 3 or not (parts[1].isdigit() and parts[2].isdigit()):
        return None
    return parts[0], int(parts[1]), int(parts[2])


def own_fault(error: Exception) -> bool:
    """Return whether Postgres (or its client, which checks values) rejected the record itself.

    A failure of the server never counts as a bad record: a full or broken disk refuses valid records.
    """
    if is_unavailable(error):
        return False
    if isinstance(error, asyncpg.InterfaceError):
        return isinstance(error, ValueError)
    return isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "")[:2] in OWN_FAULT


def _time(headers: Mapping[str, str]) -> datetime:
    """Return the record's time, or 1970 if it has none: never the current time, which a rebuild would not repeat."""
    try:
        time = datetime.fromisoformat(headers["ce_time"])
    except (KeyError, ValueError):
        return datetime(1970, 1, 1, tzinfo=UTC)
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
