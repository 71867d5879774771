"""Supervision of a process of Node: one that dies is replaced, at once if it has lived for a while, else after a pause that doubles.

    runs … ─► died ─► (pause) ─► started ─► runs …
                          └──────► does not start ─► (a longer pause) ─► started …

For the graph hosts of workers and for the process of `auth` and `http.app` of gateways. Concurrency: on one event loop. It ends when
its task is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

from ..process.service import StartError

STEADY_S = 30.0
"""A process that has lived this long is replaced at once when it dies."""
BACKOFF_S = 0.5
MAX_BACKOFF_S = 10.0
END_S = 2.0
"""For a process to end by itself once its input is closed; then it is killed."""


async def supervise(
    ended: Callable[[], Awaitable[float]],
    begin: Callable[[], Awaitable[None]],
    failed: Callable[[StartError], None],
) -> NoReturn:
    """Replace a process whenever it dies. ``ended`` waits until it has died and returns how long it has lived, in seconds; ``begin``
    starts the next one; ``failed`` receives the error of a start that failed, which is tried again."""
    pause = 0.0
    while True:
        lived_s = await ended()
        pause = 0.0 if lived_s > STEADY_S else _longer(pause)
        while True:
            await asyncio.sleep(pause)
            try:
                await begin()
                break
            except StartError as error:
                failed(error)
                pause = _longer(pause)


def _longer(pause: float) -> float:
    return min(max(pause * 2, BACKOFF_S), MAX_BACKOFF_S)


def likely_cause(code: int | None) -> str | None:
    """Return the likely cause of an exit code, or None."""
    if code in (-6, 134):
        return "a process that has no room left in its heap ends so: LANGLOG_GRAPH_HOST_MEMORY_MB raises the bound of graphs"
    if code in (-9, 137):
        return "it was killed: by somebody, or by the system for the memory that it took"
    return None
