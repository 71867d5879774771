"""Readers of the embedded log: one tail for all readers of a process.

A reader first catches up by queries of its own ("everything after sequence number s") in a thread, then joins the tail: records that
this process commits are passed on from memory, and those of other processes are fetched by one query per wake-up for all,
on the event loop, at most `TAIL_RECORDS` and `TAIL_BYTES` at a time: they were just written, so they are in the page cache
and a query takes tens of microseconds, while beside a busy loop a thread waits up to 5 ms for the interpreter lock after every row.

A reader that falls behind by more than `QUEUE_BYTES` leaves the tail and catches up by queries again, so that memory is bounded.

Concurrency: everything runs on the event loop that started the log, except the work of its one reading thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import math
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from ...process.retry import Availability, until_available
from ..port import Assignment, LogFault, Record, TopicPartition
from .file import SQL
from .rows import read_body

FETCH_RECORDS = 2_000
"""Maximum number of records in one query of a reader that catches up."""
FETCH_BYTES = 8_000_000
"""Maximum bytes of values in such a query, both as stored and as decompressed."""
TAIL_RECORDS = 300
TAIL_BYTES = 500_000
QUEUE_BYTES = 32_000_000
"""Maximum bytes of values that wait for one reader."""
TIMES_RECORDS = 16
"""Number of records whose headers one search by time reads."""
RECORD_OVERHEAD = 500
"""Approximate bytes that a record takes in memory besides its value."""

_layout = msgspec.json.Decoder(list[tuple[int, str, int, int, int, int, int]]).decode

Sequenced = tuple[int, Record]
T = TypeVar("T")


class Fetched(msgspec.Struct):
    rows: list[Sequenced]
    seen: int
    """Sequence number up to which all records are in ``rows`` or of other topics."""
    more: bool
    """The query stopped at a limit."""


class Source(Protocol):
    """The parts of a log that a reader uses."""

    def in_thread(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]: ...

    def attach(self, reader: SqliteReader) -> bool: ...

    def detach(self, reader: SqliteReader) -> None: ...

    def listen(self) -> None: ...


def fetch_tail(db: sqlite3.Connection, names: Mapping[str, str], after: int) -> Fetched:
    """Fetch the next few records of these topics. ``names``: topic as stored -> the caller's name for it."""
    (last,) = db.execute(SQL["last_seq"]).fetchone()
    rows: list[Sequenced] = []
    size = 0
    if last > after:
        cursor = db.execute(SQL["after"], (after, last, _json(names), TAIL_RECORDS))
        for seq, topic, partition, offset, key, headers, value in cursor:
            members, whole = read_body(key, headers, value)
            rows.append((seq, Record(names[topic], partition, offset, key, whole, members)))
            size += len(whole)
            if size >= TAIL_BYTES or len(rows) == TAIL_RECORDS:
                cursor.close()
                return Fetched(rows, seq, more=True)
    return Fetched(rows, last, more=False)


def fetch_many(db: sqlite3.Connection, names: Mapping[str, str], after: int) -> Fetched:
    """Like `fetch_tail`, for many records; for a thread."""
    (last,) = db.execute(SQL["last_seq"]).fetchone()
    if last <= after:
        return Fetched([], last, more=False)
    limits = (FETCH_RECORDS, FETCH_BYTES)
    layout, data = db.execute(SQL["packed_after"], (after, last, _json(names), *limits)).fetchone()
    rows_read: list[tuple[int, str, int, int, int, int, int, int]] = []
    at = 0
    for seq, topic, partition, offset, key_bytes, headers_bytes, value_bytes in _layout(layout):
        headers_at = at + key_bytes
        value_at = headers_at + headers_bytes
        end = value_at + value_bytes
        rows_read.append((seq, topic, partition, offset, at, headers_at, value_at, end))
        at = end
    # SQLite visits them in order, but promises that only since 3.44
    rows_read.sort(key=itemgetter(0))
    rows: list[Sequenced] = []
    size = 0
    for seq, topic, partition, offset, key_at, headers_at, value_at, end in rows_read:
        key = data[key_at:headers_at].decode()
        headers, value = read_body(key, data[headers_at:value_at], data[value_at:end])
        rows.append((seq, Record(names[topic], partition, offset, key, value, headers)))
        size += len(value)
        if size >= FETCH_BYTES:
            break  # the query counted them as they are stored
    # a batch that stopped at its byte limit looks like a complete one; one more query is cheap
    return Fetched(rows, rows[-1][0] if rows else last, bool(rows))


