"""Servers that an earlier langlog left running in our data folder: found by their working directory, and stopped.

Not by pid files: after a crash a pid may be that of another process, even of another langlog's server. Every process of Postgres works
in its data directory, and Redis in the folder that it was given; so what runs a program of that name there is ours. That includes
processes of Postgres whose first process was killed: a new one must not begin beside them.

Concurrency, death: call it with the data folder's lock held. It blocks: in a thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import structlog

logger = structlog.get_logger(__name__)

QUIT_S = 10.0
"""Seconds that Postgres may take to end before it is killed."""
RECHECK_S = 0.05

_PROC = Path("/proc")


def end_orphans(folder: Path, program: str) -> None:
    """Stop processes of the program that work in the folder; return when none is left."""
    number = signal.SIGQUIT if program == "postgres" else signal.SIGKILL
    deadline = time.monotonic() + QUIT_S
    signalled: set[int] = set()
    while pids := working_in(folder, program):
        if number is not signal.SIGKILL and time.monotonic() > deadline:
            number = signal.SIGKILL
            signalled.clear()
        for pid in pids - signalled:
            logger.warning("embedded.left_running", program=program, pid=pid, signal=number.name)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        signalled |= pids
        time.sleep(RECHECK_S)  # not our children: there is no event to wait for


def working_in(folder: Path, program: str) -> set[int]:
    """Return the pids of processes that run the program and have the folder as their working directory."""
    wanted = str(folder.resolve())
    processes = _from_proc() if (_PROC / "self" / "cwd").exists() else _from_lsof(program)
    return {pid for pid, name, working_folder in processes if name == program and working_folder == wanted}


def _from_proc() -> Iterator[tuple[int, str, str]]:
    """Yield (pid, program, working directory) of every process that this user may inspect."""
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            # gone meanwhile, a zombie, or another user's
            with contextlib.suppress(OSError):
                working_folder = str((entry / "cwd").readlink())
                words = os.fsdecode((entry / "cmdline").read_bytes()).split("\0")
                # Postgres' own processes call themselves "postgres: checkpointer", Redis "/bin/redis-server unixsocket:…"
                yield int(entry.name), Path(words[0].split(" ")[0]).name.rstrip(":"), working_folder


def _from_lsof(program: str) -> Iterator[tuple[int, str, str]]:
    """The same where there is no /proc (macOS)."""
    command = ["lsof", "-a", "-c", program, "-d", "cwd", "-F", "pn"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603
    except OSError:
        return
    pid = 0
    for line in output.splitlines():
        if line.startswith("p"):
            pid = int(line[1:])
        elif line.startswith("n"):
            yield pid, program, line[1:]
