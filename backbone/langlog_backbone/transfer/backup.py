"""Backup of a log in use: each thread as of one moment, and everything that was acknowledged before the backup began.

A backup holds each partition up to some offset. All records of a thread are in partitions of one number, and of these it holds

* every command that was appended before the end of their events was read, and every command that caused an event in it;
* every record that was appended before a command in it.

So an end that a worker reports never lacks its checkpoints, and an event never lacks its command. A command whose events are missing
is decided again after a restore, as after a crash.

    ends of commands ──► ends of all else ──► records up to there ──► commands that events among them came from ──► beside ──► manifest

Data outside the log comes last: a thread's key is on disk before its first record.

Concurrency: beside everything but a cut of the log. Death: see `backup_files`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import NamedTuple

import msgspec
from langlog_schemas import commands as cmd
from langlog_schemas import envelope

from ..log import Log, Positions, Record, TopicPartition
from ..process.settings import Settings
from ..time.clock import now_iso
from .backup_files import FORMAT, SEGMENT_BYTES, Archive, BackupFault, EntryFile, File, Folder, Keys, Manifest, Span
from .beside import made_secret, rows_beside, unwrapped
from .copying import Progress
from .key_checks import Masters, secret_check
from .reading import between, count, ends_of, starts_of

FILE_DIGITS = 8

_pack = msgspec.msgpack.Encoder().encode


class Taken(NamedTuple):
    records: int
    """Number of records that this backup added."""
    before: int
    """Number of records that the backup held already."""
    manifest: Manifest


async def back_up(
    log: Log,
    settings: Settings,
    store: Folder | Archive,
    progress: Progress,
    *,
    beside: bool,
    secrets: bool,
    compressed: bool,
) -> Taken:
    """Back up what ``store`` does not hold yet. ``log`` returns encrypted records unchanged.

    ``beside``: include data outside the log, from ``settings.database_uri``. ``secrets``: include the secret of the
    deployment and keys of threads that no master key wraps.

    Raises BackupFault, Gap, LogFault (the log was cut meanwhile), LogUnavailable, StartError, OSError.
    """
    began = now_iso()
    if beside and not secrets and (plain := await unwrapped(settings)):
        raise BackupFault(
            f"{plain} keys of threads are not wrapped by a master key, so the backup could be read by everybody who has it: set "
            "LANGLOG_MASTER_KEY for the services and run `langlog keys rewrap`, or use --with-secrets"
        )
    former = store.manifest
    spans = {(span.topic, span.partition): span for span in former.spans} if former is not None else {}
    starts = await starts_of(log)
    if former is not None:
        await _check_continues(log, former, spans, starts)
    done: Positions = {partition: spans[partition].end if spans else start for partition, start in starts.items()}
    commands = await ends_of(log, [cmd.TOPIC])
    ends = {**await ends_of(log, sorted({topic for topic, _ in starts} - {cmd.TOPIC})), **commands}
    writer = _Records(store, len(former.files) if former is not None else 0, compressed=compressed)
    total, first = count(done, ends), dict(done)
    try:
        async for batch in between(log, done, ends, by_time=True):
            await asyncio.to_thread(writer.add, batch)
            progress("backing up", writer.records, total)
        done = ends
        # events that were appended after the ends of commands were looked at
        ends = {**ends, **{p: max(end, writer.causes.get(p[1], -1) + 1) for p, end in commands.items()}}
        async for batch in between(log, done, ends):
            await asyncio.to_thread(writer.add, batch)
        files = await asyncio.to_thread(writer.close)
    except BaseException:
        writer.discard()
        raise
    rest, keys = (None, Keys())
    if beside:
        rest, keys = await _beside(settings, store, former, secrets=secrets, compressed=compressed)
    manifest = Manifest(
        format=FORMAT,
        made_by=f"langlog {version('langlog')}",
        began=began,
        ended=now_iso(),
        log=log.name,
        partitions=log.partitions,
        spans=[
            Span(
                topic,
                part,
                spans[topic, part].start if spans else first[topic, part],
                end,
                writer.last.get((topic, part)) or _last(spans, (topic, part)),
            )
            for (topic, part), end in sorted(ends.items())
        ],
        files=[*(former.files if former is not None else []), *files],
        beside=rest,
        keys=keys,
    )
    await asyncio.to_thread(store.finish, manifest)
    return Taken(writer.records, former.records if former is not None else 0, manifest)


def _last(spans: Mapping[TopicPartition, Span], partition: TopicPartition) -> str:
    return spans[partition].last if partition in spans else ""


async def _check_continues(
    log: Log, former: Manifest, spans: Mapping[TopicPartition, Span], starts: Mapping[TopicPartition, int]
) -> None:
    """Check that the log continues where the backup ends. Raises BackupFault, LogUnavailable."""
    elsewhere = "name another folder for this log's backup"
    if former.partitions != log.partitions or spans.keys() != starts.keys():
        raise BackupFault(
            f"the backup is of a log with {former.partitions} partitions, this one has {log.partitions}: {elsewhere}"
        )
    ends = await ends_of(log)
    for (topic, part), span in sorted(spans.items()):
        if span.end > ends[topic, part]:
            raise BackupFault(
                f"the backup reaches to offset {span.end} of {topic}/{part}, where the log ends at {ends[topic, part]}: it is of another log, "
                f"or of a newer copy of this one; {elsewhere}"
            )
        if span.end < starts[topic, part]:
            raise BackupFault(
                f"the log was cut below offset {starts[topic, part]} of {topic}/{part}, and the backup reaches only to {span.end}: {elsewhere}"
            )
        if span.last and span.end > starts[topic, part]:
            records = await log.fetch(topic, part, [span.end - 1])
            if not records or digest_of(records[0]) != span.last:
                raise BackupFault(
                    f"the log's record at {topic}/{part}, offset {span.end - 1} is not the backup's: it is of another log; {elsewhere}"
                )


def digest_of(record: Record) -> str:
    """Return the digest of one record with its position."""
    headers = sorted(record.headers.items())  # logs do not preserve their order
    of = (record.topic, record.partition, record.offset, record.key, headers, record.value)
    return hashlib.blake2b(_pack(of), digest_size=16).hexdigest()


class _Records:
    """The files of records being written. Methods run in one thread at a time."""

    def __init__(self, store: Folder | Archive, files: int, *, compressed: bool) -> None:
        self._store = store
        self._number = files
        self._compressed = compressed
        self._file: EntryFile | None = None
        self._files: list[File] = []
        self.records = 0
        self.causes: dict[int, int] = {}
        """Command partition -> offset of the last command that caused an event."""
        self.last: dict[TopicPartition, str] = {}
        """Partition -> digest of its last record."""

    def add(self, records: list[Record]) -> None:
        ends: dict[TopicPartition, Record] = {}
        for record in records:
            if self._file is None:
                self._number += 1
                name = f"records-{self._number:0{FILE_DIGITS}}"
                self._file = EntryFile(name, self._store.draft(name), compressed=self._compressed)
            self._file.add(record)
            self.records += 1
            ends[record.topic, record.partition] = record
            cause = record.headers.get("ce_cause")
            if cause is not None:
                parsed = envelope.Cause.parse(cause)
                self.causes[parsed.partition] = max(parsed.offset, self.causes.get(parsed.partition, -1))
            if self._file.size >= SEGMENT_BYTES:
                self._files.append(self._store.put(self._file))
                self._file = None
        self.last |= {partition: digest_of(record) for partition, record in ends.items()}

    def close(self) -> list[File]:
        if self._file is not None:
            self._files.append(self._store.put(self._file))
            self._file = None
        return self._files

    def discard(self) -> None:
        if self._file is not None:
            self._file.discard()


async def _beside(
    settings: Settings, store: Folder | Archive, former: Manifest | None, *, secrets: bool, compressed: bool
) -> tuple[File, Keys]:
    number = 1 + (
        int(former.beside.name[7 : 7 + FILE_DIGITS]) if former is not None and former.beside is not None else 0
    )
    name = f"beside-{number:0{FILE_DIGITS}}"
    file = EntryFile(name, store.draft(name), compressed=compressed)
    masters = Masters(settings)
    try:
        async for rows in rows_beside(settings, secret=secrets):
            for row in rows:
                file.add(row)
                masters.count(row)
        put: Callable[[EntryFile], File] = store.put
        written = await asyncio.to_thread(put, file)
    except BaseException:
        file.discard()
        raise
    made = await made_secret(settings)
    return written, Keys(
        threads=masters.threads,
        unwrapped=masters.unwrapped,
        masters=masters.wrapping(),
        credentials=masters.credentials,
        secret_check=secret_check(settings, made),
        secret_included=masters.secret,
    )
