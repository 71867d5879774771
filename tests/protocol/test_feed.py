"""The same events for everybody: live, from the backlog, from recordings, however deliveries are cut, lost or late."""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langlog_gateway.protocol.events import Event, event_of, running
from langlog_gateway.protocol.feed import Feed
from langlog_gateway.protocol.filter import Filter
from langlog_gateway.protocol.history import History, Standing
from langlog_gateway.protocol.http import catch_up
from langlog_gateway.protocol.subscriber import Subscriber
from langlog_gateway.streams import sequencer
from langlog_gateway.streams.backlog import Portion, later_starts
from langlog_gateway.streams.sse import Batch
from langlog_gateway.streams.stream_out import StreamOut
from langlog_gateway.streams.watch import Limits, ThreadUpdate, Watch
from langlog_schemas import events as ev
from langlog_schemas.frames import ATTEMPT_SPAN, Frame, FrameBatch, numbered

THREAD = "thread"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
MIDDLE = ("values", "@messages", "updates", "values|child:1", "@lifecycle|child:1", "@lifecycle/completed|child:1")
ENDS = {
    "completed": ["values", "@@lifecycle/completed"],
    "failed": ["@@lifecycle/failed"],
    "interrupted": ["@@input.requested/i", "@@lifecycle/interrupted", "values"],
}


class Run(NamedTuple):
    id: str
    batches: list[Batch]
    """Batches of all attempts, in the order of publication."""
    attempt: int
    frame_count: int
    first_event_number: int
    last_event_number: int
    status: str
    recorded: bool

    def events(self) -> list[Event]:
        """Return the events to send: all except a lost attempt's events about its end."""
        collected = []
        closed = 0
        for batch in self.batches:
            for frame in batch.frames:
                if frame.event.startswith("@@") and batch.attempt < self.attempt:
                    closed = batch.attempt
                event = event_of(self.id, frame)
                if event is not None and batch.attempt != closed:
                    collected.append(event)
        return collected


@st.composite
def runs(draw: st.DrawFn) -> list[Run]:
    """A few runs of a thread, one after the other, some of them on a second attempt."""
    collected = []
    floor = 0
    ms = 0
    for number in range(draw(st.integers(1, 3))):
        run_id = f"run{number}"
        recorded = draw(st.booleans())
        attempts = draw(st.sampled_from([1, 1, 2]))
        batches: list[Batch] = []
        sequence, first, seq, end = 0, 0, floor, "completed"
        for attempt in range(1, attempts + 1):
            sequence, seq = 0, floor + (attempt - 1) * ATTEMPT_SPAN
            first = seq + 1
            end = draw(st.sampled_from(sorted(ENDS)))
            middle = draw(st.lists(st.sampled_from(MIDDLE), max_size=6))
            names = ["metadata", "@lifecycle/running", *middle]
            if attempt == attempts or draw(st.booleans()):
                names += ENDS[end]
            frames = []
            for name in names:
                ms += 1
                sequence += 1
                seq += numbered(name)
                frames.append(Frame(sequence, ms, 0, name, b'{"n":%d}' % ms, seq if numbered(name) else 0))
            while frames:
                cut = draw(st.integers(1, len(frames)))
                batches.append(Batch(FrameBatch(run_id, attempt, frames[:cut], recorded, floor)))
                frames = frames[cut:]
        status = "error" if end == "failed" else "success"
        collected.append(Run(run_id, batches, attempts, sequence, first, seq, status, recorded))
        floor = seq
    return collected


