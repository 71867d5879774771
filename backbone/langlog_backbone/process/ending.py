"""Ends a process in time after a stop signal, whatever hangs; a second signal ends it at once.

    first SIGTERM or SIGINT ─► `Ending.requested`, services drain and stop ─► the process ends
    second signal           ─► `Ending.hurried`, draining stops at once
    out of time             ─► a separate thread ends the process, whatever its event loop does

Concurrency: signals come on the event loop. The limit is kept by a daemon thread, so neither an event loop that is busy nor a
thread that waits for a server can outlast it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

from ..time.sources import monotonic
from .settings import Settings

AT_ONCE_S = 2.0
"""Seconds from the second signal to the end of the process, to kill workers and stop embedded servers."""
LET_GO_S = 5.0
"""Last seconds of the limit: draining has ended, and services release their resources."""


BEYOND_DRAINING_S = 10.0
"""Seconds beyond twice the time for draining in the default limit (steps get the time, and then code that does not stop), and this."""


OWN_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Signals that processes of langlog handle."""

_listening: list[Ending] = []
"""The ending that listens for signals in this process, if any."""
_masks = threading.local()
"""``before``: the signals that a thread had blocked before it forked."""


def stop_limit_s(settings: Settings) -> float:
    """Return the maximum seconds from the signal to the end of a process."""
    return settings.stop_s or 2 * settings.drain_s + BEYOND_DRAINING_S


def end_by_force(reason: str) -> NoReturn:
    """End this process with exit code 1, without another step of any thread. The kernel ends embedded servers, and workers end
    because their standard input closes."""
    print(f"langlog: {reason}", file=sys.stderr, flush=True)
    os._exit(1)


@functools.cache
def _spare_forked_children() -> None:
    """Give processes that the project's code forks (``multiprocessing``) the default signal handlers, once for this process.

    Otherwise they inherit ours with the file descriptor that wakes our event loop: a pool that ends its processes by SIGTERM would
    stop this one.
    """
    os.register_at_fork(before=_hold_signals, after_in_parent=_take_signals, after_in_child=_restore_signals)


def _hold_signals() -> None:
    _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, OWN_SIGNALS)


def _take_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)


def _restore_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in OWN_SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    _take_signals()


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Context of the main thread in which the process's signals wait for the end of it: a loop that runs in it, and code that listens
    for signals itself, would take them for their own. The limit of a stop counts from the signal."""
    before = {number: signal.getsignal(number) for number in OWN_SIGNALS if _listening}
    ours = {number: handler for number, handler in before.items() if callable(handler)}
    held: list[int] = []

    def hold(number: int, _: object) -> None:
        held.append(number)
        if number != signal.SIGUSR1:
            for ending in _listening:
                ending.begin()

    for number in ours:
        signal.signal(number, hold)
        signal.siginterrupt(number, False)  # noqa: FBT003 - takes no keywords
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
            signal.siginterrupt(number, False)  # noqa: FBT003 - takes no keywords
        for one in held:
            signal.raise_signal(one)


class Ending:
    """The end of one process. ``limit_s``: seconds from the first signal to the end at the latest. ``force`` ends the process,
    and is given why; None: nothing is forced, for a loop that shares its process with others."""

    def __init__(self, limit_s: float, force: Callable[[str], object] | None = None) -> None:
        self._limit_s = limit_s
        self._force = force
        self._until: float | None = None
        self.requested = asyncio.Event()
        """Set by the first signal."""
        self.hurried = asyncio.Event()
        """Set by the second signal."""

    def listen(self) -> None:
        """Handle SIGINT and SIGTERM of this process here. Call it on the process's event loop."""
        _spare_forked_children()
        _listening[:] = [self]
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
        """Start the limit now, unless it has started."""
        if self._until is None:
            self._until = monotonic() + self._limit_s
            self._force_after(
                self._limit_s,
                f"ended by force {self._limit_s:g} s after the stop signal (LANGLOG_STOP_SECS): a server that it "
                "depends on did not answer, or a run did not stop",
            )

    def drain_left_s(self) -> float:
        """Return the seconds that are left for draining."""
        return self._left(LET_GO_S)

    def left_s(self) -> float:
        """Return the seconds until all must have been released, some time before the end is forced."""
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
