"""Frames and lifecycle updates of watched threads: one subscription per thread and process, shared by all of its watches.

Lifecycle updates come from the projector, frames from workers. Each is decoded once and put into the queue of every watch, which a
`FrameFollower` empties; one that falls behind by too many frames is cut off without slowing the others. All on one event loop, no locks.
When Redis was unavailable messages may be missing: `Watch.missed` is set, and its owner queries Postgres.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, NamedTuple

import msgspec
from langlog_backbone.process.settings import Settings
from langlog_backbone.project.json_handlers import JsonHandlers
from langlog_backbone.redis import channels
from langlog_backbone.redis.client import Bus
from langlog_backbone.time.clock import now
from langlog_backbone.values.compression import restored
from langlog_schemas import events as ev
from langlog_schemas import frames, messages
from langlog_schemas.frames import FrameBatch

from ..http.errors import ApiError, unavailable
from .opening import Opening, opened_frames
from .sse import Batch
from .waker import Waker

LIFECYCLE, FRAMES = "lifecycle", "frames"
FIRST_FRAME_S = 1.0
"""Seconds after which a watch that was subscribed while its run was submitted, and has got no frame, queries those it may have missed."""
CATCH_UP_PAUSE_S = 0.5
"""Seconds before what was missed is queried again from a server that was unavailable."""


class Limits(NamedTuple):
    """Limits of the queue of one watch."""

    frames: int
    bytes: int


class ThreadUpdate:
    """A lifecycle event of a thread, decoded once for all of its watchers."""

    __slots__ = ("body", "event", "time")

    def __init__(self, event: ev.AnyEvent, time: str) -> None:
        self.event = event
        self.time = time


NO_UPDATES: deque[ThreadUpdate] = deque(maxlen=0)
"""The queue of all watches without an update yet: one of its own would cost each of them half a kilobyte."""


class Watch(Waker):
    """The queue of one watcher. ``run_id`` None: everything on the thread."""

    __slots__ = (
        "_limits",
        "_waiting_bytes",
        "_waiting_frames",
        "batches",
        "closing",
        "has_frames",
        "missed",
        "on_overrun",
        "opened_at",
        "overrun",
        "run_id",
        "seen",
        "sent",
        "thread_id",
        "unread",
        "updates",
        "wants_frames",
    )

    def __init__(self, thread_id: str, run_id: str | None, limits: Limits, *, frames: bool) -> None:
        super().__init__()
        self.thread_id = thread_id
        self.run_id = run_id
        self.wants_frames = frames
        self.updates = NO_UPDATES
        self.batches: list[Batch] = []
        self.missed = False
        """Messages may be missing: Redis was unavailable, or another projector has taken over."""
        self.has_frames = False
        """Whether it has ever got frames."""
        self.opened_at = now()
        self.sent = False
        """Whether its run was submitted here: it exists, will exist, or has existed."""
        self.seen = False
        """Whether the read model has held its run."""
        self.overrun = False
        """Whether too many frames wait for this watch: it gets no more."""
        self.unread = False
        """Whether its reader does not take frames yet, and therefore cannot be too slow: what is too much is dropped, and counts as missed."""
        self.on_overrun: Callable[[], object] | None = None
        self.closing = False
        """Whether the server stops."""
        self._limits = limits
        self._waiting_frames = 0
        self._waiting_bytes = 0

    @property
    def ready(self) -> bool:
        """Whether it holds frames or updates, or ends."""
        return bool(self.updates or self.batches or self.missed or self.overrun or self.closing)

    def put(self, batch: Batch) -> None:
        if self.overrun or (self.run_id is not None and batch.run_id != self.run_id):
            return
        self.has_frames = True
        self._waiting_frames += len(batch.frames)
        self._waiting_bytes += batch.bytes
        frames, size = self._limits
        if self._waiting_frames > frames or (self._waiting_bytes > size and self.batches):
            self.take_batches()
            if self.unread:
                self.missed = True
            else:
                self.overrun = True
                if self.on_overrun is not None:
                    self.on_overrun()
        else:
            self.batches.append(batch)
        self.wake()

    def add(self, update: ThreadUpdate) -> None:
        if self.updates is NO_UPDATES:
            self.updates = deque()
        self.updates.append(update)
        self.wake()

    def take_batches(self) -> list[Batch]:
        batches, self.batches = self.batches, []
        self._waiting_frames = self._waiting_bytes = 0
        return batches


class FrameFollower(ABC):
    """The one loop that every stream of frames runs: of a run, of a thread, of the streaming protocol, of an A2A task.

    It hands on what a `Watch` holds: batches of frames first, then lifecycle updates, so that a run's end finds the frames
    before it delivered. A follower puts frames in order by a `FrameSequencer` for each run. One task per follower, no locks.
    """

    __slots__ = ("_watch",)

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        watch.unread = False

    async def _follow(self) -> None:
        """Follow until the stream ends."""
        watch = self._watch
        while True:
            if watch.batches:
                await self._take(watch.take_batches())
            while watch.updates:
                await self._apply(watch.updates.popleft())
            if watch.missed:
                watch.missed = False
                await self._try_to_catch_up()
            if watch.overrun:
                if await self._overrun():
                    return
            elif watch.closing:
                self._shut_down()
                return
            elif await self._settled():
                return
            else:
                await self._wait()

    async def _try_to_catch_up(self) -> None:
        """`_catch_up`; later once more if a server is unavailable: a stream that has begun outlasts that."""
        try:
            await self._catch_up()
        except ApiError as error:
            if error.status < 500:
                raise
            self._watch.missed = True
            await asyncio.sleep(CATCH_UP_PAUSE_S)

    @abstractmethod
    async def _take(self, batches: list[Batch]) -> None:
        """Deliver the new frames of the batches."""

    @abstractmethod
    async def _apply(self, update: ThreadUpdate) -> None:
        """Apply an update of the thread."""

    @abstractmethod
    async def _catch_up(self) -> None:
        """Query frames and updates that may have been missed, and deliver them."""

    @abstractmethod
    async def _overrun(self) -> bool:
        """Handle an overrun of the queue. Return whether the stream has ended."""

    @abstractmethod
    def _shut_down(self) -> None:
        """End because the server stops. Does not wait."""

    @abstractmethod
    async def _settled(self) -> bool:
        """Deliver what the frames and updates so far allow. Return whether the stream has ended."""

    @abstractmethod
    async def _wait(self) -> None:
        """Wait until the watch holds something, or it is time for the next step."""


class _Thread:
    """Subscriptions of one thread and the watches that share them."""

    __slots__ = ("framed", "frames", "lifecycle", "on_event", "opening", "ready", "thread_id", "watches")

    def __init__(
        self, thread_id: str, on_event: Callable[[str, ev.AnyEvent], object], opening: Opening | None = None
    ) -> None:
        """``opening``: decrypts messages, where the project encrypts JSON."""
        self.thread_id = thread_id
        self.on_event = on_event
        self.opening = opening
        self.lifecycle = channels.lifecycle(thread_id)
        self.frames = channels.frames(thread_id)
        self.watches: set[Watch] = set()
        self.framed = 0
        self.ready: dict[str, asyncio.Future[None] | None] = {}
        """Kinds of messages that are subscribed to, each with the future of `Bus.enter`."""

    def on_lifecycle(self, data: bytes) -> None:
        if self.opening is not None:
            self.opening.take(partial(self._open_lifecycle, data), self.missed)
        else:
            self._deliver(messages.decode_lifecycle_update(data))

    async def _open_lifecycle(self, data: bytes, handlers: JsonHandlers) -> None:
        message = messages.decode_lifecycle_update(data)
        self._deliver(msgspec.structs.replace(message, body=await handlers.open_json(message.body)))

    def _deliver(self, message: messages.LifecycleUpdate) -> None:
        update = ThreadUpdate(ev.decode(message.type, message.body), message.time)
        self.on_event(self.thread_id, update.event)
        for watch in tuple(self.watches):
            watch.add(update)

    def missed(self) -> None:
        for watch in self.watches:
            watch.missed = True
            watch.wake()

    def on_frames(self, data: bytes) -> None:
        batch = frames.decode(restored(data))
        if not batch.frames:
            return
        if self.opening is not None:
            self.opening.take(partial(self._open_frames, batch), self.missed)
        else:
            self._put(Batch(batch))

    async def _open_frames(self, batch: FrameBatch, handlers: JsonHandlers) -> None:
        self._put(Batch(await opened_frames(handlers, batch)))

    def _put(self, batch: Batch) -> None:
        for watch in tuple(self.watches):
            if watch.wants_frames:
                watch.put(batch)


class Watches:
    """``partition_of``: the log's function from a thread's id to its partition."""

    def __init__(self, bus: Bus, settings: Settings, partition_of: Callable[[str], int]) -> None:
        self._bus = bus
        self._partition_of = partition_of
        self._limits = Limits(settings.stream_buffer_frames, settings.stream_buffer_bytes)
        self._timeout = settings.reply_timeout_s
        self._threads: dict[str, _Thread] = {}
        self.handlers: Callable[[], JsonHandlers | None] = lambda: None
        """Returns the current handlers that decrypt workers' messages."""
        self.on_event: Callable[[str, ev.AnyEvent], object] | None = None
        """Called with each event of a watched thread before its watches get it. Must not block or raise."""
        self.on_missed: list[Callable[[], object]] = []
        """Called when Redis was unavailable."""
        bus.on_missed.append(self._missed)

    async def start(self) -> None:
        await self._bus.subscribe(channels.SUCCESSION, self._succeeded, remote=False)

    async def open(self, thread_id: str, run_id: str | None = None, *, frames: bool = False) -> Watch:
        """Return a watch that misses nothing from now on. Raises ApiError 503 when Redis stays unavailable."""
        watch = self.enter(thread_id, run_id, frames=frames)
        try:
            await self.ready(watch)
        except BaseException:
            self.close(watch)
            raise
        return watch

    def enter(self, thread_id: str, run_id: str | None = None, *, frames: bool = False) -> Watch:
        """Return a watch that still has to be made `ready`. Call `close` in any case."""
        thread = self._threads.get(thread_id)
        if thread is None:
            handlers = self.handlers()
            opening = None if handlers is None else Opening(handlers, self._limits.frames)
            thread = self._threads[thread_id] = _Thread(thread_id, self._on_event, opening)
        watch = Watch(thread_id, run_id, self._limits, frames=frames)
        thread.watches.add(watch)
        thread.framed += frames
        return watch

    async def ready(self, watch: Watch) -> None:
        """Wait until the watch is subscribed and misses no later message. Raises ApiError 503 when Redis stays unavailable."""
        thread = self._threads[watch.thread_id]
        under_way = [self._subscribed(thread, LIFECYCLE)]
        if watch.wants_frames:
            under_way.append(self._subscribed(thread, FRAMES))
        if all(ack is None or ack.done() for ack in under_way):
            return
        try:
            async with asyncio.timeout(self._timeout):
                for ack in under_way:
                    if ack is not None and not ack.done():
                        await asyncio.shield(ack)
        except TimeoutError:
            raise unavailable("Redis") from None

    async def ready_beside(self, watch: Watch, submission: Coroutine[Any, Any, object]) -> None:
        """`ready`, while a run is submitted. A watch that fails stops the submission, and the error says whether the run may have
        been appended by then. Raises ApiError: that of either.

        A run on an idle machine publishes its first frame long after the subscription. On a busy one it may be earlier, and no later
        frame shows the gap while the run waits for something: a watch without any frame queries them once.
        """
        submitting = asyncio.create_task(submission)
        try:
            await asyncio.gather(self.ready(watch), submitting)
        except ApiError:
            if submitting.done():
                submitting.result()
            submitting.cancel()
            await asyncio.wait([submitting])
            raise unavailable("Redis") from None
        asyncio.get_running_loop().call_later(FIRST_FRAME_S, self._query_first_frames, watch)

    def _query_first_frames(self, watch: Watch) -> None:
        thread = self._threads.get(watch.thread_id)
        if not watch.has_frames and thread is not None and watch in thread.watches:
            watch.missed = True
            watch.wake()

    def close(self, watch: Watch) -> None:
        """Remove a watch. Does not wait, so that a cancelled request can call it."""
        thread = self._threads.get(watch.thread_id)
        if thread is None or watch not in thread.watches:
            return
        thread.watches.discard(watch)
        thread.framed -= watch.wants_frames
        if not thread.watches:
            if thread.opening is not None:
                thread.opening.close()
            del self._threads[watch.thread_id]
            self._unsubscribe(thread, LIFECYCLE)
            self._unsubscribe(thread, FRAMES)
        elif watch.wants_frames and not thread.framed:
            self._unsubscribe(thread, FRAMES)

    def close_all(self) -> None:
        """Let every watch know that the server stops."""
        for thread in self._threads.values():
            for watch in thread.watches:
                watch.closing = True
                watch.wake()

    async def stop(self) -> None:
        self._bus.on_missed.remove(self._missed)
        await self._bus.unsubscribe(channels.SUCCESSION, self._succeeded)

    def _subscribed(self, thread: _Thread, kind: str) -> asyncio.Future[None] | None:
        """Return the subscription, which is under way or done; None: done."""
        if kind not in thread.ready:
            # lifecycle events come from the projector, which may share this process; frames never do
            thread.ready[kind] = (
                self._bus.enter(thread.lifecycle, thread.on_lifecycle, remote=False)
                if kind == LIFECYCLE
                else self._bus.enter(thread.frames, thread.on_frames)
            )
        return thread.ready[kind]

    def _unsubscribe(self, thread: _Thread, kind: str) -> None:
        if kind not in thread.ready:
            return
        del thread.ready[kind]
        if kind == LIFECYCLE:
            self._bus.leave(thread.lifecycle, thread.on_lifecycle)
        else:
            self._bus.leave(thread.frames, thread.on_frames)

    def _on_event(self, thread_id: str, event: ev.AnyEvent) -> None:
        if self.on_event is not None:
            self.on_event(thread_id, event)

    def _missed(self) -> None:
        for notify in self.on_missed:
            notify()
        for thread in self._threads.values():
            thread.missed()

    def _succeeded(self, data: bytes) -> None:
        """Mark watches as missed: the former projector may have died between a commit and its messages."""
        partitions = frozenset(msgspec.json.decode(data, type=list[int]))
        for thread_id, thread in self._threads.items():
            if self._partition_of(thread_id) in partitions:
                thread.missed()
