"""The deadline of appends to the embedded log, which its writer's thread cannot keep: it may wait for a lock or a disk.

A process that is stopped (SIGSTOP, a debugger) while it writes keeps the write lock, and a disk may never answer. Callers get an
error after the deadline all the same, as they do from Kafka. An append that was not begun by then never is.

Concurrency: called on the event loop, but for `Deadline.begun`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from ...time.sources import monotonic
from ..port import AppendUnknown, LogUnavailable, NewRecord, Position, TopicPartition
from .file import lock_path
from .rows import StoredBody


class Append(msgspec.Struct):
    """One call of `Log.append` on its way."""

    records: Sequence[NewRecord]
    partitions: list[TopicPartition]
    bodies: list[StoredBody]
    size: int
    done: asyncio.Future[list[Position]]
    queued: float
    """When it was put in line."""
    values: list[bytes] = []
    """Values as they are stored."""
    begun: bool = False
    """Whether it may be in the file."""
    given_up: bool = False
    """Whether its caller got an error that says: it is not in the file."""


class Deadline:
    """Watches appends. ``passed``: called with the number of appends that got an error at once, and its text."""

    def __init__(self, path: Path, seconds: float, passed: Callable[[int, str], None]) -> None:
        self._lock_file = lock_path(path)
        self._lock_inode = 0
        self._seconds = seconds
        self._passed = passed
        self._lock = threading.Lock()
        self._waiting: deque[Append] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def start(self, lock_fd: int) -> None:
        """``lock_fd``: the open file of the write lock, of which nothing is asked later: its disk may not answer."""
        self._lock_inode = os.fstat(lock_fd).st_ino

    def watch(self, append: Append) -> None:
        self._forget_answered()
        self._waiting.append(append)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._check)

    def begun(self, appends: list[Append]) -> list[Append]:
        """Return those that were not given up, which are in the file from now on, or may be. For the writer's thread."""
        with self._lock:
            going = [append for append in appends if not append.given_up]
            for append in going:
                append.begun = True
        return going

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _forget_answered(self) -> None:
        while self._waiting and self._waiting[0].done.done():
            self._waiting.popleft()

    def _check(self) -> None:
        self._timer = None
        now, late = monotonic(), list[Append]()
        self._forget_answered()
        while self._waiting and self._waiting[0].queued + self._seconds <= now:
            late.append(self._waiting.popleft())
            self._forget_answered()
        if late:
            self._give_up(late)
        if self._waiting:
            pause = self._waiting[0].queued + self._seconds - now
            self._timer = asyncio.get_running_loop().call_later(pause, self._check)

    def _give_up(self, late: Sequence[Append]) -> None:
        why = self._why()
        for append in late:
            with self._lock:
                append.given_up = not append.begun
            if append.given_up:
                append.records, append.bodies, append.values = (), [], []  # the writer reaches it some day, or never
                append.done.set_exception(LogUnavailable(f"the log was not written within {self._seconds:g} s: {why}"))
            else:
                append.done.set_exception(AppendUnknown(f"the log's disk did not answer within {self._seconds:g} s"))
        self._passed(len(late), why)

    def _why(self) -> str:
        holder = _holder(self._lock_inode)
        if holder is None:
            return "another process writes"
        if holder == os.getpid():
            return "its disk does not answer"
        return f"process {holder}{_state(holder)} holds {self._lock_file}; continue that process, or end it"


def _holder(inode: int) -> int | None:
    """Return the process that holds a flock on the file of this inode, where Linux tells (proc(5), /proc/locks)."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if words[1] == "FLOCK" and int(words[5].rpartition(":")[2]) == inode:
                return int(words[4])
    return None


def _state(pid: int) -> str:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("State:"):
                return f" ({line.partition('(')[2]}"
    return ""
