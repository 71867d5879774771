"""The changes of a batch to ``dead_letters``: records that are parked, settled or forgotten. Part of `changes.Changes`.

Not safe for concurrent use: one per batch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
from langlog_backbone.log import Record
from langlog_backbone.log.foreign_records import storable_text
from langlog_backbone.postgres.database import load_sql
from langlog_schemas import commands as cmd
from langlog_schemas import envelope

SQL = load_sql("langlog_projector", "dead_letters.sql")

Origin = tuple[str, int, int]
"""(topic, partition, offset)"""
_ORIGIN = re.compile(r"([^\0]+)-([0-9]{1,10})-([0-9]{1,19})", re.DOTALL)


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
            storable_text(envelope.type_of(headers)),
            "behind" if error is None else "bad",
            error and storable_text(error),
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


def parsed_origin(origin: str) -> Origin | None:
    """Parse ``<topic>-<partition>-<offset>``; None for any other text."""
    named = _ORIGIN.fullmatch(origin)
    if named is None:
        return None
    topic, part, offset = named[1], int(named[2]), int(named[3])
    return (topic, part, offset) if part < 2**31 and offset < 2**63 else None


def _time(headers: Mapping[str, str]) -> datetime:
    """Return the record's time, or 1970 if it has none: never the current time, which a rebuild would not repeat."""
    try:
        time = datetime.fromisoformat(headers["ce_time"])
        return time.astimezone(UTC) if time.tzinfo is not None else time.replace(tzinfo=UTC)
    except (KeyError, ValueError, OverflowError):
        return datetime(1970, 1, 1, tzinfo=UTC)