class Stored(History):
    """State of the thread in Redis and Postgres at a moment. ``wiped``: Redis has lost its content."""

    def __init__(self) -> None:
        self._backlog: Any = self
        self.published: list[Batch] = []
        self.wiped: set[int] = set()
        self.over: list[Run] = []
        self.active: Run | None = None
        self.missing_events = 0

    def _redis(self) -> list[Batch]:
        return [batch for n, batch in enumerate(self.published) if n not in self.wiped]

    async def since(self, thread_id: str, seq: int) -> list[Batch]:
        return self._redis()

    async def recorded(self, run_id: str) -> list[Batch]:
        return [batch for batch in self.published if batch.run_id == run_id and batch.resumable]

    def outlasting(self, pause: Any) -> Any:
        return self

    async def pages_of_run(
        self, thread_id: str, run_id: str, *, recorded: bool, end: Any = None, after: Any = None
    ) -> AsyncIterator[Portion]:
        recent = [batch for batch in self._redis() if batch.run_id == run_id]
        async for portion in self.portions(run_id, recent, recorded=recorded):
            yield portion

    async def portions(self, run_id: str, recent: list[Batch], *, recorded: bool) -> AsyncIterator[Portion]:
        """Yield what there is batch by batch, as if each were a page."""
        batches = [*recent, *(await self.recorded(run_id) if recorded else ())]
        batches.sort(key=lambda batch: (batch.attempt, batch.first))
        later, newest = later_starts(batches), max((batch.attempt for batch in batches), default=0)
        for batch in batches:
            yield Portion([batch], later, newest)

    def count_missing(self, run_id: str, events: int) -> None:
        self.missing_events += events

    async def caught_up(self, thread_id: str) -> None:
        """Frames are in Postgres as soon as they are published."""

    async def position(self, thread_id: str) -> Standing | None:
        standing = await self.standing(thread_id, 0)
        return None if standing is None else standing._replace(ended=[])

    async def standing(self, thread_id: str, after: int) -> Standing | None:
        await asyncio.sleep(0)
        active = self.active
        seq = max((run.last_event_number for run in self.over), default=0)
        ended = [self._row(run) for run in self.over if run.last_event_number > after]
        result = (
            Standing(seq, None, 0, False, ended)
            if active is None
            else Standing(seq, active.id, 1, active.recorded, ended, running(active.id, "agent", seq + 1, 0))
        )
        await asyncio.sleep(0)
        return result

    async def run(self, thread_id: str, run_id: str) -> Any:
        known = [*self.over, *([self.active] if self.active else [])]
        return next((self._row(run) for run in known if run.id == run_id), None)

    def _row(self, run: Run) -> dict[str, Any]:
        return {
            "run_id": run.id,
            "graph_id": "agent",
            "status": run.status,
            "attempt": run.attempt,
            "frame_count": run.frame_count,
            "first_event_number": run.first_event_number,
            "last_event_number": run.last_event_number,
            "output": None,
            "error": None,
            "started_at": NOW,
            "ended_at": NOW,
            "resumable": run.recorded,
            "state_values": None,
            "pending": False,
            "refusal": None,
            "resume": None,
        }


class Follower:
    def __init__(self) -> None:
        self.delivered: list[Event] = []

    def deliver(self, event: Event) -> None:
        self.delivered.append(event)

    def gone(self) -> None:
        return None

    def end(self) -> None:
        return None


class Thread:
    """A thread whose history is played step by step, and a feed that follows it."""

    def __init__(self, stored: Stored) -> None:
        self.stored = stored
        self.watch = Watch(THREAD, None, Limits(10_000, 10_000_000), frames=True)
        self.feed = Feed(self.watch, stored, stored)  # type: ignore[arg-type]
        self.follower = Follower()
        self.past: list[Event] = []

    async def join(self) -> None:
        await self.feed.start()
        head = self.feed.listen(self.follower)
        self.past = [event async for events in self.feed.past(0, head) for event in events]

    async def settle(self) -> None:
        for _ in range(60):
            await asyncio.sleep(0)

    @property
    def events(self) -> list[tuple[int, bytes]]:
        return [(event.seq, event.text) for event in [*self.past, *self.follower.delivered]]


