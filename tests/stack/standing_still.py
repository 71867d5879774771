"""Processes that stand still (SIGSTOP) at a moment when nobody waits for them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from langlog_backbone.log.sqlite.file import lock_path

LIMIT_S = 60.0
LOOK_S = 0.005


@contextlib.contextmanager
def standing_still(*pids: int, log: Path) -> Iterator[None]:
    """Stop processes for the duration of a block. ``log``: the embedded log that they write to, if there is one: they do not hold its
    locks meanwhile, with which no other process could append."""
    with contextlib.ExitStack() as stack:
        with contextlib.ExitStack() as locks:
            if log.exists():
                # the turn first: who waits for the lock itself holds the turn
                for file in (log.with_name(log.name + ".turn"), lock_path(log)):
                    fcntl.flock(locks.enter_context(file.open("rb")), fcntl.LOCK_EX)
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
                stack.callback(_go_on, pid)
            for pid in pids:
                until_stopped(pid)
        yield


def _go_on(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def until_stopped(pid: int) -> None:
    """Block until no thread of the process runs."""
    until = time.monotonic() + LIMIT_S
    while set(_states(pid)) != {"T"}:
        assert time.monotonic() < until, f"process {pid} does not stop"
        time.sleep(LOOK_S)  # a stop is signalled to its parent alone


def _states(pid: int) -> Iterator[str]:
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield (thread / "stat").read_text().rpartition(")")[2].split()[0]
