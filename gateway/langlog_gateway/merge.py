"""Where a reader stands in a run's frames: backlog and live in one order, no gap, no duplicate. Pure.

Frames are numbered from 1 within an attempt. What comes of an older attempt than the newest seen is dropped; a new attempt
begins at 1 again.
"""

from __future__ import annotations

from typing import NamedTuple

from .sse import Batch


class Piece(NamedTuple):
    """The part of a batch that is new to the reader."""

    batch: Batch
    after: int


class Merge:
    def __init__(self, attempt: int = 0, sequence: int = 0) -> None:
        self.attempt = attempt
        self.sequence = sequence

    def gap_before(self, batch: Batch) -> bool:
        """Whether frames are missing between what was taken and this batch."""
        if batch.attempt < self.attempt:
            return False
        return batch.first > (self.sequence + 1 if batch.attempt == self.attempt else 1)

    def take(self, batch: Batch) -> Piece | None:
        """What is new of the batch; None when nothing is. A gap before it is passed over."""
        if not batch.frames or batch.attempt < self.attempt:
            return None
        if batch.attempt > self.attempt:
            self.attempt, self.sequence = batch.attempt, 0
        if batch.last <= self.sequence:
            return None
        after, self.sequence = self.sequence, batch.last
        return Piece(batch, after)

    def reached(self, attempt: int, sequence: int) -> bool:
        """Whether everything up to that frame was taken."""
        return self.attempt > attempt or (self.attempt == attempt and self.sequence >= sequence) or sequence <= 0
