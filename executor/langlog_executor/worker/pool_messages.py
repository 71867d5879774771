"""Messages of a worker to its pool: that it is ready, or why not; when it retires, which runs it still has and what it waits
for.

Between `process` (which writes) and `pool` (which reads); nothing here runs user code.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import structlog
from langlog_schemas.messages import Task

logger = structlog.get_logger(__name__)

SETTINGS_ALONE = "LANGLOG_WORKER_SETTINGS_ALONE"
"""Variable with the names of the pool's setting variables that were not set before: if the project sets one of them, its
code gets the project's value."""
REPORTED = 20
"""Maximum number of named runs; the others are counted."""


class InFlight(msgspec.Struct, frozen=True):
    """A run that a worker waits for before newer code replaces it."""

    run_id: str
    thread_id: str
    graph_id: str
    until: Literal["its next step", "its end"]

    def __str__(self) -> str:
        return f"run {self.run_id} of {self.graph_id} (until {self.until})"


class Retiring(msgspec.Struct, frozen=True):
    """Report of a retiring worker. ``runs``: the first `REPORTED` of ``count``."""

    runs: list[InFlight] = []
    count: int = 0


def moves(task: Task) -> bool:
    """Return whether a run continues in newer code from its next step on. One that was restarted before does not: no reload restarts a
    run twice."""
    return task.attempt == 1


def retiring(tasks: Sequence[Task]) -> Retiring:
    """Return the report of a worker with these runs."""
    runs = [
        InFlight(task.run_id, task.thread_id, task.graph_id, "its next step" if moves(task) else "its end")
        for task in tasks[:REPORTED]
    ]
    return Retiring(runs, len(tasks))


def together(reports: Sequence[Retiring]) -> Retiring:
    """Return the combined report of several workers."""
    runs = [run for one in reports for run in one.runs]
    return Retiring(runs[:REPORTED], sum(one.count for one in reports))


class Report:
    """JSON lines to the pool: ``{"ready": …}`` or ``{"error": "…"}``; ``{"retiring": Retiring}`` when it has to retire."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self.pool = fd is not None
        """Whether a pool started this process, and holds the other end of its standard input."""

    def write(self, message: dict[str, Any]) -> None:
        if self._fd is not None:
            with contextlib.suppress(BrokenPipeError):  # the pool is gone: `orphaned` ends this
                os.write(self._fd, msgspec.json.encode(message) + b"\n")


async def orphaned() -> None:
    """Wait until the pool's end of the standard input is closed: its process has ended."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1024):
        pass
    logger.warning("worker.orphaned")
