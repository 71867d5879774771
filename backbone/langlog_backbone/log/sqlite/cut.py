"""Cutting the embedded log: deletes records below some offsets, and shrinks the file.

First the new starts of partitions are stored, in one transaction: from then on readers and look-ups ignore records
below them. Then the records are deleted, a few in a transaction, so that appends continue in between. Last the file is rewritten without
the free pages (VACUUM), for which appends of all processes wait: about a second for 200 MB of remaining records.

Runs in a thread. Death: stored starts are valid; remaining records below them are invisible to readers, and the next cut deletes them.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from ..port import LogUnavailable
from .file import SQL, WriteLock, connect

DELETE_RECORDS = 2_000
"""Maximum number of records that one transaction deletes."""

Stored = tuple[str, int]
"""(topic as stored, partition)"""


def cut(path: Path, starts: Mapping[Stored, int]) -> None:
    """Cut the log. Raises LogUnavailable if the file cannot be written (for example on a full disk)."""
    lock = WriteLock(path)
    try:
        with contextlib.closing(connect(path, write=True)) as db:
            with lock:
                db.execute("BEGIN IMMEDIATE")
                db.executemany(
                    SQL["save_start"], [(*partition, offset) for partition, offset in starts.items() if offset > 0]
                )
                db.execute(SQL["save_cut_seq"])
                db.execute("COMMIT")
            gone = sum(_delete(db, lock, partition) for partition in db.execute(SQL["all_starts"]).fetchall())
            if gone:
                with lock:
                    db.execute("VACUUM")
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise LogUnavailable(f"the log cannot be written: {error}") from None
    finally:
        lock.close()


def _delete(db: sqlite3.Connection, lock: WriteLock, partition: tuple[str, int, int]) -> int:
    gone = 0
    while True:
        with lock:
            count = db.execute(SQL["cut"], (*partition, DELETE_RECORDS)).rowcount
        gone += count
        if count < DELETE_RECORDS:
            return gone
