"""The live events of one thread, for all of this gateway's subscribers of the streaming protocol (wire contract §9).

One `Feed` per thread that is followed, with one task: it receives frames and lifecycle updates from a `Watch`, puts them in order, makes
each event once and delivers it to every subscriber. Events about the end of a run are delivered once the read model holds the end:
clients query the state, or respond, right after. A feed keeps the number of the last event delivered, so it delivers none twice; numbers
are the workers', so another gateway delivers the same. When the process dies subscribers continue elsewhere, from their last number.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from datetime import datetime
from typing import NamedTuple, Protocol

import structlog
from langlog_schemas import events as ev
from langlog_schemas.frames import Frame
from langlog_schemas.runs.ends import end_of

from ..http.errors import ApiError
from ..streams.backlog import Backlog
from ..streams.sequencer import FrameSequencer, FrameSlice
from ..streams.sse import Batch
from ..streams.watch import FrameFollower, ThreadUpdate, Watch, Watches
from .events import Ending, Event, Name, derived, event_of
from .history import History, Standing, answered_in, ending_of

logger = structlog.get_logger(__name__)

KEPT_EVENTS = 64
KEPT_BYTES = 64_000
"""Bytes of the newest events of a thread that are kept for subscribers that join a little late."""
NO_EVENTS: deque[Event] = deque(maxlen=0)
"""The queue of all threads without an event yet: one of its own would cost each of them half a kilobyte."""
AGAIN_S = 1.0
"""Seconds between two attempts while Postgres or Redis is unavailable."""
FAR_S = 3600.0


class Listener(Protocol):
    """A feed subscriber. Methods must not block or raise."""

    def deliver(self, event: Event) -> None: ...

    def gone(self) -> None:
        """The thread was deleted: later events may be those of another one with the same id."""
        ...

    def end(self) -> None:
        """The server stops."""
        ...


class _Active(NamedTuple):
    """The run whose frames are being delivered."""

    run_id: str
    floor: int
    """Number of the last event before the run."""
    frames: FrameSequencer
    held: list[Event]
    """Events about the run's end that are not delivered yet."""
    attempt: list[int]
    """The newest attempt seen."""


