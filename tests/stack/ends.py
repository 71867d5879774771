"""Ends of processes that are not the test's own children, such as those of a server that it has killed.

A process has ended although its parent has not yet taken notice of it (a zombie): an orphan's parent is the machine's first process,
which in a container may do so seconds later, or never. `psutil.wait_procs` waits for that as well, and without an end.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterable

import psutil

END_S = 60.0


def await_ends(pids: Iterable[int], limit_s: float = END_S) -> None:
    """Wait until the processes have ended, each for at most ``limit_s``. Raises AssertionError, which names the one that goes on."""
    for pid in pids:
        if not _ended(pid, limit_s):
            raise AssertionError(f"process {pid} ({_description(pid)}) goes on after {limit_s} s")


def _description(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        return f"{process.name()}, {process.status()}"
    except psutil.NoSuchProcess:
        return "ended meanwhile"


def _ended(pid: int, limit_s: float) -> bool:
    if sys.platform != "linux":
        gone, _ = psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], limit_s)
        return bool(gone) or not psutil.pid_exists(pid)
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        ends = select.poll()
        ends.register(fd, select.POLLIN)
        return bool(ends.poll(limit_s * 1000))
    finally:
        os.close(fd)
