"""The frames that one reader of a run has not received yet: live frames in their order, with gaps filled from the backlog.

Frames of a resumable run that Redis has lost come from the log by way of Postgres, up to a second after they were sent: a
reader that meets such a gap waits for them. Whatever else is lost is passed over, and the stream says so by a comment. One task per reader, no locks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from langlog_schemas.frames import Frame

from .backlog import Backlog
from .merge import FrameId, Merge, Piece
from .sse import UNKNOWN, Batch, missing

GAP_PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Between looks for recorded frames that have to come; in all, what recording and folding take on a busy machine."""


class Since(NamedTuple):
    """A checkpoint of the run that the client shows already, and the attempt that wrote it."""

    checkpoint_id: str
    attempt: int

    def passed_by(self, frame: Frame) -> bool:
        """Whether the frame is the first one after the checkpoint."""
        return self.checkpoint_id in frame.past.split(" ")


class FrameOrder:
    def __init__(
        self,
        backlog: Backlog,
        thread_id: str,
        run_id: str,
        *,
        recorded: bool,
        merge: Merge | None = None,
        known: FrameId | None = None,
        since: Since | None = None,
    ) -> None:
        """``recorded``: the run is resumable. ``known``: the last frame that the client has from elsewhere. ``since``: earlier
        frames
        are left out."""
        self._backlog = backlog
        self._thread_id = thread_id
        self._run_id = run_id
        self._recorded = recorded
        self._merge = merge or Merge()
        self._known = known
        self._since = since
        self.last: FrameId | None = None
        """The last frame that was taken."""

    async def take(self, batches: Iterable[Batch]) -> list[Piece]:
        """What is new of the batches, and what was missing before them."""
        pieces: list[Piece] = []
        for batch in batches:
            if self._gap(batch):
                pieces += await self._bridge(batch)
            pieces += self._taken(batch)
        return pieces

    async def fill(self, upto: tuple[int, int] | None = None) -> list[Piece]:
        """What the backlog has beyond what was taken. ``upto``: (attempt, sequence) of the run's last frame, when it is over."""
        return await self.take(await self._look(upto))

    def reached(self, attempt: int, sequence: int) -> bool:
        return self._merge.reached(attempt, sequence)

    def missing_until(self, attempt: int, sequence: int) -> bytes:
        """What a stream says when it ends without the run's last frames; nothing when it has them."""
        events = self._merge.missing_until(attempt, sequence)
        if not events:
            return b""
        self._backlog.count_missing(self._run_id, events)
        return missing(events)

    def _gap(self, batch: Batch) -> bool:
        """Whether the client misses frames before this batch."""
        if not batch.frames or not self._merge.gap_before(batch):
            return False
        first = batch.frames[0]
        return self._known is None or (first.ms, first.n) > self._known

    async def _bridge(self, batch: Batch) -> list[Piece]:
        """What was missing before the batch, as far as it is to be had."""
        pieces: list[Piece] = []
        for pause in GAP_PAUSES_S:
            known = await self._look()
            for found in known:
                if self._gap(found):
                    break
                pieces += self._taken(found)
            if not self._gap(batch):
                return pieces
            if not self._recorded:
                break
            await asyncio.sleep(pause)
        for found in await self._look():
            if (found.attempt, found.first) < (batch.attempt, batch.first):
                pieces += self._taken(found)
        return pieces

    async def _look(self, upto: tuple[int, int] | None = None) -> list[Batch]:
        return await self._backlog.of_run(self._thread_id, self._run_id, recorded=self._recorded, upto=upto)

    def _taken(self, batch: Batch) -> list[Piece]:
        lost = self._lost_before(batch)
        piece = self._merge.take(batch)
        if piece is None:
            return []
        if lost:
            self._backlog.count_missing(self._run_id, max(lost, 1))
        newest = batch.frames[-1]
        self.last = (newest.ms, newest.n)
        after = piece.after
        if self._known is not None:
            for frame in batch.frames:  # ids grow: the first ones may be known to the client
                if (frame.ms, frame.n) > self._known:
                    break
                after = max(after, frame.sequence)
        if self._since is not None:
            after = max(after, self._before(self._since, batch))
        return [Piece(batch, after, lost)] if after < batch.last else []

    def _before(self, since: Since, batch: Batch) -> int:
        """The last frame of the batch that comes before the checkpoint. A later attempt goes on from it, or from one after it."""
        if batch.attempt < since.attempt:
            return batch.last
        passed = [frame.sequence for frame in batch.frames if since.passed_by(frame)]
        if batch.attempt == since.attempt and not passed:
            return batch.last
        self._since = None
        return passed[0] - 1 if passed else 0

    def _lost_before(self, batch: Batch) -> int:
        """How many frames before the batch are passed over."""
        if not self._gap(batch):
            return 0
        # where the client's last frame is in the numbers is not known
        unknown = self._known is not None and self._merge.attempt == 0
        return UNKNOWN if unknown else self._merge.missing_before(batch)
