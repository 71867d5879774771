"""How far long work is, on stderr: a bar on a terminal, a line every few seconds elsewhere. Nothing when it is over at once."""

from __future__ import annotations

import sys
import time
from types import TracebackType

import click

QUIET_S = 1.0
"""Work that is over by then says nothing."""
LINE_INTERVAL_S = 5.0
BAR_INTERVAL_S = 0.2


class Meter:
    """``with Meter("reading", 1000) as meter: meter.add(10)``"""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._done = 0
        self._live = sys.stderr.isatty()
        self._began = time.monotonic()
        self._next = self._began + QUIET_S
        self._shown = False

    def __enter__(self) -> Meter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown and self._live:
            self._say(end=True)

    def add(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if now >= self._next:
            self._next = now + (BAR_INTERVAL_S if self._live else LINE_INTERVAL_S)
            self._say()

    def _say(self, *, end: bool = False) -> None:
        seconds = max(time.monotonic() - self._began, 1e-6)
        share = 100 * self._done // max(self._total, 1)
        line = f"{self._what}: {self._done:,} of {self._total:,} records ({share} %), {self._done / seconds:,.0f}/s"
        self._shown = True
        if self._live:
            click.echo(f"\r{line}\x1b[K", err=True, nl=end)
        else:
            click.echo(line, err=True)
