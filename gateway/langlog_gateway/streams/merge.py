"""Where a reader stands in a run's frames: backlog and live in one order, no gap, no duplicate. Pure.

Frames are numbered from 1 within an attempt. What comes of an older attempt than the newest seen is dropped; a new attempt
begins at 1 again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .sse import Batch, Modes, Namespaces, missing

FrameId = tuple[int, int]
"""(milliseconds, n) of a frame's public id."""


class Piece(NamedTuple):
    """The part of a batch that is new to the reader: the frames with a sequence number over ``after``.

    ``missing``: events before them that were passed over, or `sse.UNKNOWN`.
    """

    batch: Batch
    after: int
    missing: int = 0

    def encoded(
        self, modes: Modes | None = None, namespaces: Namespaces | None = None, *, ids: bool | None = None
    ) -> bytes:
        found = self.batch.encoded(self.after, modes, namespaces, ids=ids)
        return missing(self.missing) + found if self.missing else found


class Merge:
    """``attempt``, ``sequence``: the frame that was taken last; ``anchored`` False: any frame may be the first."""

    def __init__(self, attempt: int = 0, sequence: int = 0, *, anchored: bool = True) -> None:
        self.attempt = attempt
        self.sequence = sequence
        self.anchored = anchored

    def gap_before(self, batch: Batch) -> bool:
        """Whether frames are missing between what was taken and this batch."""
        if batch.attempt < self.attempt or not self.anchored:
            return False
        return batch.first > (self.sequence + 1 if batch.attempt == self.attempt else 1)

    def missing_before(self, batch: Batch) -> int:
        """How many frames are missing between what was taken and this batch."""
        if not self.gap_before(batch):
            return 0
        return batch.first - 1 - (self.sequence if batch.attempt == self.attempt else 0)

    def missing_until(self, attempt: int, sequence: int) -> int:
        """How many frames are missing between what was taken and that frame, the run's last."""
        if self.reached(attempt, sequence):
            return 0
        return sequence - (self.sequence if attempt == self.attempt else 0)

    def take(self, batch: Batch) -> Piece | None:
        """What is new of the batch; None when nothing is. A gap before it is passed over: see `missing_before`."""
        if not batch.frames or batch.attempt < self.attempt:
            return None
        self.anchored = True
        if batch.attempt > self.attempt:
            self.attempt, self.sequence = batch.attempt, 0
        if batch.last <= self.sequence:
            return None
        after, self.sequence = self.sequence, batch.last
        return Piece(batch, after)

    def reached(self, attempt: int, sequence: int) -> bool:
        """Whether everything up to that frame was taken."""
        return self.attempt > attempt or (self.attempt == attempt and self.sequence >= sequence) or sequence <= 0


def whole(batches: Iterable[Batch], upto: tuple[int, int] | None = None) -> bool:
    """Whether nothing is missing from the first frame of the run to the last one here; in order of (attempt, sequence).

    ``upto``: where the run is known to go, as far as it is known.
    """
    merge = Merge()
    for batch in batches:
        if merge.gap_before(batch) or (merge.attempt == 0 and batch.attempt > 1):
            return False
        merge.take(batch)
    return merge.attempt > 0 and (upto is None or merge.reached(*upto))
