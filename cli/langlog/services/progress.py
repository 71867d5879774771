"""The steps of the start of ``langlog dev``, with their durations, on stderr.

A terminal shows the current steps in one changing line, and a line for each ended step. Elsewhere only the latter are printed, and one
every few seconds of a long step; with LOG_JSON each is an event (``start.step``).

Concurrency: steps begin and end on any thread. A separate thread draws, since imports block the event loop. Log lines that
arrive meanwhile replace the changing line; it is drawn again below them.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from types import TracebackType

import structlog
from langlog_backbone.process import logging
from langlog_backbone.time.sources import monotonic

DRAW_S = 0.1
LINE_S = 5.0
"""Seconds between two lines about the current steps, without a terminal."""
SPINNER = "|/-\\"

logger = structlog.get_logger(__name__)


class StartProgress:
    """``with StartProgress(json=False) as progress: with progress.step("starting Redis", "Redis started"): …``"""

    def __init__(self, *, json: bool) -> None:
        self._json = json
        self._live = sys.stderr.isatty() and not json
        self._began = monotonic()
        self._steps: dict[int, tuple[str, float]] = {}
        self._number = 0
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._drawn = False
        self.figures: Callable[[], str] = lambda: ""
        """Returns the progress of work outside of steps; empty: there is none. Called from the drawing thread."""

    def __enter__(self) -> StartProgress:
        logging.before_line = self._erase
        threading.Thread(target=self._draw_on, name="progress", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """End the display, after success or failure. May be called repeatedly."""
        self._ended.set()
        self._erase()
        logging.before_line = None

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return monotonic() - self._began

    @contextlib.contextmanager
    def step(self, doing: str, done: str) -> Iterator[None]:
        began = monotonic()
        with self._lock:
            self._number += 1
            number = self._number
            self._steps[number] = (doing, began)
        try:
            yield
        except BaseException:
            done = ""
            raise
        finally:
            with self._lock:
                del self._steps[number]
        if done:
            self.print_step(done, monotonic() - began)

    def print_step(self, done: str, seconds: float) -> None:
        """Print an ended step with its duration."""
        if self._json:
            logger.info("start.step", done=done, seconds=round(seconds, 2))
            return
        with self._lock:
            self._erase()
            _write(f"  {done:<50} {seconds:6.1f} s\n")

    def _draw_on(self) -> None:
        turn, pause = 0, DRAW_S if self._live else LINE_S
        while not self._ended.wait(pause):
            with self._lock:
                doing = self._under_way()
                if not doing or self._ended.is_set():
                    continue
                if self._live:
                    _write(f"\r{SPINNER[turn % len(SPINNER)]} {doing}\x1b[K\r")
                    self._drawn = True
                elif self._json:
                    logger.info("start.under_way", doing=doing)
                else:
                    _write(f"  {doing}\n")
            turn += 1

    def _under_way(self) -> str:
        now = monotonic()
        try:
            figures = self.figures()
        except RuntimeError:  # read beside the event loop, which changes what is counted
            figures = ""
        steps = [f"{doing} {now - began:.1f} s" for doing, began in self._steps.values()]
        return ", ".join([*steps, *([figures] if figures else [])])

    def _erase(self) -> None:
        with self._lock:
            if self._drawn:
                _write("\r\x1b[K")
                self._drawn = False


def _write(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # stderr is closed
        sys.stderr.write(text)
        sys.stderr.flush()