class Feed(FrameFollower):
    """The feed of one thread. `Feeds` opens and closes it."""

    __slots__ = (
        "_active",
        "_backlog",
        "_coming",
        "_exists",
        "_history",
        "_kept",
        "_kept_after",
        "_kept_bytes",
        "_listeners",
        "_next",
        "_past",
        "_task",
        "head",
    )

    def __init__(self, watch: Watch, history: History, backlog: Backlog) -> None:
        super().__init__(watch)
        self._past = history
        """For subscribers, who are refused while Postgres is unavailable."""
        self._history = history.outlasting(self._outlast)
        self._backlog = backlog.outlasting(self._outlast)
        self._listeners: dict[Listener, None] = {}
        self._active: _Active | None = None
        self._next: list[Batch] = []
        """Batches of runs that began before the end of the run before has arrived."""
        self._kept = NO_EVENTS
        self._kept_bytes = 0
        self._kept_after = 0
        self._task: asyncio.Task[None] | None = None
        self.head = 0
        """Number of the last event delivered."""
        self._exists = False
        """Whether the read model holds the thread."""
        self._coming: asyncio.Future[None] | None = None
        """Futures of subscribers that wait for that."""

    @property
    def thread_id(self) -> str:
        return self._watch.thread_id

    async def start(self) -> None:
        """Query the thread's position. Raises ApiError 503."""
        await self._catch_up()
        self._kept_after = self.head
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def listen(self, listener: Listener) -> int:
        """Deliver every event from now on to ``listener``. Returns the number of the last one before."""
        self._listeners[listener] = None
        if self._watch.closing:
            listener.end()
        return self.head

    def leave(self, listener: Listener) -> None:
        self._listeners.pop(listener, None)

    async def exists(self) -> None:
        """Wait until the read model holds the thread."""
        while not self._exists:
            if self._coming is None:
                self._coming = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._coming)

    def _made(self) -> None:
        self._exists = True
        if self._coming is not None:
            self._coming.set_result(None)
            self._coming = None

    async def past(self, after: int, upto: int) -> AsyncIterator[list[Event]]:
        """Yield events that were delivered already: ``after < seq <= upto``. Raises ApiError 503."""
        if after >= self._kept_after:
            yield [event for event in tuple(self._kept) if after < event.seq <= upto]
            return
        async for events in self._past.events(self.thread_id, after, upto):
            yield events

    # following

    async def _run(self) -> None:
        while True:
            try:
                await self._follow()
                return
            except ApiError as error:
                logger.warning("protocol.feed_waits", thread_id=self.thread_id, error=error.detail)
            except Exception:  # the trouble of one thread: its subscribers get what can be delivered
                logger.exception("protocol.feed_failed", thread_id=self.thread_id)
            self._watch.missed = True
            await asyncio.sleep(AGAIN_S)

    async def _outlast(self) -> bool:
        """Wait before a read is repeated that Postgres was unavailable for: frames that were taken from the watch would be lost. Return
        False at the start, and if the feed has to do something else first."""
        if self._task is None or self._watch.closing or self._watch.overrun:
            return False
        await asyncio.sleep(AGAIN_S)  # nothing signals that Postgres is back
        return not (self._watch.closing or self._watch.overrun)

    async def _catch_up(self) -> None:
        """Deliver stored events: at the start, and when some may have been missed."""
        if self._task is None:
            standing = await self._history.position(self.thread_id)
            self.head = 0 if standing is None else standing.seq
        else:
            standing = await self._finish_ended()
        if standing is None:
            return
        self._made()
        if standing.run_id is not None and standing.seq <= self.head:
            active = self._enter(standing.run_id, standing.seq, recorded=standing.resumable)
            async for portion in active.frames.pages():
                self._deliver(active, portion)

    async def _take(self, batches: list[Batch]) -> None:
        for batch in batches:
            await self._take_batch(batch)

    async def _overrun(self) -> bool:
        self._watch.overrun = False
        await self._catch_up()
        return False

    def _shut_down(self) -> None:
        for listener in tuple(self._listeners):
            listener.end()

    async def _settled(self) -> bool:
        return False

    async def _wait(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._next:
            await self._watch.wait(now + AGAIN_S)
            await self._wait_over()
        else:
            await self._watch.wait(now + FAR_S)

    async def _finish_ended(self) -> Standing | None:
        """Deliver the ends of all ended runs. Returns the thread's position then."""
        standing = await self._history.standing(self.thread_id, self.head)
        if standing is None:
            return None
        for row in standing.ended:
            await self._finish(
                row["run_id"], ending_of(row), row["attempt"], row["frame_count"], recorded=row["resumable"]
            )
        active = self._active
        if active is not None and active.run_id != standing.run_id and standing.seq > active.floor:
            self._active = None  # it was deleted: a run that is not known yet comes after the known ones
        return standing

    async def _take_batch(self, batch: Batch) -> None:
        """A thread executes one run after the other: the frames of the next one wait for the end of the one before."""
        if not self._is_active(batch.run_id):
            if batch.floor < self.head and self._active is None:
                return  # of a run that is over, from a worker that was taken for dead
            if batch.floor != self.head or self._active is not None:
                if not any(other.run_id == batch.run_id for other in self._next):
                    self._next.append(batch)
                    await self._wait_over()
                else:
                    self._next.append(batch)
                return
        active = self._enter(batch.run_id, batch.floor, recorded=batch.resumable)
        async for slices in active.frames.take([batch]):
            self._deliver(active, slices)

    async def _wait_over(self) -> None:
        """Query whether the run that the next one waits for has ended."""
        standing = await self._finish_ended()
        floor = self._next[0].floor if self._next else 0
        if self._active is None and self._next and standing is not None and self.head < floor <= standing.seq:
            self.head = floor  # the runs between were deleted
        if self._active is None:
            await self._go_on()

    async def _apply(self, update: ThreadUpdate) -> None:
        event = update.event
        self._made()
        match event:
            case ev.RunSucceeded() | ev.RunFailed() | ev.RunTimedOut() | ev.RunCancelled() | ev.RunRolledBack():
                if event.last_event_number > self.head:
                    ending, recorded = await self._ending(event, update.time)
                    await self._finish(event.run_id, ending, event.attempt, event.frame_count, recorded=recorded)
            case ev.RunDeleted():
                if event.last_event_number > self.head:
                    ending, _ = await self._ending(event, update.time)
                    if self._is_active(event.run_id):
                        self._active = None
                    self._release_all(derived(ending, self.head))
                    await self._go_on()
            case ev.ThreadDeleted():
                self._exists = False
                for listener in tuple(self._listeners):
                    listener.gone()
                self._active = None
                self._next.clear()
                self._kept = NO_EVENTS
                self._kept_bytes = self._kept_after = self.head = 0
            case _:
                pass

    async def _ending(self, event: ev.RunEnded | ev.RunDeleted, time: str) -> tuple[Ending, bool]:
        """Return a run's end as its event reports it, and whether its frames are recorded."""
        row = await self._history.run(self.thread_id, event.run_id)  # gone when it was removed
        graph_id, recorded = ("", False) if row is None else (row["graph_id"], bool(row["resumable"]))
        ms = int(datetime.fromisoformat(time).timestamp() * 1000) if time else 0
        if isinstance(event, ev.RunDeleted):
            last = event.last_event_number
            ending = Ending(
                run_id=event.run_id,
                graph_id=graph_id,
                status="interrupted",
                first_event_number=last,
                last_event_number=last,
                ended_ms=ms,
            )
            return ending, recorded
        ending = Ending(
            run_id=event.run_id,
            graph_id=graph_id,
            status=end_of(event).status,
            first_event_number=event.first_event_number,
            last_event_number=event.last_event_number,
            ended_ms=ms,
            error=None if event.error is None else event.error.message,
            values=bytes(event.output or event.values) or None,
            pending=event.status == "interrupted",
            refusal=None if event.error is None else event.error.refusal,
            answered=() if row is None else answered_in(row["resume"]),
        )
        return ending, recorded

    async def _finish(self, run_id: str, ending: Ending, attempt: int, frame_count: int, *, recorded: bool) -> None:
        """Deliver the remaining events of an ended run."""
        if self._active is not None and not self._is_active(run_id):
            self._active = None  # the active run has ended: runs of a thread come one after the other
        active = self._enter(run_id, ending.first_event_number - 1, recorded=recorded)
        if not active.frames.reached((attempt, frame_count)):
            async for portion in active.frames.pages((attempt, frame_count)):
                self._deliver(active, portion)
        self._active = None
        self._release_all(active.held)
        self._release_all(derived(ending, self.head))
        await self._go_on()

    async def _go_on(self) -> None:
        """Continue with the run that began meanwhile."""
        while self._next and self._active is None and self._next[0].floor <= self.head:
            waiting, self._next = self._next, []
            for batch in waiting:
                if self._is_active(batch.run_id) or (self._active is None and not self._next):
                    await self._take_batch(batch)
                else:
                    self._next.append(batch)

    def _enter(self, run_id: str, floor: int, *, recorded: bool) -> _Active:
        if self._active is None or self._active.run_id != run_id:
            frames = FrameSequencer(self._backlog, self.thread_id, run_id, recorded=recorded)
            self._active = _Active(run_id, floor, frames, [], [0])
        return self._active

    def _is_active(self, run_id: str) -> bool:
        return self._active is not None and self._active.run_id == run_id

    # delivering

    def _deliver(self, active: _Active, slices: list[FrameSlice]) -> None:
        for new in slices:
            if new.batch.attempt > active.attempt[0]:
                active.attempt[0] = new.batch.attempt
                active.held.clear()  # an attempt that was lost is not over
            for frame in new.batch.frames:
                if frame.sequence > new.after and frame.seq > self.head:
                    self._deliver_frame(active, frame)

    def _deliver_frame(self, active: _Active, frame: Frame) -> None:
        event = event_of(active.run_id, frame)
        if event is None:
            return
        if active.held or Name(frame.event).closing:
            active.held.append(event)
        else:
            self._release(event)

    def _release_all(self, events: list[Event]) -> None:
        for event in events:
            self._release(event)

    def _release(self, event: Event) -> None:
        if event.seq <= self.head:
            return
        self.head = event.seq
        self._keep(event)
        for listener in tuple(self._listeners):
            listener.deliver(event)

    def _keep(self, event: Event) -> None:
        if self._kept is NO_EVENTS:
            self._kept = deque()
        self._kept.append(event)
        self._kept_bytes += len(event.text)
        while len(self._kept) > KEPT_EVENTS or self._kept_bytes > KEPT_BYTES:
            gone = self._kept.popleft()
            self._kept_bytes -= len(gone.text)
            self._kept_after = gone.seq


class Feeds:
    """The feeds of a gateway, each as long as its thread has subscribers."""

    def __init__(self, watches: Watches, history: History, backlog: Backlog) -> None:
        self._watches = watches
        self._history = history
        self._backlog = backlog
        self._open: dict[str, tuple[Feed, Watch, asyncio.Future[None]]] = {}
        self._users: dict[str, int] = {}
        self._stopping: set[asyncio.Task[None]] = set()

    async def open(self, thread_id: str) -> Feed:
        """Return the thread's feed; call `close` afterwards. Raises ApiError 503 when Redis or Postgres stays unavailable."""
        self._users[thread_id] = self._users.get(thread_id, 0) + 1
        opened = self._open.get(thread_id)
        if opened is None:
            watch = self._watches.enter(thread_id, frames=True)
            feed = Feed(watch, self._history, self._backlog)
            opened = self._open[thread_id] = (feed, watch, asyncio.ensure_future(self._start(feed, watch)))
        feed, _, started = opened
        try:
            await asyncio.shield(started)
        except BaseException:
            self.close(feed)
            raise
        return feed

    async def _start(self, feed: Feed, watch: Watch) -> None:
        await self._watches.ready(watch)
        await feed.start()

    def close(self, feed: Feed) -> None:
        """Remove one subscriber. Does not wait."""
        thread_id = feed.thread_id
        if self._users.get(thread_id, 0) > 1:
            self._users[thread_id] -= 1
            return
        self._users.pop(thread_id, None)
        opened = self._open.pop(thread_id, None)
        if opened is None:
            return
        feed, watch, started = opened
        started.cancel()
        self._watches.close(watch)
        task = asyncio.ensure_future(feed.stop())
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    async def stop(self) -> None:
        await asyncio.gather(*self._stopping, return_exceptions=True)
