"""Progress of long work: a bar on a terminal's stderr with rate and time left; nothing in pipes, and nothing for short work."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import click
from langlog_backbone.time.sources import monotonic

QUIET_S = 1.0
"""Seconds below which work shows no bar."""

Progress = Callable[[int, int], None]
"""``(done, total)``: records so far, and records in all, which may grow."""


@contextlib.contextmanager
def shown_progress(label: str) -> Iterator[Progress]:
    """Yield a function that draws the given progress; call it on the event loop. It draws at most ten times a second."""
    if not sys.stderr.isatty():
        yield _nothing
        return
    began = monotonic()
    with contextlib.ExitStack() as stack:
        bar: Any = None

        def draw(done: int, total: int) -> None:
            nonlocal bar
            passed = monotonic() - began
            if bar is None:
                if passed < QUIET_S:
                    return
                made = click.progressbar(
                    length=max(total, 1), label=label, file=sys.stderr, show_pos=True, item_show_func=lambda rate: rate
                )
                bar = stack.enter_context(made)
            bar.length = max(total, 1)
            bar.update(done - bar.pos, f"{done / max(passed, 1e-9):,.0f}/s")

        yield draw


class Phases:
    """Work of several steps, a bar each; a context manager. Call `show` with the step's name and how far it is."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._label = ""
        self._draw: Progress = _nothing

    def __enter__(self) -> Phases:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def show(self, label: str, done: int, total: int) -> None:
        """Show ``done`` of ``total`` records of this step."""
        if label != self._label:
            self._stack.close()
            self._label, self._draw = label, self._stack.enter_context(shown_progress(label))
        self._draw(done, total)


def _nothing(_: int, __: int) -> None:
    """Do nothing, in a pipe."""
