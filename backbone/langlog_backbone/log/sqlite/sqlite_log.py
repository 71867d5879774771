"""The embedded log: one SQLite file with the topics, partitions, keys and offsets that Kafka would have.

    append ──► writer thread (one commit for all that has gathered) ──► file
                    │ from memory                                         │ one query a wake-up
                    ▼                                                     ▼
              readers of this process        ◄── datagram ──       readers of other processes

Several processes may use one file at once. One row sequence over all partitions serves readers; offsets are counted per
topic and partition inside the transaction. All records of a commit are there or none.

Concurrency: belongs to the event loop that started it; one thread writes, one reads what is long.
Death: what was acknowledged is on disk; a group's lock and the write lock go with the process that held them.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from ...process.settings import Settings
from ...time.sources import monotonic
from ..partitioner import partition_of
from ..port import (
    FAILURE_KEPT_S,
    Assignment,
    LogFault,
    LogUnavailable,
    NewRecord,
    Position,
    Positions,
    Record,
    RecordTooLarge,
    TopicPartition,
)
from .cut import cut
from .deadline import Append
from .file import SQL, check_room, connect, prepare
from .reader import GroupLock, Sequenced, SqliteReader, fetch_tail, seq_at_moment
from .rows import read_body, stored_body
from .wakeup import Wakeup
from .writer import Commit, Marks, Writer

logger = structlog.get_logger(__name__)

READ_AGAIN_S = 0.5
"""Seconds before the next attempt after the file could not be read."""
MARK_DELAY_S = 1.0
"""Seconds after which positions of `commit` are written together."""

T = TypeVar("T")


class SqliteLog:
    """Implements `port.Log`."""

    name = "sqlite"
    appends_atomically = True
    encrypts = False

    def __init__(self, path: Path, settings: Settings) -> None:
        self.partitions = settings.partitions
        self.max_record_bytes = settings.max_record_bytes
        self._append_deadline_s = settings.append_deadline_s
        self._path = path.absolute()
        self._prefix = settings.topic_prefix
        self._writer: Writer | None = None
        self._wakeup: Wakeup | None = None
        self._reading: ThreadPoolExecutor | None = None
        self._db: sqlite3.Connection | None = None
        """Connection of the reading thread."""
        self._tail_db: sqlite3.Connection | None = None
        """Connection of the event loop."""
        self._live: dict[SqliteReader, None] = {}
        self._tail = 0
        self._pulling: asyncio.Handle | None = None
        self._marks: dict[tuple[str, str, int], int] = {}
        self._marking: asyncio.TimerHandle | None = None
        self._marked: asyncio.Future[None] | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="log-reader")
        try:
            await loop.run_in_executor(self._reading, prepare, self._path, self.partitions)
            self._db = await loop.run_in_executor(self._reading, lambda: connect(self._path, write=False))
            self._tail_db = connect(self._path, write=False)
        except BaseException:
            self._reading.shutdown(wait=False)
            self._reading = None
            raise
        self._wakeup = Wakeup(self._path.with_name(self._path.name + ".wake"))
        self._writer = Writer(
            self._path,
            deadline_s=self._append_deadline_s,
            stored=self._stored,
            committed=self._on_commit,
            ring=self._wakeup.ring,
        )
        self._writer.start()

    async def stop(self) -> None:
        if self._writer is None or self._reading is None or self._wakeup is None:
            return
        writer, self._writer = self._writer, None
        self._live.clear()
        self._save_marks(writer)
        await writer.stop()
        self._wakeup.close()
        if self._tail_db is not None:
            self._tail_db.close()
            self._tail_db = None
        db, self._db = self._db, None
        if db is not None:
            await asyncio.get_running_loop().run_in_executor(self._reading, db.close)
        self._reading.shutdown(wait=False)
        self._reading = None

    def partition_of(self, key: str) -> int:
        return partition_of(key, self.partitions)

    async def append(self, records: Sequence[NewRecord]) -> list[Position]:
        writer = self._writer
        if writer is None:
            raise LogUnavailable("the log is not open")
        if not records:
            return []
        size = 0
        partitions: list[TopicPartition] = []
        for record in records:
            if len(record.value) > self.max_record_bytes:
                raise RecordTooLarge(f"a record of {len(record.value)} bytes; the limit is {self.max_record_bytes}")
            size += len(record.value)
            partitions.append((self._stored(record.topic), partition_of(record.key, self.partitions)))
        done: asyncio.Future[list[Position]] = asyncio.get_running_loop().create_future()
        writer.put(Append(records, partitions, [stored_body(record) for record in records], size, done, monotonic()))
        return await done

    async def key_ids(self, thread_id: str) -> set[str]:
        return set()

    async def check(self) -> None:
        writer = self._writer
        if writer is None:
            raise LogUnavailable("the log is not open")
        if writer.failed_within(FAILURE_KEPT_S):
            raise LogUnavailable("the last append failed a moment ago")
        await asyncio.to_thread(check_room, self._path)

    async def end_offsets(self, topic: str) -> list[int]:
        arguments = (self._stored(topic), self.partitions)
        return await self.in_thread(lambda db: [end for (end,) in db.execute(SQL["end_offsets"], arguments)])

    async def start_offsets(self, topic: str) -> list[int]:
        arguments = (self._stored(topic), self.partitions)
        return await self.in_thread(lambda db: [start for (start,) in db.execute(SQL["start_offsets"], arguments)])

    async def offsets_at(self, topic: str, moment: datetime) -> list[int]:
        def find(db: sqlite3.Connection) -> list[int]:
            arguments = (self._stored(topic), self.partitions, seq_at_moment(db, moment))
            return [offset for (offset,) in db.execute(SQL["offsets_from"], arguments)]

        return await self.in_thread(find)

    async def cut(self, positions: Mapping[TopicPartition, int]) -> None:
        starts = {(self._stored(topic), partition): offset for (topic, partition), offset in positions.items()}
        await asyncio.to_thread(cut, self._path, starts)

    async def fetch(self, topic: str, partition: int, offsets: Collection[int]) -> list[Record]:
        parameters = (self._stored(topic), partition, msgspec.json.encode(list(offsets)).decode())
        rows = await self.in_thread(lambda db: db.execute(SQL["records_at"], parameters).fetchall())
        records = []
        for offset, key, headers, stored in rows:
            members, value = read_body(key, headers, stored)
            records.append(Record(topic, partition, offset, key, value, members))
        return records

    def reader(self, topics: Sequence[str], start: Mapping[TopicPartition, int] | None = None) -> SqliteReader:
        return SqliteReader(self, self._names(topics), self.partitions, dict(start or {}))

    def member(self, group: str, topics: Sequence[str], assignment: Assignment) -> SqliteReader:
        lock = GroupLock(self._path.with_name(f"{self._path.name}.{self._stored(group)}.lock"))
        return SqliteReader(self, self._names(topics), self.partitions, {}, lock=lock, assignment=assignment)

    async def commit(self, group: str, positions: Mapping[TopicPartition, int]) -> bool:
        for (topic, partition), offset in positions.items():
            mark = (self._stored(group), self._stored(topic), partition)
            self._marks[mark] = max(offset, self._marks.get(mark, 0))
        if self._marking is None:
            self._marking = asyncio.get_running_loop().call_later(MARK_DELAY_S, self._save_marks)
        return True

    async def committed(self, group: str, partitions: Collection[TopicPartition]) -> Positions:
        self._save_marks()
        if self._marked is not None:
            await asyncio.wait([self._marked])
        stored = self._stored(group)
        rows = await self.in_thread(lambda db: db.execute(SQL["positions"], (stored,)).fetchall())
        offsets = {(topic, partition): offset for topic, partition, offset in rows}
        return {
            (topic, partition): offsets[self._stored(topic), partition]
            for topic, partition in partitions
            if (self._stored(topic), partition) in offsets
        }

    async def group_positions(self) -> dict[str, Positions]:
        by_group: dict[str, Positions] = {}
        for group, topic, partition, offset in await self.in_thread(
            lambda db: db.execute(SQL["group_positions"]).fetchall()
        ):
            if group.startswith(self._prefix) and topic.startswith(self._prefix):
                positions = by_group.setdefault(group.removeprefix(self._prefix), {})
                positions[topic.removeprefix(self._prefix), partition] = offset
        return by_group

    # what readers use

    def in_thread(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        db = self._db
        if db is None or self._reading is None:
            raise LogUnavailable("the log is not open")

        def read() -> T:
            try:
                return work(db)
            except sqlite3.OperationalError as error:
                raise LogUnavailable(f"the log cannot be read: {error}") from error
            except sqlite3.DatabaseError as error:
                raise LogFault(f"the log {self._path} is damaged ({error}): restore a backup") from None

        return asyncio.get_running_loop().run_in_executor(self._reading, read)

    def listen(self) -> None:
        if self._wakeup is not None:
            self._wakeup.listen(self._woken)

    def attach(self, reader: SqliteReader) -> bool:
        """Attach a reader to the tail if it has seen everything up to its cursor; return whether it is attached."""
        if self._live and reader.cursor < self._tail:
            return False
        if not self._live:
            self._tail = reader.cursor
        self._live[reader] = None
        # what was written between the reader's last query and now has rung already, or was committed here
        self._pull_soon()
        return True

    def detach(self, reader: SqliteReader) -> None:
        self._live.pop(reader, None)

    # the tail

    def _on_commit(self, commit: Commit) -> None:
        """Pass a commit to readers; on the event loop, in commit order."""
        seq = commit.first_seq
        in_step = bool(self._live) and seq == self._tail + 1
        read = {topic for reader in self._live for topic in reader.topics} if in_step else frozenset[str]()
        fresh: list[Sequenced] = []
        for append, positions in zip(commit.appends, commit.positions, strict=True):
            if not append.done.done():
                append.done.set_result(positions)
            if read:
                for record, (partition, offset) in zip(append.records, positions, strict=True):
                    if record.topic in read:
                        fresh.append(
                            (seq, Record(record.topic, partition, offset, record.key, record.value, record.headers))
                        )
                    seq += 1
            else:
                seq += len(positions)
        if in_step:
            self._hand_over(fresh, seq - 1)
        elif self._live and seq - 1 > self._tail:
            # others have written in between
            self._woken()

    def _hand_over(self, rows: Sequence[Sequenced], seen: int) -> None:
        self._tail = seen
        if rows:
            for reader in tuple(self._live):
                reader.offer(rows)

    def _woken(self) -> None:
        """Fetch records that the tail has not seen yet."""
        self._pulling = None
        if not self._live or self._tail_db is None:
            return
        try:
            fetched = fetch_tail(self._tail_db, self._live_names(), self._tail)
        except sqlite3.Error as error:
            logger.error("log.read_failed", path=str(self._path), error=str(error))
            # nothing signals that the file can be read again
            self._pulling = asyncio.get_running_loop().call_later(READ_AGAIN_S, self._woken)
            return
        except LogFault:
            # each reader gets the error by a query of its own, and reports it to its caller
            for reader in tuple(self._live):
                reader.leave()
            return
        self._hand_over(fetched.rows, fetched.seen)
        if fetched.more:
            # others first
            self._pull_soon()

    def _pull_soon(self) -> None:
        if self._pulling is None:
            self._pulling = asyncio.get_running_loop().call_soon(self._woken)

    def _live_names(self) -> dict[str, str]:
        return {stored: topic for reader in self._live for stored, topic in reader.names.items()}

    def _save_marks(self, writer: Writer | None = None) -> None:
        writer = writer or self._writer
        if self._marking is not None:
            self._marking.cancel()
            self._marking = None
        if not self._marks or writer is None:
            return
        marks, self._marks = self._marks, {}
        rows = [(group, topic, partition, offset) for (group, topic, partition), offset in marks.items()]
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.add_done_callback(partial(self._marks_saved, marks))
        self._marked = done
        writer.put(Marks(rows, done))

    def _marks_saved(self, marks: Mapping[tuple[str, str, int], int], done: asyncio.Future[None]) -> None:
        """Keep positions that could not be written for the next attempt: no later one may come, and who waits for them would wait on."""
        if done.cancelled() or done.exception() is None or self._writer is None:
            return
        for mark, offset in marks.items():
            self._marks[mark] = max(offset, self._marks.get(mark, 0))
        if self._marking is None:
            self._marking = asyncio.get_running_loop().call_later(MARK_DELAY_S, self._save_marks)

    def _stored(self, name: str) -> str:
        return self._prefix + name

    def _names(self, topics: Sequence[str]) -> dict[str, str]:
        return {self._stored(topic): topic for topic in topics}
