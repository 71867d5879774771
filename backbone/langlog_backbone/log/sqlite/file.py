"""The file of the embedded log: created, checked, and opened for one use.

Concurrency: a connection belongs to the thread that opened it. WAL: readers never wait for the writer.
Death: SQLite rolls an unfinished transaction back at the next open; what was committed is on disk (``synchronous=FULL``).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import sqlite3
import tempfile
from pathlib import Path

from ...postgres.database import load_sql
from ..port import LogFault, LogUnavailable

SQL = load_sql("langlog_backbone", "sqlite_log.sql")

APPLICATION_ID = 0x6C6C6F67
"""``llog`` in the file's header: marks the SQLite file as a log of langlog."""
FORMAT = 4
"""Format of the rows (``PRAGMA user_version``). 2: values may be compressed; 3: it was cut; 4: headers and value may be compressed
together (`rows`). Each holds rows of the formats before it; an older langlog must not read it."""
CHECKPOINT_PAGES = 2_000
"""Number of pages of 4 KiB after which the write-ahead log is moved into the main file."""
ROOM_BYTES = 64 * 1024
"""Size of the file that is written beside the log to check the room on its disk."""
BUSY_TIMEOUT_S = 10.0
"""Seconds that SQLite itself may wait, which is rare: during recovery after a crash."""
CACHED_STATEMENTS = 256
UNFINISHED = ".part"
"""Suffix of the name of a log that a copy has not completed."""


def lock_path(path: Path) -> Path:
    """Return the file of the write lock, which also holds the last sequence number for the next writer."""
    return path.with_name(path.name + ".lock")


# PyDLL keeps the interpreter lock during the call, `fcntl` releases it: a writer that holds the file's lock and has to win the
# interpreter's back from a busy event loop makes all other processes wait meanwhile.
_libc = ctypes.PyDLL(None, use_errno=True)


class WriteLock:
    """Held around every write by one process at a time.

    SQLite's own busy wait sleeps, and two writers would stall each other by 100 ms and more; a plain flock wakes its waiter,
    but a busy holder takes it again before the waiter is awake. So there are two: a process waits for the lock while it
    holds the turn, and a process that has just had the lock must wait for the turn. For one thread.
    """

    def __init__(self, path: Path) -> None:
        self.fd = os.open(lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._turn = os.open(path.with_name(path.name + ".turn"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            os.close(self.fd)
            raise

    def __enter__(self) -> None:
        _acquire(self._turn)
        try:
            _acquire(self.fd)
        finally:
            _release(self._turn)

    def __exit__(self, *_: object) -> None:
        _release(self.fd)

    def close(self) -> None:
        os.close(self._turn)
        os.close(self.fd)


def _acquire(fd: int) -> None:
    if _libc.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB) != 0:
        fcntl.flock(fd, fcntl.LOCK_EX)


def _release(fd: int) -> None:
    if _libc.flock(fd, fcntl.LOCK_UN) != 0:
        fcntl.flock(fd, fcntl.LOCK_UN)


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """Open a connection in autocommit mode; transactions begin explicitly."""
    db = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=CACHED_STATEMENTS
    )
    try:
        if write:
            db.execute("PRAGMA synchronous = FULL")
            db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        else:
            db.execute("PRAGMA query_only = ON")
    except BaseException:
        db.close()
        raise
    return db


def check_room(path: Path) -> None:
    """Write a file beside the log, and remove it. Blocks; for a thread. Raises LogUnavailable if the disk is full."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=".room") as file:
            file.write(bytes(ROOM_BYTES))
            file.flush()
    except OSError as error:
        raise LogUnavailable(f"the log's disk takes no more: {error.strerror}") from None


def unfinished(path: Path) -> Path:
    """Return the path of a copy into this log until it is complete (`langlog_backbone.transfer`)."""
    return path.with_name(path.name + UNFINISHED)


def prepare(path: Path, partitions: int) -> None:
    """Create the file if it is missing, check it if not. Blocks; for a thread. Raises LogFault."""
    if not path.exists() and unfinished(path).exists():
        raise LogFault(
            f"a copy into the log {path} has not finished: run the same `langlog log copy` or `langlog restore` again, or remove "
            f"{unfinished(path)} to begin anew"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = WriteLock(path)
    except OSError as error:
        raise LogFault(f"the log {path} cannot be opened: {error.strerror}") from None
    try:
        with lock:
            _prepare(path, partitions)
    except sqlite3.DatabaseError as error:
        raise LogFault(f"{path} is not a log of langlog: {error}") from None
    finally:
        lock.close()


def _prepare(path: Path, partitions: int) -> None:
    with contextlib.closing(connect(path, write=True)) as db:
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application == 0 and tables == 0:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("BEGIN IMMEDIATE")
            for name in ("create_records", "create_place", "create_positions", "create_meta", "create_starts"):
                db.execute(SQL[name])
            db.execute(SQL["insert_meta"], ("partitions", str(partitions)))
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {FORMAT}")
            db.execute("COMMIT")
            path.chmod(0o600)
            return
        if application != APPLICATION_ID:
            raise LogFault(f"{path} is not a log of langlog")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > FORMAT:
            raise LogFault(f"the log {path} has format {version}, this langlog reads formats up to {FORMAT}")
        if version < FORMAT:
            db.execute(f"PRAGMA user_version = {FORMAT}")
        db.execute(SQL["create_starts"])
        (made_with,) = db.execute(SQL["meta"], ("partitions",)).fetchone()
        if int(made_with) != partitions:
            raise LogFault(
                f"the log {path} has {made_with} partitions, which cannot be changed: LANGLOG_PARTITIONS is {partitions}"
            )
