"""The frames of one run in their order, for one reader: live ones, and older ones from the backlog, without gaps or duplicates.

Frames are numbered from 1 within an attempt. Frames of older attempts are dropped; a new attempt begins at 1 again. A reader that shows
an id goes on from the position of that frame, since the times of two attempts may overlap (`in_turn`). Where that frame is gone, its
id still says of which attempt it was.

Frames of a resumable run that Redis has lost arrive from the log through Postgres, up to a second after they were sent: a reader with
such a gap waits for them, and for a projector that is behind. Other lost frames are skipped, and a comment in the stream reports it.
One task per reader, no locks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import NamedTuple

from langlog_schemas.frames import Frame, attempt_in

from .backlog import Backlog
from .sse import UNKNOWN, Batch, FrameId, FramePosition, Modes, Namespaces, missing

GAP_PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds between queries for recorded frames that are still being folded; in all, the time of recording and folding on a
busy machine. By then they are in the log, if they ever will be."""
START: FramePosition = (0, 0)


class Since(NamedTuple):
    """A checkpoint of the run that the client has already, and the attempt that wrote it."""

    checkpoint_id: str
    attempt: int

    def passed_by(self, frame: Frame) -> bool:
        """Return whether the frame is the first one after the checkpoint."""
        return self.checkpoint_id in frame.past.split(" ")


class FrameSlice(NamedTuple):
    """The frames of a batch that are new to a reader: those with a sequence number over ``after``."""

    batch: Batch
    after: int
    missing: int = 0
    """Number of events before them that were skipped, or `UNKNOWN`"""

    @property
    def frames(self) -> list[Frame]:
        return [frame for frame in self.batch.frames if frame.sequence > self.after]

    def encoded(
        self, modes: Modes | None = None, namespaces: Namespaces | None = None, *, ids: bool | None = None
    ) -> bytes:
        data = self.batch.encoded(self.after, modes, namespaces, ids=ids)
        return missing(self.missing) + data if self.missing else data


