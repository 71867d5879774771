"""Counting that is put off: noted where something happens, done together with others before the metrics are read.

A metric takes half a microsecond in a loop, and ten after a wait, since by then its code and its data have left the processor's caches:
on a path that waits for a disk or a client at each step, one note costs a fraction of that. What many notes stand for is counted at once,
when there are `MOST` of them or a scrape reads the metrics (`families.counted`).

Concurrency: any thread may note and settle; a note is counted once. Death: as of the counters themselves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

MOST = 512
"""Number of notes from which they are counted."""

_notes: deque[tuple[Callable[[float], object], float]] = deque()


def later(count: Callable[[float], object], amount: float = 1) -> None:
    """Call ``count`` with the amount before the metrics are read: ``inc`` of a counter, ``observe`` of a histogram."""
    _notes.append((count, amount))
    if len(_notes) >= MOST:
        settle()


def settle() -> None:
    """Count what was noted."""
    while True:
        try:
            count, amount = _notes.popleft()
        except IndexError:
            return
        count(amount)
