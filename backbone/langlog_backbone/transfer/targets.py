"""Logs that records are copied into, each record at its position in the source: topics of Kafka, or an embedded log's file.

Until a copy is complete no service starts on it: an embedded log is written as ``log.sqlite.part`` and then renamed, topics of Kafka
are accompanied by a marker topic.

Concurrency: one copier a target. Death: appended records stay, and the next copier continues after them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import structlog
from msgspec.structs import replace

from ..log import AppendUnknown, Log, LogFault, LogUnavailable, NewRecord, Positions, Record, TopicPartition, open_log
from ..log.kafka.copy_target import CopyTarget, topics_there
from ..log.sqlite.file import unfinished
from ..log.sqlite.sqlite_log import SqliteLog
from ..process.settings import Settings
from .reading import ends_of

logger = structlog.get_logger(__name__)

KAFKA, SQLITE = "kafka://", "sqlite://"
APPEND_BYTES = 4_000_000
"""Maximum bytes of one append: it must be done within LANGLOG_APPEND_DEADLINE."""
TRIES = 60
TRY_PAUSE_S = 1.0
"""Seconds before the log is checked after an append whose outcome is unknown."""


class Displaced(LogFault):
    """A record got another position than its own: another process writes to the target."""


class Target(Protocol):
    @property
    def log(self) -> Log:
        """The log to which records are appended; another one after `finish`."""
        ...

    @property
    def new(self) -> bool:
        """Whether the target was empty."""
        ...

    @property
    def incomplete(self) -> bool:
        """Whether an earlier copy into it did not complete."""
        ...

    async def begin(self, starts: Mapping[TopicPartition, int]) -> None:
        """Make partitions without records begin at these offsets. Idempotent. Raises LogFault, LogUnavailable."""
        ...

    async def finish(self) -> None:
        """Mark the copy as complete: services may start. Raises LogFault, LogUnavailable."""
        ...


def raw(settings: Settings, log_uri: str) -> Settings:
    """Return settings of a log whose encrypted records are read and written unchanged."""
    return replace(settings, log_uri=log_uri, encryption="off")


@contextlib.asynccontextmanager
async def opened_target(settings: Settings, log_uri: str) -> AsyncIterator[Target]:
    """Yield the target of a URI. Creates what is missing. Raises LogFault, LogUnavailable."""
    target: KafkaTarget | SqliteTarget
    if log_uri.startswith(KAFKA):
        target = KafkaTarget(log_uri.removeprefix(KAFKA), raw(settings, log_uri))
    elif log_uri.startswith(SQLITE + "/"):
        target = SqliteTarget(Path(log_uri.removeprefix(SQLITE)), raw(settings, log_uri))
    else:
        raise LogFault(f"a log is kafka://host:9092 or sqlite:///path, not {log_uri}")
    await target.open()
    try:
        yield target
    finally:
        await target.log.stop()


async def exists(settings: Settings, log_uri: str) -> bool:
    """Return whether a log exists there, complete or not. Creates nothing. Raises LogUnavailable."""
    if log_uri.startswith(KAFKA):
        return bool(await topics_there(log_uri.removeprefix(KAFKA), settings))
    path = Path(log_uri.removeprefix(SQLITE))
    return await asyncio.to_thread(lambda: path.exists() or unfinished(path).exists())


class KafkaTarget:
    """Implements `Target`."""

    def __init__(self, bootstrap: str, settings: Settings) -> None:
        self.log: CopyTarget = CopyTarget(bootstrap, settings)
        self._bootstrap, self._settings = bootstrap, settings
        self.new = self.incomplete = False

    async def open(self) -> None:
        there = await topics_there(self._bootstrap, self._settings)
        self.new = not there
        await self.log.start()
        self.incomplete = await self.log.unfinished()

    async def begin(self, starts: Mapping[TopicPartition, int]) -> None:
        await self.log.begin()
        self.incomplete = True
        await self.log.begin_at({partition: start for partition, start in starts.items() if start})

    async def finish(self) -> None:
        await self.log.finish()
        self.incomplete = False


class SqliteTarget:
    """Implements `Target`."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self._path = path
        self.new = not path.exists()
        self._written = unfinished(path) if self.new else path
        self.incomplete = self._written != path and self._written.exists()
        self.new = self.new and not self.incomplete
        self._settings = settings
        self.log: Log = SqliteLog(self._written, settings)

    async def open(self) -> None:
        await self.log.start()

    async def begin(self, starts: Mapping[TopicPartition, int]) -> None:
        present = {partition: start for partition, start in starts.items() if start}
        if present:
            await self.log.cut(present)

    async def finish(self) -> None:
        await self.log.stop()
        if self._written == self._path:
            await self.log.start()
            return
        await asyncio.to_thread(self._rename)
        self._written, self.incomplete = self._path, False
        self.log = open_log(self._settings)
        await self.log.start()

    def _rename(self) -> None:
        with contextlib.closing(sqlite3.connect(self._written)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for suffix in ("-wal", "-shm", ".lock", ".turn"):
            self._written.with_name(self._written.name + suffix).unlink(missing_ok=True)
        shutil.rmtree(self._written.with_name(self._written.name + ".wake"), ignore_errors=True)
        fd = os.open(self._written, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        self._written.rename(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


async def append(log: Log, records: Sequence[Record]) -> None:
    """Append records at their own positions, which must be the log's end. Repeated where it is unknown whether an append arrived.

    Raises Displaced, LogFault, LogUnavailable.
    """
    begin = size = 0
    for n, record in enumerate(records):
        if log.partition_of(record.key) != record.partition:
            raise LogFault(
                f"the record at {record.topic}/{record.partition}/{record.offset} has the key {record.key!r}, which belongs to partition "
                f"{log.partition_of(record.key)}: langlog did not write it, and it cannot be copied"
            )
        size += len(record.value)
        if size >= APPEND_BYTES:
            await _append(log, records[begin : n + 1])
            begin, size = n + 1, 0
    if begin < len(records):
        await _append(log, records[begin:])


async def _append(log: Log, records: Sequence[Record]) -> None:
    for tries in range(TRIES):
        try:
            placed = await log.append([NewRecord(r.topic, r.key, r.value, r.headers) for r in records])
        except (AppendUnknown, LogUnavailable) as error:
            if tries == TRIES - 1 or log.name == "sqlite":  # an embedded log is not away: its disk is full, or broken
                raise LogUnavailable(f"{error}: run the same command again to continue") from None
            logger.warning("copy.append_again", error=str(error))
            await asyncio.sleep(TRY_PAUSE_S)  # nothing signals that the log is back, nor that a request still arrives
            records = await _missing(log, records)
            if not records:
                return
            continue
        for record, position in zip(records, placed, strict=True):
            if position != (record.partition, record.offset):
                raise Displaced(
                    f"the record of {record.topic}/{record.partition}/{record.offset} came to lie at "
                    f"{record.topic}/{position.partition}/{position.offset}: something else writes to the target, or a request of an "
                    "interrupted copy arrived late. Delete the target and copy again"
                )
        return


async def _missing(log: Log, records: Sequence[Record]) -> Sequence[Record]:
    """Return the records that are not in the log."""
    topics = sorted({record.topic for record in records})
    try:
        ends: Positions = await ends_of(log, topics)
    except LogUnavailable:
        return records  # the next append fails as well, and checks again
    return [record for record in records if record.offset >= ends[record.topic, record.partition]]
