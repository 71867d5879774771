"""Ends a process in time after a stop signal, whatever hangs; a second signal ends it at once.

    first SIGTERM or SIGINT ─► `Ending.requested`, services drain and stop ─► the process ends
    second signal           ─► `Ending.hurried`, what still drains is cut off
    out of time             ─► a thread of its own ends the process, whatever its event loop does

Concurrency: signals come on the event loop. The limit is kept by a daemon thread, so neither an event loop that is busy nor a
thread that waits for a server can outlast it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from ..time.sources import monotonic
from .settings import Settings

AT_ONCE_S = 2.0
"""From the second signal to the end of the process: to kill workers and stop embedded servers."""
LET_GO_S = 5.0
"""Of the limit, the last seconds: draining is over, and services release what they hold."""


BEYOND_DRAINING_S = 10.0
"""The default limit: twice the time for draining (steps get it, and then code that does not stop), and this."""


def stop_limit_s(settings: Settings) -> float:
    """Seconds from the signal to the end of a process, at the longest."""
    return settings.stop_s or 2 * settings.drain_s + BEYOND_DRAINING_S


def end_by_force(reason: str) -> NoReturn:
    """End this process with exit code 1, without another step of any thread. The kernel ends embedded servers, and workers end
    because their standard input closes."""
    print(f"langlog: {reason}", file=sys.stderr, flush=True)
    os._exit(1)


class Ending:
    """The end of one process. ``limit_s``: seconds from the first signal to the end at the latest. ``force`` ends the process,
    and is given why; None: nothing is forced, for a loop that shares its process with others."""

    def __init__(self, limit_s: float, force: Callable[[str], object] | None = None) -> None:
        self._limit_s = limit_s
        self._force = force
        self._until: float | None = None
        self.requested = asyncio.Event()
        """A first signal came."""
        self.hurried = asyncio.Event()
        """A second signal came."""

    def listen(self) -> None:
        """From now on signals to this process come here. On its event loop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.on_signal)

    def on_signal(self) -> None:
        if not self.requested.is_set():
            self.requested.set()
            self.begin()
        elif not self.hurried.is_set():
            self.hurried.set()
            self._until = monotonic()
            self._force_after(AT_ONCE_S, "ended at once by a second signal")

    def begin(self) -> None:
        """Count from now, unless that has begun."""
        if self._until is None:
            self._until = monotonic() + self._limit_s
            self._force_after(
                self._limit_s,
                f"ended by force {self._limit_s:g} s after the stop signal (LANGLOG_STOP_SECS): a server that it "
                "depends on did not answer, or a run did not stop",
            )

    def drain_left_s(self) -> float:
        """Seconds for what still drains."""
        return self._left(LET_GO_S)

    def left_s(self) -> float:
        """Seconds until all must have been released, some time before the end is forced."""
        return self._left(AT_ONCE_S / 2)

    def _left(self, spared_s: float) -> float:
        if self._until is None:
            return self._limit_s
        return max(0.0, self._until - min(spared_s, self._limit_s / 2) - monotonic())

    def _force_after(self, seconds: float, reason: str) -> None:
        if self._force is not None:
            timer = threading.Timer(seconds, self._force, [reason])
            timer.daemon = True
            timer.start()
