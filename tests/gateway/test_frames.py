"""Frames of one reader: their order by the sequencer, over attempts and gaps, and what is sent of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from langlog_gateway.http.errors import ApiError
from langlog_gateway.streams import sequencer as sequencer_module
from langlog_gateway.streams import sse
from langlog_gateway.streams.backlog import Portion, is_complete, later_starts
from langlog_gateway.streams.sequencer import START, FrameSequencer, FrameSlice
from langlog_gateway.streams.sse import Batch
from langlog_schemas.frames import ATTEMPT_SPAN, Frame, FrameBatch


def batch(
    first: int, last: int, *, attempt: int = 1, event: str = "values", resumable: bool = False, ms: int = 1000
) -> Batch:
    frames = [Frame(n, ms + n, n, event, b"%d" % n) for n in range(first, last + 1)]
    return Batch(FrameBatch("r", attempt, frames, resumable))


def of_second(first: int, last: int) -> Batch:
    """Return frames of a second attempt, from 2 s on."""
    frames = [Frame(n, 2000 + n, ATTEMPT_SPAN + n, "values", b"%d" % n) for n in range(first, last + 1)]
    return Batch(FrameBatch("r", 2, frames, resumable=True))


def sequencer(after: tuple[int, int] | None = START) -> FrameSequencer:
    """Return a sequencer whose backlog is not queried."""
    return FrameSequencer(cast(Any, None), "t", "r", recorded=False, after=after)


def test_backlog_and_live_frames_come_without_gap_or_duplicate() -> None:
    frames = sequencer()
    assert not frames.gap_before(batch(1, 2))
    assert frames.gap_before(batch(2, 3))
    new = frames.accept(batch(1, 3))
    assert new is not None and new.after == 0
    assert frames.accept(batch(2, 3)) is None
    new = frames.accept(batch(3, 5))
    assert new is not None and [frame.sequence for frame in new.frames] == [4, 5]
    assert frames.gap_before(batch(7, 7))
    assert frames.reached((1, 5)) and not frames.reached((1, 6))


class Stored:
    """A backlog whose batches are read at once."""

    async def pages_of_run(self, thread_id: str, run_id: str, **_: Any) -> AsyncIterator[Portion]:
        batches = await self.of_run(thread_id, run_id)
        yield Portion(batches, later_starts(batches), max((b.attempt for b in batches), default=0))

    async def of_run(self, thread_id: str, run_id: str, **_: Any) -> list[Batch]:
        raise NotImplementedError


async def past_of(frames: FrameSequencer) -> list[FrameSlice]:
    return [new async for slices in frames.pages() for new in slices]


async def taken(frames: FrameSequencer, *batches: Batch) -> list[FrameSlice]:
    return [new async for slices in frames.take(batches) for new in slices]


class Behind(Stored):
    """A backlog that Redis has lost a frame of, and whose recorded frames the read model holds once somebody waits for it."""

    def __init__(self) -> None:
        self.folded = False

    async def of_run(self, thread_id: str, run_id: str, **_: Any) -> list[Batch]:
        return [batch(1, 2), batch(3, 3), batch(4, 4)] if self.folded else [batch(1, 2), batch(4, 4)]

    async def caught_up(self, thread_id: str) -> None:
        self.folded = True


async def test_a_recorded_frame_is_waited_for_while_the_read_model_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequencer_module, "GAP_PAUSES_S", (0.0,))
    frames = FrameSequencer(cast(Any, Behind()), "t", "r", recorded=True, after=START)
    frames.accept(batch(1, 2))
    slices = await taken(frames, batch(4, 4))
    assert [(new.batch.first, new.missing) for new in slices] == [(3, 0), (4, 0)]


class Failing(Stored):
    """A backlog that becomes unavailable once, after its first frames were read."""

    def __init__(self) -> None:
        self.reads = 0

    async def of_run(self, thread_id: str, run_id: str, **_: Any) -> list[Batch]:
        self.reads += 1
        if self.reads == 2:
            raise ApiError(503, "Postgres is unavailable")
        return [batch(1, 2)] if self.reads == 1 else [batch(1, 2), batch(3, 3)]


async def test_frames_that_were_found_before_a_read_failed_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequencer_module, "GAP_PAUSES_S", (0.0, 0.0))
    frames = FrameSequencer(cast(Any, Failing()), "t", "r", recorded=True, after=START)
    slices: list[FrameSlice] = []
    with pytest.raises(ApiError):
        async for new in frames.take([batch(4, 4)]):
            slices += new
    assert frames.reached((1, 2)) and not frames.reached((1, 3))
    slices += await taken(frames, batch(4, 4))
    assert [(new.batch.first, new.missing) for new in slices] == [(1, 0), (3, 0), (4, 0)]
    assert frames.reached((1, 4))


def test_frames_of_an_older_attempt_are_dropped() -> None:
    frames = sequencer()
    frames.accept(batch(1, 5))
    assert not frames.gap_before(batch(1, 1, attempt=2))
    assert frames.accept(batch(1, 1, attempt=2)) is not None
    assert frames.accept(batch(6, 6)) is None
    assert (frames.attempt, frames.sequence) == (2, 1)
    assert frames.reached((1, 9))


class Kept(Stored):
    """A backlog of a lost attempt whose worker went on for a while after the next one had begun, and of that one."""

    BATCHES = (batch(1, 3), batch(4, 5, ms=9000), batch(1, 4, attempt=2, ms=2000))

    async def of_run(self, thread_id: str, run_id: str, **_: Any) -> list[Batch]:
        return list(self.BATCHES)


@pytest.mark.parametrize(
    ("known", "shown"),
    [
        ((-1, 0), [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (2, 4)]),
        ((1002, 2), [(1, 3), (2, 1), (2, 2), (2, 3), (2, 4)]),
        ((2002, 2), [(2, 3), (2, 4)]),
        ((9004, 4), [(2, 1), (2, 2), (2, 3), (2, 4)]),  # it was live when nobody knew better
        ((1500, 0), [(2, 1), (2, 2), (2, 3), (2, 4)]),  # of another stream
    ],
)
async def test_a_stream_goes_on_from_its_frame_although_a_lost_worker_published_later_ones(
    known: tuple[int, int], shown: list[tuple[int, int]]
) -> None:
    frames = FrameSequencer(cast(Any, Kept()), "t", "r", recorded=True, known=known)
    slices = await past_of(frames)
    assert [(new.batch.attempt, frame.sequence) for new in slices for frame in new.frames] == shown


class Forgotten(Stored):
    """A backlog without the last frames of a lost attempt: the log does not count them, and Redis was wiped."""

    BATCHES = (batch(1, 3), of_second(1, 4))

    async def of_run(self, thread_id: str, run_id: str, **_: Any) -> list[Batch]:
        return list(self.BATCHES)


@pytest.mark.parametrize(
    ("known", "attempts", "shown"),
    [
        ((9004, 4), 2, [(2, 1), (2, 2), (2, 3), (2, 4)]),  # a later one of the lost attempt
        ((2000, ATTEMPT_SPAN + 2), 2, [(2, 1), (2, 2), (2, 3), (2, 4)]),
        ((2002, ATTEMPT_SPAN + 7), 2, [(2, 3), (2, 4)]),
        ((9004, 4), 0, []),  # of whichever run of the thread
    ],
)
async def test_a_stream_goes_on_with_the_attempt_of_a_frame_that_nobody_has_any_more(
    known: tuple[int, int], attempts: int, shown: list[tuple[int, int]]
) -> None:
    frames = FrameSequencer(cast(Any, Forgotten()), "t", "r", recorded=True, known=known, attempts=attempts)
    slices = await past_of(frames)
    assert [(new.batch.attempt, frame.sequence) for new in slices for frame in new.frames] == shown


async def test_an_id_of_another_run_with_more_attempts_does_not_hide_a_run() -> None:
    """The stream of a thread has the same ids, of all its runs."""

    class First(Forgotten):
        BATCHES = (batch(1, 3),)

    earlier = (1000, ATTEMPT_SPAN + 4)
    frames = FrameSequencer(cast(Any, First()), "t", "r", recorded=True, known=earlier, attempts=1)
    assert [frame.sequence for new in await past_of(frames) for frame in new.frames] == [1, 2, 3]


def test_a_sequencer_without_a_position_begins_with_any_frame() -> None:
    frames = sequencer(None)
    assert not frames.gap_before(batch(7, 8))
    assert frames.accept(batch(7, 8)) is not None
    assert frames.gap_before(batch(10, 10))


def test_a_backlog_with_a_hole_is_not_complete() -> None:
    assert is_complete([batch(1, 2), batch(2, 5), batch(1, 3, attempt=2)])
    assert not is_complete([])
    assert not is_complete([batch(2, 5)])
    assert not is_complete([batch(1, 2), batch(4, 5)])
    assert not is_complete([batch(1, 3, attempt=2)]), "the frames of the first attempt are missing"
    assert is_complete([batch(1, 2)], (1, 2)) and not is_complete([batch(1, 2)], (1, 3))


def test_frames_are_encoded_as_the_contract_has_them() -> None:
    assert batch(1, 2).encoded() == b"event: values\ndata: 1\n\nevent: values\ndata: 2\n\n"
    assert batch(1, 2, resumable=True).encoded(1) == b"event: values\ndata: 2\nid: 1002-2\n\n"
    one = batch(1, 3)
    assert one.encoded() is one.encoded(0)


def test_modes_filter_by_the_name_before_the_namespace() -> None:
    modes = sse.modes_of(["messages-tuple,updates", ""])
    assert modes == {"messages", "updates"}
    assert sse.modes_of([""]) is None
    shown = [n for n in ("messages", "messages/partial", "updates|a:1", "values", "error") if sse.matches(n, modes)]
    assert shown == ["messages", "messages/partial", "updates|a:1", "error"]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_a_name_with_line_breaks_stays_one_line(end: str) -> None:
    """Nodes may be called anything; readers take CR, LF and CR LF for the end of a field (HTML, server-sent events)."""
    frames = batch(1, 1, event=f"updates|a{end}data: 2{end}{end}b:1")
    spaces = " " * len(end)
    expected = f"event: updates|a{spaces}data: 2{spaces}{spaces}b:1\ndata: 1\n\n"
    assert frames.encoded() == expected.encode()
