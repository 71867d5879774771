"""The one thread of a process that writes to the embedded log.

It writes all queued appends in one transaction with one fsync, and notifies the event loop once: the more
callers, the larger the commits. Several processes take turns by flock; an append whose turn does not come gets an error
(`deadline`).

One statement writes a whole commit where possible: Python releases the interpreter lock around each step of
SQLite, and winning it back from a busy event loop takes longer than the step.

Death: a commit that was not reported is in the file completely or not at all; the lock ends with the process.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import queue
import sqlite3
import struct
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import structlog

from ...metrics.deferred import later
from ...metrics.table import APPEND_FAILURES, APPENDED_BYTES, APPENDED_RECORDS, APPENDS, COMMITS
from ...time.sources import monotonic
from ..port import AppendUnknown, LogUnavailable, Position, TopicPartition
from .deadline import Append, Deadline
from .file import SQL, WriteLock, connect
from .rows import value_of

logger = structlog.get_logger(__name__)

COMMIT_RECORDS = 4_000
"""Number of records from which a commit accepts no further append."""
COMMIT_BYTES = 8_000_000
"""Bytes of values from which a commit accepts no further append."""
STATEMENT_RECORDS = 500
"""Maximum number of records of one INSERT: SQLite allows 32,766 parameters, and 999 in old builds are seven times 142;
compiling grows with it."""
FORGET_AFTER = 20_000
"""Number of records by other processes above which counters are queried one by one instead of derived from those records."""

_INSERT = 'INSERT INTO records (seq, topic, partition, "offset", key, headers, value) VALUES '
_ROW = "(?,?,?,?,?,?,?)"
_HINT = struct.Struct("<q")

Row = tuple[int, str, int, int, str, bytes, bytes]
"""seq, topic, partition, offset, key, headers, value"""


class Marks(msgspec.Struct):
    """Positions of groups to be stored."""

    rows: list[tuple[str, str, int, int]]
    done: asyncio.Future[None]


class Commit(msgspec.Struct):
    """Result of one transaction."""

    first_seq: int
    appends: list[Append]
    positions: list[list[Position]]


_records, _bytes = APPENDED_RECORDS.labels("sqlite"), APPENDED_BYTES.labels("sqlite")
_appends = APPENDS.labels("sqlite")


def _count(group: Sequence[Append], locked: float, committed: float) -> None:
    """One commit: counting each append of it would cost more than it says. The first of them has waited for longest."""
    later(COMMITS.observe, committed - locked)
    later(_appends.observe, committed - group[0].queued)
    later(_records.inc, sum([len(append.records) for append in group]))
    later(_bytes.inc, sum([append.size for append in group]))


class Writer:
    """``committed`` is called on the event loop, in commit order; ``ring`` in the thread, after each commit. ``deadline_s``: seconds
    after which an append gets an error."""

    def __init__(
        self,
        path: Path,
        *,
        deadline_s: float,
        stored: Callable[[str], str],
        committed: Callable[[Commit], None],
        ring: Callable[[], None],
    ) -> None:
        self._path = path
        self._stored = stored
        self._committed = committed
        self._ring = ring
        self._queue: queue.SimpleQueue[Append | Marks | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._db: sqlite3.Connection | None = None
        self._failed_at: float | None = None
        """Time of the last append's failure; None: it did not fail."""
        self._seq: int | None = None
        self._next: dict[TopicPartition, int] = {}
        self._stopped: asyncio.Future[None] = self._loop.create_future()
        self._deadline = Deadline(path, deadline_s, self._passed)

    def start(self) -> None:
        self._lock = WriteLock(self._path)
        if os.fstat(self._lock.fd).st_size < _HINT.size:
            os.pwrite(
                self._lock.fd, bytes(_HINT.size), 0
            )  # a hole in the file, on a disk that is full, would kill us later
        self._hint = mmap.mmap(self._lock.fd, _HINT.size)
        self._deadline.start(self._lock.fd)
        self._thread.start()

    def failed_within(self, seconds: float) -> bool:
        """Return whether the last append failed recently."""
        return self._failed_at is not None and monotonic() - self._failed_at < seconds

    def put(self, work: Append | Marks) -> None:
        if isinstance(work, Append):
            self._deadline.watch(work)
        self._queue.put(work)

    def _passed(self, appends: int, error: str) -> None:
        APPEND_FAILURES.labels("sqlite").inc(appends)
        if self._failed_at is None:
            logger.error("log.append_waits", path=str(self._path), error=error)
        self._failed_at = monotonic()

    async def stop(self) -> None:
        """Write what is queued, then end."""
        self._queue.put(None)
        await self._stopped
        self._deadline.stop()

    def _run(self) -> None:
        waiting = self._queue
        going = True
        while going:
            work = waiting.get()
            group: list[Append] = []
            marks: list[Marks] = []
            records = size = 0
            while True:
                if work is None:
                    going = False
                    break
                if isinstance(work, Marks):
                    marks.append(work)
                else:
                    group.append(work)
                    records += len(work.records)
                    size += work.size
                    if records >= COMMIT_RECORDS or size >= COMMIT_BYTES:
                        break
                try:
                    work = waiting.get_nowait()
                except queue.Empty:
                    break
            if group:
                self._append(group)
            if marks:
                self._mark(marks)
        if self._db is not None:
            self._db.close()
        self._hint.close()
        self._lock.close()
        self._notify(self._settle, [self._stopped], None)

    def _append(self, group: list[Append]) -> None:
        try:
            for append in group:  # before the lock: others write meanwhile
                append.values = [value_of(body) for body in append.bodies]
            with self._lock:
                locked = monotonic()
                group = self._deadline.begun(group)
                if not group:
                    return
                try:
                    commit = self._write(group)
                except sqlite3.IntegrityError:
                    # another process died between its commit and the hint: our counters are behind
                    self._forget()
                    commit = self._write(group)
                failed_before = self._failed_at is not None
                self._failed_at = None  # before anybody learns of the commit and checks the log
                self._notify(self._committed, commit)
            self._ring()
            _count(group, locked, monotonic())
            if failed_before:
                logger.info("log.appends_again", path=str(self._path))
        except Exception as error:
            APPEND_FAILURES.labels("sqlite").inc(len(group))
            if self._failed_at is None:
                logger.exception("log.append_failed", path=str(self._path))
            self._failed_at = monotonic()
            known = isinstance(error, sqlite3.Error) and error.sqlite_errorname in ("SQLITE_FULL", "SQLITE_READONLY")
            failure = (LogUnavailable if known else AppendUnknown)(f"the log cannot be written: {error}")
            self._reopen()
            self._notify(self._settle, [append.done for append in group], failure)

    def _write(self, group: list[Append]) -> Commit:
        db = self._connection()
        self._catch_up(db)
        assert self._seq is not None
        first = seq = self._seq + 1
        following = dict[TopicPartition, int]()
        parameters: list[object] = []
        positions: list[list[Position]] = []
        for append in group:
            placed: list[Position] = []
            rows = zip(append.records, append.partitions, append.bodies, append.values, strict=True)
            for record, partition, body, value in rows:
                offset = following.get(partition)
                if offset is None:
                    offset = self._next_offset(db, partition)
                following[partition] = offset + 1
                parameters += (seq, self._stored(record.topic), partition[1], offset, record.key, body.headers, value)
                placed.append(Position(partition[1], offset))
                seq += 1
            positions.append(placed)
        count = seq - first
        if count <= STATEMENT_RECORDS:
            # `executemany` calls SQLite less often afterwards than `execute`, each time without the interpreter lock
            db.executemany(_insert(count), (parameters,))
        else:
            self._in_chunks(db, parameters)
        self._seq = seq - 1
        self._next.update(following)
        _HINT.pack_into(self._hint, 0, self._seq)
        return Commit(first, group, positions)

    def _in_chunks(self, db: sqlite3.Connection, parameters: list[object]) -> None:
        db.execute("BEGIN IMMEDIATE")
        try:
            step = STATEMENT_RECORDS * 7
            for start in range(0, len(parameters), step):
                chunk = parameters[start : start + step]
                db.execute(_insert(len(chunk) // 7), chunk)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _catch_up(self, db: sqlite3.Connection) -> None:
        """Read what other processes have written since; under the lock."""
        (hint,) = _HINT.unpack_from(self._hint, 0)
        if self._seq is not None and hint == self._seq:
            return
        (last,) = db.execute(SQL["last_seq"]).fetchone()
        if self._seq is None or last < self._seq or last - self._seq > FORGET_AFTER:
            self._next.clear()
        elif last > self._seq:
            for topic, partition, following, _ in db.execute(SQL["next_offsets_since"], (self._seq,)):
                self._next[topic, partition] = following
        self._seq = last

    def _next_offset(self, db: sqlite3.Connection, partition: TopicPartition) -> int:
        known = self._next.get(partition)
        if known is None:
            (known,) = db.execute(SQL["next_offset"], partition).fetchone()
            self._next[partition] = known
        return int(known)

    def _mark(self, marks: list[Marks]) -> None:
        failure: Exception | None = None
        try:
            with self._lock:
                db = self._connection()
                db.execute("BEGIN IMMEDIATE")
                db.executemany(SQL["save_position"], [row for mark in marks for row in mark.rows])
                db.execute("COMMIT")
        except Exception as error:
            failure = LogUnavailable(f"the log cannot be written: {error}")
            self._reopen()
        self._notify(self._settle, [mark.done for mark in marks], failure)

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = connect(self._path, write=True)
        return self._db

    def _forget(self) -> None:
        self._seq = None
        self._next.clear()

    def _reopen(self) -> None:
        self._forget()
        if self._db is not None:
            self._db.close()
            self._db = None

    def _notify(self, callback: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            # the loop ended without `stop`: no caller waits any more
            return

    @staticmethod
    def _settle(waiters: Sequence[asyncio.Future[None]], failure: Exception | None) -> None:
        for waiter in waiters:
            if waiter.done():
                continue
            if failure is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(failure)


_inserts: dict[int, str] = {}


def _insert(count: int) -> str:
    statement = _inserts.get(count)
    if statement is None:
        statement = _inserts[count] = _INSERT + ",".join([_ROW] * count)
    return statement