class FrameSequencer:
    def __init__(
        self,
        backlog: Backlog,
        thread_id: str,
        run_id: str,
        *,
        recorded: bool,
        after: FramePosition | None = START,
        known: FrameId | None = None,
        attempts: int = 0,
        since: Since | None = None,
    ) -> None:
        """``recorded``: the run is resumable. ``after``: the frame before the first one to deliver; None: begin with whatever comes.
        ``known``: the last frame that the client has from another stream; see `begin`. ``attempts``: of the
        run so far; 0: the known frame may be of any run of the thread. ``since``: leave out the frames before it."""
        self._backlog = backlog
        self._thread_id = thread_id
        self._run_id = run_id
        self._recorded = recorded
        self.attempt, self.sequence = after or START
        """Position of the last delivered frame."""
        self._anchored = after is not None
        self._known = known
        self._attempt_counts = known is not None and attempt_in(known[1]) < attempts
        """Whether an id of another attempt is before or behind the known one as a whole. An id of an attempt that the run has not had is
        another run's."""
        self._since = since
        self.last: FrameId | None = None
        """Id of the last delivered frame."""

    async def take(self, batches: Iterable[Batch]) -> AsyncIterator[list[FrameSlice]]:
        """Yield the new frames of the batches, and those that were missing before them, portion by portion."""
        slices: list[FrameSlice] = []
        for batch in batches:
            if self.gap_before(batch):
                if slices:
                    yield slices
                    slices = []
                async for bridged in self._bridge(batch):
                    yield bridged
            self._accept(batch, slices)
        if slices:
            yield slices

    async def past(self, end: FramePosition | None = None) -> AsyncIterator[list[Batch]]:
        """Yield the batches of the backlog beyond the delivered frames, portion by portion; `take` each before the next one is read:
        of a long past, only one is in memory while a client does not read. ``end``: the run's last frame, when it is over."""
        after = (self.attempt, self.sequence)
        pages = self._backlog.pages_of_run(self._thread_id, self._run_id, recorded=self._recorded, end=end, after=after)
        async for portion in pages:
            self.begin(portion.batches)
            yield portion.in_turn()

    async def pages(self, end: FramePosition | None = None) -> AsyncIterator[list[FrameSlice]]:
        """Yield the frames of the backlog beyond the delivered ones, portion by portion."""
        async for batches in self.past(end):
            async for slices in self.take(batches):
                yield slices

    def begin(self, batches: Iterable[Batch]) -> None:
        """Go on after the frame that the client knows, if it is among these. Otherwise frames before it, by their ids, are left out."""
        if self._known is None:
            return
        at = [
            (batch.attempt, frame.sequence)
            for batch in batches
            if batch.first_id <= self._known <= batch.last_id
            for frame in batch.frames
            if (frame.ms, frame.n) == self._known
        ]
        if at and max(at) >= (self.attempt, self.sequence):
            self.attempt, self.sequence = max(at)
            self._known = None

    def gap_before(self, batch: Batch) -> bool:
        """Return whether the client misses frames before this batch."""
        if not self._anchored or not batch.frames or batch.attempt < self.attempt:
            return False
        if batch.first <= (self.sequence + 1 if batch.attempt == self.attempt else 1):
            return False
        return self._known is None or self._known_in(batch) < batch.first

    def accept(self, batch: Batch) -> FrameSlice | None:
        """Return the new frames of the batch; None if it has none. Frames that are missing before it are passed over."""
        if not batch.frames or batch.attempt < self.attempt:
            return None
        lost = self._lost_before(batch)
        self._anchored = True
        if batch.attempt > self.attempt:
            self.attempt, self.sequence = batch.attempt, 0
        if batch.last <= self.sequence:
            return None
        after, self.sequence = self.sequence, batch.last
        if lost:
            self._backlog.count_missing(self._run_id, max(lost, 1))
        self.last = batch.last_id
        if self._known is not None:
            after = max(after, self._known_in(batch))
        if self._since is not None:
            after = max(after, self._before(self._since, batch))
        return FrameSlice(batch, after, lost) if after < batch.last else None

    def reached(self, end: FramePosition) -> bool:
        """Return whether every frame up to that one was delivered."""
        attempt, sequence = end
        return self.attempt > attempt or (self.attempt == attempt and self.sequence >= sequence) or sequence <= 0

    def missing_until(self, end: FramePosition) -> bytes:
        """Return the comment of a stream that ends without the run's last frames; empty when it has them."""
        if self.reached(end):
            return b""
        attempt, sequence = end
        events = sequence - (self.sequence if attempt == self.attempt else 0)
        self._backlog.count_missing(self._run_id, events)
        return missing(events)

    async def _bridge(self, batch: Batch) -> AsyncIterator[list[FrameSlice]]:
        """Yield the frames that were missing before the batch, portion by portion, as far as they are available."""
        for pause in GAP_PAUSES_S:
            async for slices in self._connected(batch):
                yield slices
            if not self.gap_before(batch):
                return
            if not self._recorded:
                break
            await asyncio.sleep(pause)
        if self._recorded:
            await self._backlog.caught_up(self._thread_id)
        async for stored in self._stored():
            slices = []
            for older in stored:
                if (older.attempt, older.first) < (batch.attempt, batch.first):
                    self._accept(older, slices)
            yield slices
            if stored and (stored[-1].attempt, stored[-1].first) >= (batch.attempt, batch.first):
                return

    async def _connected(self, batch: Batch) -> AsyncIterator[list[FrameSlice]]:
        """Yield stored frames up to the first gap, or until none is missing before the batch any more."""
        async for stored in self._stored():
            slices: list[FrameSlice] = []
            gap = False
            for older in stored:
                if gap := self.gap_before(older):
                    break
                self._accept(older, slices)
            yield slices
            if gap or not self.gap_before(batch):
                return

    async def _stored(self) -> AsyncIterator[list[Batch]]:
        """Yield the batches of the backlog beyond the delivered frames, portion by portion."""
        after = (self.attempt, self.sequence)
        async for portion in self._backlog.pages_of_run(
            self._thread_id, self._run_id, recorded=self._recorded, after=after
        ):
            yield portion.in_turn()

    def _accept(self, batch: Batch, slices: list[FrameSlice]) -> None:
        accepted = self.accept(batch)
        if accepted is not None:
            slices.append(accepted)

    def _known_in(self, batch: Batch) -> int:
        """Return the last frame of the batch that the client knows, or one below its first.

        Ids grow along an attempt. A worker that was taken for lost may have published later than the attempt that follows has begun: so
        all of another attempt of the same run is before the known frame, or behind it.
        """
        assert self._known is not None
        attempts = attempt_in(batch.frames[0].n) - attempt_in(self._known[1])
        if self._attempt_counts and attempts:
            return batch.last if attempts < 0 else batch.first - 1
        return max((f.sequence for f in batch.frames if (f.ms, f.n) <= self._known), default=batch.first - 1)

    def _before(self, since: Since, batch: Batch) -> int:
        """Return the last frame of the batch before the checkpoint. A later attempt continues from the checkpoint, or a later one."""
        if batch.attempt < since.attempt:
            return batch.last
        passed = [frame.sequence for frame in batch.frames if since.passed_by(frame)]
        if batch.attempt == since.attempt and not passed:
            return batch.last
        self._since = None
        return passed[0] - 1 if passed else 0

    def _lost_before(self, batch: Batch) -> int:
        """Return the number of frames before the batch that are skipped."""
        if not self.gap_before(batch):
            return 0
        if self._known is not None and self.attempt == 0:  # the number of the client's last frame is not known
            return UNKNOWN
        return batch.first - 1 - (self.sequence if batch.attempt == self.attempt else 0)