def _json(names: Mapping[str, str]) -> str:
    return msgspec.json.encode(list(names)).decode()


def find_start(
    db: sqlite3.Connection, names: Mapping[str, str], partitions: int, start: Mapping[TopicPartition, int]
) -> int:
    """Return the sequence number before the first wanted record. Raises LogFault when a start is beyond the end, or was cut off."""
    starts = read_starts(db)
    (last,) = db.execute(SQL["last_seq"]).fetchone()
    first = last + 1
    for stored, topic in names.items():
        for partition in range(partitions):
            begin = starts.get((stored, partition), 0)
            offset = start.get((topic, partition), 0) or begin
            if offset < begin:
                raise LogFault(cut_beyond(topic, partition, offset, begin))
            row = db.execute(SQL["seq_at"], (stored, partition, offset)).fetchone()
            if row is not None:
                first = min(first, row[0])
            elif offset > 0:
                (end,) = db.execute(SQL["next_offset"], (stored, partition)).fetchone()
                if offset > end:
                    raise LogFault(
                        f"{topic}/{partition} ends at offset {end}, before the position {offset} to read from: "
                        "this is not the log that was read before"
                    )
    return int(first) - 1


def read_starts(db: sqlite3.Connection) -> dict[tuple[str, int], int]:
    """Return the starts of cut partitions: (topic as stored, partition) -> offset."""
    return {(stored, partition): offset for stored, partition, offset in db.execute(SQL["all_starts"])}


def cut_beyond(topic: str, partition: int, offset: int, start: int) -> str:
    """Return the error text for a position below the partition's start."""
    return (
        f"{topic}/{partition} was cut below offset {start}, beyond the position {offset} to read from: "
        "see docs/how-to/retention.md"
    )


def seq_at_moment(db: sqlite3.Connection, moment: datetime) -> int:
    """Return the first sequence number of that moment or later. Times rise with it but for clocks that differ a little."""
    (low,) = db.execute(SQL["first_seq"]).fetchone()
    (last,) = db.execute(SQL["last_seq"]).fetchone()
    high = last + 1
    while low < high:
        middle = (low + high) // 2
        row = _time_from(db, middle)
        if row is None or row[1] >= moment:
            high = middle
        else:
            low = row[0] + 1
    return int(low)


def _time_from(db: sqlite3.Connection, seq: int) -> tuple[int, datetime] | None:
    """Return sequence number and time of the first record from there on that has a time."""
    while True:
        rows = db.execute(SQL["headers_from"], (seq, TIMES_RECORDS)).fetchall()
        for at, key, packed, value in rows:
            headers, _ = read_body(key, packed, value)
            with contextlib.suppress(ValueError, KeyError):
                # a dead letter has the time of the record that it was
                time = datetime.fromisoformat(headers.get("dead_time") or headers["ce_time"])
                return at, time if time.tzinfo is not None else time.replace(tzinfo=UTC)
        if not rows:
            return None
        seq = rows[-1][0] + 1


