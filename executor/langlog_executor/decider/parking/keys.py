"""Keys whose commands are not decided for now: one of their commands cannot be, or one of their events cannot be folded.

Such a command is published to ``dead-letters`` unchanged, and so is every later one of the key, in order; the projector stores them in
Postgres (``dead_letters``), where a new owner of the partition finds them. The letters are in the log before any event of a later
command: a command that is skipped by its position has had its events, or has its dead letter.

The scheduler's commands for a parked thread are dropped instead: it repeats them. A thread can be deleted, and expires, although
it is parked (`removal`).

Belongs to one decider; not safe for concurrent use.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import NamedTuple

import asyncpg
import msgspec
from langlog_backbone.log import NewRecord, Record
from langlog_backbone.log.records import command_record
from langlog_backbone.postgres.database import load_sql
from langlog_schemas import commands as cmd
from langlog_schemas import envelope

from ..read_model import ReadModel

SQL = load_sql("langlog_executor", "parked.sql")

SOURCE = "/langlog/decider"
RETRIED_BY_SCHEDULER = (cmd.RequeueRun, cmd.StartDueRun, cmd.TimeOutRun, cmd.ExpireThread)
PARKED = (
    "{} is parked behind a record that cannot be handled. The command is in the log and will be carried out when an operator has "
    "released it (langlog dead)."
)


class DeadLetter(NamedTuple):
    """A parked record, as Postgres holds it."""

    topic: str
    part: int
    offset: int
    headers: dict[str, str]
    value: bytes | None
    """None, and no headers: it was not read."""
    at: datetime

    @property
    def origin(self) -> str:
        return f"{self.topic}-{self.part}-{self.offset}"


class ParkedKeys:
    def __init__(self) -> None:
        self._first: dict[str, int] = {}
        """Key -> offset in ``commands`` of the first command that waits; -1: it waits for an event."""
        self._behind: set[str] = set()
        """Keys with waiting commands."""
        self._written: dict[int, set[int]] = {}
        """Partition -> offsets of the commands that have a dead letter, of those that may be read again."""
        self._starts: dict[int, int] = {}
        """Partition -> offset of the first command that may be read again; absent: any."""

    async def read(
        self, connection: asyncpg.Connection, parts: Collection[int], partition_of: Callable[[str], int]
    ) -> None:
        """Read the parked keys of these partitions from Postgres, replacing the former ones. Raises the errors in
        `UNAVAILABLE_ERRORS`."""
        starts = [self._starts.get(part, 0) for part in parts]
        rows = await connection.fetch(SQL["letters_of"], list(parts), starts)
        self._first = {key: offset for key, offset in self._first.items() if partition_of(key) not in parts}
        self._behind = {key for key in self._behind if key in self._first}
        for part in parts:
            self._written.pop(part, None)
        for row in rows:
            if row["topic"] == cmd.TOPIC and row["offset"] >= self._starts.get(row["part"], 0):
                self._written.setdefault(row["part"], set()).add(row["offset"])
            if row["open"]:
                if row["topic"] == cmd.TOPIC:
                    self._behind.add(row["key"])
                self.park(row["key"], row["offset"] if row["topic"] == cmd.TOPIC else -1)

    def begin(self, part: int, offset: int) -> None:
        """Note that no command of the partition before this offset is read again."""
        self._starts[part] = offset
        if written := self._written.get(part):
            self._written[part] = {known for known in written if known >= offset}

    def park(self, key: str, offset: int = -1) -> None:
        self._first[key] = min(offset, self._first.get(key, offset))

    def on_message(self, data: bytes) -> None:
        """Handler of `channels.PARKED`: also called for keys of other partitions, which are harmless."""
        self.park(data.decode())

    def holds(self, key: str, offset: int) -> bool:
        """Return whether a command of this key must not be decided. Commands before the failing one are decided."""
        first = self._first.get(key)
        return first is not None and offset > first

    def written(self, record: Record) -> bool:
        return record.offset in self._written.get(record.partition, ())

    def wrote(self, record: Record) -> None:
        self._written.setdefault(record.partition, set()).add(record.offset)
        self._behind.add(record.key)

    async def dead_letters(self, connection: asyncpg.Connection, key: str, size: int = 0) -> list[DeadLetter]:
        """Return the key's waiting records, events first, each topic in order, with headers and values of the first ones, until these
        have ``size`` bytes. Raises what `UNAVAILABLE_ERRORS` lists."""
        return [
            DeadLetter(topic, part, offset, msgspec.json.decode(headers or "{}", type=dict[str, str]), value, at)
            for topic, part, offset, headers, value, at in await connection.fetch(SQL["open_letters"], key, size)
        ]

    def released(self, key: str, left: DeadLetter | None) -> None:
        """Record the release of a key's commands: all, or all before ``left``."""
        self._first.pop(key, None)
        self._behind.discard(key)
        if left is not None:
            self._behind.add(key)
            self.park(key, left.offset if left.topic == cmd.TOPIC else -1)

    async def settle_doubts(self, model: ReadModel, parts: Mapping[str, int]) -> None:
        """Release those of the keys that have no waiting record left. ``parts``: the keys' partitions.

        The message that an event is parked may arrive late: after the key was released, or its thread deleted.
        """
        keys = [key for key in parts if self._first.get(key) == -1 and key not in self._behind]
        if keys:
            partitions = sorted({parts[key] for key in keys})
            rows = await model.current(partitions, lambda connection: connection.fetch(SQL["open_keys"], keys))
            for key in set(keys) - {row["key"] for row in rows}:
                self.released(key, None)


def another_release(meta: envelope.CommandMeta, release: cmd.ReleaseParked) -> NewRecord:
    """Return the command that releases records beyond those that fit into one release."""
    command = cmd.ReleaseParked(aggregate_id=release.aggregate_id)
    return command_record(command, id=f"{meta.id}-more", source=SOURCE, actor=meta.actor)