def ended(run: Run) -> ThreadUpdate:
    kind = ev.RunFailed if run.status == "error" else ev.RunSucceeded
    event = kind(
        thread_id=THREAD,
        run_id=run.id,
        attempt=run.attempt,
        status="idle",
        frame_count=run.frame_count,
        first_event_number=run.first_event_number,
        last_event_number=run.last_event_number,
    )
    return ThreadUpdate(event, NOW.isoformat())


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make recorded frames available at once."""
    monkeypatch.setattr(sequencer, "GAP_PAUSES_S", (0.0, 0.0))


SETTINGS = settings(max_examples=80, deadline=None, database=None)


@given(data=st.data(), script=runs())
@SETTINGS
def test_whoever_joins_whenever_and_whatever_is_lost_on_the_way_is_told_the_same_events(
    data: st.DataObject, script: list[Run]
) -> None:
    steps = sum(len(run.batches) + 1 for run in script)
    join_at = data.draw(st.integers(0, steps), "join")
    expected = [(event.seq, event.text) for run in script for event in run.events()]

    async def play() -> list[tuple[int, bytes]]:
        stored = Stored()
        thread = Thread(stored)
        step = 0
        lost = False
        joining: asyncio.Task[None] | None = None
        unfolded: deque[Callable[[], None]] = deque()
        late: deque[ThreadUpdate] = deque()

        async def moment() -> None:
            """The read model and what it announces are behind by anything, the follower anywhere between two queries."""
            nonlocal step, joining
            if step == join_at:
                joining = asyncio.create_task(thread.join())
            step += 1
            for _ in range(data.draw(st.integers(0, len(unfolded)), "folded")):
                unfolded.popleft()()
            for _ in range(data.draw(st.integers(0, len(late)), "announced")):
                thread.watch.add(late.popleft())
            for _ in range(data.draw(st.integers(0, 4), "turns")):
                await asyncio.sleep(0)

        def begins(run: Run) -> None:
            stored.active = run

        def ends(run: Run) -> None:
            stored.over.append(run)
            stored.active = None
            late.append(ended(run))

        for run in script:
            unfolded.append(partial(begins, run))
            for batch in run.batches:
                await moment()
                stored.published.append(batch)
                if data.draw(st.booleans(), "live"):
                    thread.watch.put(batch)
                else:
                    lost = True
                if data.draw(st.booleans(), "pause"):
                    await thread.settle()
                if lost and data.draw(st.booleans(), "reconnect"):
                    thread.watch.missed, lost = True, False
                    thread.watch.wake()
            await moment()
            unfolded.append(partial(ends, run))
        await moment()
        while unfolded:
            unfolded.popleft()()
        while late:
            thread.watch.add(late.popleft())
        await (joining or thread.join())
        await thread.settle()
        thread.watch.missed = True
        thread.watch.wake()
        await thread.settle()
        await thread.feed.stop()
        return thread.events

    delivered = asyncio.run(play())
    # of an attempt that was lost with its worker the newest frames may be lost as well: the next attempt says them again
    final = [(event.seq, event.text) for run in script for event in run.events() if event.seq >= run.first_event_number]
    assert [event for event in delivered if event in final] == final
    assert delivered == [event for event in expected if event in delivered]


@given(data=st.data(), script=runs(), after=st.integers(0, 30))
@SETTINGS
def test_what_is_told_later_has_the_same_numbers_with_or_without_redis(
    data: st.DataObject, script: list[Run], after: int
) -> None:
    truth = {event.seq: event.text for run in script for event in run.events()}

    async def play(wiped: set[int]) -> list[Event]:
        stored = Stored()
        stored.over = script
        stored.published = [batch for run in script for batch in run.batches]
        stored.wiped = wiped
        head = script[-1].last_event_number
        return [event async for events in stored.events(THREAD, after, head) for event in events]

    whole = asyncio.run(play(set()))
    assert {event.seq: event.text for event in whole} == {seq: text for seq, text in truth.items() if seq > after}
    assert [event.seq for event in whole] == sorted(event.seq for event in whole)

    count = sum(len(run.batches) for run in script)
    wiped = set(range(count)) if data.draw(st.booleans(), "all") else set(data.draw(st.lists(st.integers(0, count))))
    left = asyncio.run(play(wiped))
    assert [event.seq for event in left] == sorted({event.seq for event in left})
    recorded = {event.seq for run in script if run.recorded for event in run.events()}
    for event in left:
        if event.seq in recorded:
            assert event.text == truth[event.seq]
    assert recorded & {seq for seq in truth if seq > after} <= {event.seq for event in left}
    ends = {run.last_event_number for run in script if run.last_event_number > after}
    assert ends <= {event.seq for event in left}, "the end of a run is always told"


def test_a_run_that_lost_its_worker_for_good_is_told_to_have_failed() -> None:
    async def play() -> list[Any]:
        stored = Stored()
        thread = Thread(stored)
        await thread.join()
        frames = [Frame(1, 1, 0, "metadata", b"{}"), Frame(2, 2, 0, "@lifecycle/running", b"{}", 1)]
        batch = Batch(FrameBatch("run0", 1, frames))
        last = 3 * ATTEMPT_SPAN + 1
        stored.published.append(batch)
        thread.watch.put(batch)
        await thread.settle()
        stored.over.append(Run("run0", [batch], 3, 0, last, last, "error", False))
        thread.watch.add(ended(stored.over[0]))
        await thread.settle()
        await thread.feed.stop()
        return [json.loads(event.text) for event in thread.follower.delivered]

    first, second = asyncio.run(play())
    assert first["seq"] == 1
    assert second["params"]["data"]["event"] == "failed"
    assert second["seq"] == 3 * ATTEMPT_SPAN + 1


def test_who_reads_what_was_before_misses_nothing_of_what_happens_meanwhile_however_much() -> None:
    """Nothing waits for a follower that is behind: no limit is hit, and no memory taken."""
    frames = [Frame(n, n, 0, "@lifecycle/running" if n == 1 else "values", b'{"n":%d}' % n, n) for n in range(1, 101)]
    batches = [Batch(FrameBatch("run0", 1, frames[at : at + 10])) for at in range(0, 100, 10)]

    async def play() -> list[int]:
        stored = Stored()
        thread = Thread(stored)
        stored.active = Run("run0", batches, 1, 100, 1, 100, "success", False)
        stored.published = batches[:1]
        await thread.feed.start()
        wanted = Filter(frozenset({"values"}), since=3)
        subscriber = Subscriber(wanted, Limits(3, 1_000_000), permitted=True)
        thread.feed.listen(subscriber)
        coming = list(batches[1:-1])

        class Out:
            """Each time something is written, much more has happened."""

            def __init__(self) -> None:
                self.text = b""

            write_all = StreamOut.write_all

            async def write(self, data: bytes) -> None:
                self.text += data
                for _ in range(3):
                    if coming:
                        stored.published = [*stored.published, coming[0]]
                        thread.watch.put(coming.pop(0))
                await thread.settle()

        out = Out()
        await catch_up(out, thread.feed, subscriber, wanted, sdk=False)  # type: ignore[arg-type]
        assert not subscriber.overrun and not subscriber.take()
        last = Batch(FrameBatch("run0", 1, frames[90:93]))
        thread.watch.put(last)
        await thread.settle()
        live = b"".join([event.sse for event in subscriber.take()])
        await thread.feed.stop()
        return [int(number) for number in re.findall(rb"^id: (\d+)", out.text + live, re.MULTILINE)]

    assert asyncio.run(play()) == list(range(4, 94))


def test_who_comes_late_is_told_that_a_run_has_begun_also_when_redis_has_its_newest_frames_alone() -> None:
    names = ["@lifecycle/running", *["values"] * 4]
    frames = [Frame(n, n, 0, name, b'{"n":%d}' % n, n) for n, name in enumerate(names, 1)]
    batches = [Batch(FrameBatch("r", 1, [frame], False, 0)) for frame in frames]
    run = Run("r", batches, 1, len(frames), 1, len(frames), "success", False)

    async def play(wiped: set[int]) -> list[tuple[int, str]]:
        stored = Stored()
        stored.active, stored.published, stored.wiped = run, batches, wiped
        thread = Thread(stored)
        await thread.join()
        await thread.settle()
        await thread.feed.stop()
        assert stored.missing_events == len(wiped)
        return [(event.seq, event.method) for event in [*thread.past, *thread.follower.delivered]]

    values = [(n, "values") for n in range(2, 6)]
    assert asyncio.run(play(set())) == [(1, "lifecycle"), *values]
    assert asyncio.run(play({0, 1, 2})) == [(1, "lifecycle"), *values[2:]]