class GroupLock:
    """The one owner of a group: an flock, waited for in a thread, released by the kernel when its process dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None
        self._given_up = False
        self._state = threading.Lock()
        self._waiting: asyncio.Future[None] | None = None

    async def acquire(self) -> None:
        """Acquire the lock. May be cancelled and called again."""
        if self._fd is not None:
            return
        if self._waiting is None:
            loop = asyncio.get_running_loop()
            waiting = self._waiting = loop.create_future()
            threading.Thread(target=self._wait, args=(loop, waiting), name="log-group", daemon=True).start()
        await asyncio.shield(self._waiting)

    def release(self) -> None:
        with self._state:
            self._given_up = True
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None

    def _wait(self, loop: asyncio.AbstractEventLoop, waiting: asyncio.Future[None]) -> None:
        failure: OSError | None = None
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            with self._state:
                if self._given_up:
                    os.close(fd)
                    return
                self._fd = fd
        except OSError as error:
            failure = error

        def settle() -> None:
            if waiting.done():
                return
            if failure is None:
                waiting.set_result(None)
            else:
                waiting.set_exception(LogFault(f"{self._path} cannot be locked: {failure.strerror}"))

        try:
            loop.call_soon_threadsafe(settle)
        except RuntimeError:
            self.release()


class SqliteReader:
    """Implements `port.LogReader`."""

    def __init__(
        self,
        source: Source,
        names: Mapping[str, str],
        partitions: int,
        start: Mapping[TopicPartition, int],
        *,
        lock: GroupLock | None = None,
        assignment: Assignment | None = None,
    ) -> None:
        self.names = names
        self.topics: Collection[str] = frozenset(names.values())
        self.cursor = 0
        """Sequence number up to which all records were queued or skipped."""
        self._source = source
        self._partitions = partitions
        self._sought: Mapping[TopicPartition, int] | None = start
        """Position to continue from, until `cursor` is found for it."""
        self._lock = lock
        self._assignment = assignment
        self._availability = Availability("log.reader", "log", hanging_s=math.inf)  # an assignment takes a moment
        self._ready = False
        self._live = False
        self._wanted: dict[TopicPartition, int] = {}
        self._queue: deque[Record] = deque()
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None

    async def read(self, max_records: int = 1000) -> list[Record]:
        if not self._ready:
            await until_available(self._prepare, on=self._availability)
        queue = self._queue
        while self._sought is not None or not queue:
            if self._sought is not None:
                await until_available(self._find, on=self._availability)
            elif self._live:
                self._waiter = asyncio.get_running_loop().create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
            else:
                await until_available(self._catch_up, on=self._availability)
        if len(queue) <= max_records:
            taken = list(queue)
            queue.clear()
            self._size = 0
        else:
            taken = [queue.popleft() for _ in range(max_records)]
            self._size -= sum(len(record.value) + RECORD_OVERHEAD for record in taken)
        return taken

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        self._leave_tail()
        self._queue.clear()
        self._size = 0
        self._sought = dict(positions)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def alone(self) -> bool:
        return True  # a member owns every partition or none

    async def stop(self) -> None:
        self._leave_tail()
        if self._lock is not None:
            self._lock.release()

    def offer(self, records: Sequence[Sequenced]) -> None:
        """Receive records from the tail, in order, of all topics of the process."""
        if not self._live:
            return
        self._take(records)
        if self._size > QUEUE_BYTES:
            self._leave_tail()
        if self._waiter is not None and self._queue and not self._waiter.done():
            self._waiter.set_result(None)

    def _take(self, records: Sequence[Sequenced]) -> None:
        for seq, record in records:
            if seq <= self.cursor:
                continue
            self.cursor = seq
            if record.topic not in self.topics:
                continue
            if self._wanted:
                partition = (record.topic, record.partition)
                first = self._wanted.get(partition)
                if first is not None:
                    if record.offset < first:
                        continue
                    del self._wanted[partition]
            self._queue.append(record)
            self._size += len(record.value) + RECORD_OVERHEAD

    def leave(self) -> None:
        """Leave the tail, and continue by queries."""
        self._leave_tail()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _leave_tail(self) -> None:
        self._live = False
        self._source.detach(self)

    async def _prepare(self) -> None:
        if self._lock is not None and self._assignment is not None:
            await self._lock.acquire()
            partitions = [(topic, p) for topic in self.names.values() for p in range(self._partitions)]
            self._sought = await self._assignment.assigned(partitions)
        self._source.listen()
        self._ready = True

    async def _find(self) -> None:
        start = self._sought
        if start is None:
            return
        cursor, starts = await self._source.in_thread(
            lambda db: (find_start(db, self.names, self._partitions, start), read_starts(db))
        )
        if self._sought is not start:
            return  # sought again meanwhile
        begins = {(self.names[stored], p): offset for (stored, p), offset in starts.items() if stored in self.names}
        self._wanted = begins | {partition: offset for partition, offset in start.items() if offset > 0}
        self.cursor = cursor
        self._sought = None

    async def _catch_up(self) -> None:
        after = self.cursor
        fetched = await self._source.in_thread(lambda db: fetch_many(db, self.names, after))
        if self._sought is not None:
            return
        self._take(fetched.rows)
        self.cursor = fetched.seen
        if not self._queue:
            # before, because joining may bring records at once
            self._live = True
            if not self._source.attach(self):
                self._live = False
