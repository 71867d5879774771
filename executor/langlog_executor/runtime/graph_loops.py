"""Graph loops: event loops in threads of their own, on which graphs run.

    submit ─► home loop of the graph ──begun within 15 ms──► runs there
                   │
                   └─ not begun: is the loop stuck in one call? ─no (busy)─► wait on
                                        │yes
                                        └─► the graph is suspect; another loop takes the work

Each graph has a home loop, so that a node that blocks (``time.sleep`` in an async node) holds up no run of another graph. Work
that waits behind a blocked loop is taken over by another one; exactly one loop begins it (an atomic flag). A graph that has
blocked a loop is remembered, and each of its runs gets a loop of its own from then on, as far as `MAX_LOOPS` goes. Loops that
were idle for a while end, but for homes. Sync nodes run on one pool of threads that all loops share.

Objects of asyncio, and with them most clients and pools, belong to the loop that they were first used on: one of a module that two
graphs share works in one of them alone. Where the project prepares resources for its graphs (`worker_lifespan`), and with
``BG_JOB_ISOLATED_LOOPS=false``, all work runs on one loop (`hold_one_loop`): a node that blocks it holds up the other runs of
this worker.

Concurrency: everything here is called on the I/O loop, unless noted otherwise. When user code in a loop's thread raises
``SystemExit`` or a similar exception, its work fails and the loop continues.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, Generic, TypeVar

import structlog
from langlog_backbone.time.sources import monotonic

from .io_loop import Inbox, IoLoop

try:
    import uvloop
except ImportError:  # Windows
    uvloop = None  # type: ignore[assignment]

logger = structlog.get_logger(__name__)

T = TypeVar("T")

PATIENCE_S = 0.015
"""Seconds after which the loop of work that has not begun is checked."""
SAMPLE_S = 0.005
"""Seconds between two samples of a silent loop's position."""
SAMPLES = 4
"""Number of samples in the same call after which a loop is blocked, not busy."""
LATE_S = 0.004
"""Seconds of delay above which a sample is not counted: the machine, not the loop, is slow …"""
LATE_SAMPLES = 20
"""… unless the loop was in the same call this many times: on a machine that is always late nothing else would count."""
SUSPECT_S = 60.0
"""Seconds for which each run of a graph that has blocked a loop gets one of its own; then they are at its home again."""
IDLE_S = 60.0
"""Seconds after which a loop without work ends."""
OUTLINE_FRAMES = 3
"""Number of outermost frames of a callback that are compared."""
MAX_LOOPS = 128
"""Maximum number of threads with event loops; beyond it, runs share them."""


class Work(Generic[T]):
    """A coroutine that some graph loop runs. ``done`` belongs to the I/O loop and gets result or exception."""

    def __init__(self, graph_id: str, start: Callable[[], Coroutine[Any, Any, T]], done: asyncio.Future[T]) -> None:
        self.graph_id = graph_id
        self.done = done
        self._start = start
        self._claim = threading.Lock()
        self._cancelled = False
        self.loop: GraphLoop | None = None
        """Loop where it was begun, or waits."""
        self.task: asyncio.Task[T] | None = None

    @property
    def begun(self) -> bool:
        return self._claim.locked()

    def claim(self) -> bool:
        """Return True to the one caller that may begin it. Any thread."""
        return self._claim.acquire(blocking=False)

    def cancel(self) -> None:
        """Cancel the coroutine, once its loop is free; work that has not begun never begins."""
        self._cancelled = True
        if self.claim():
            if self.loop is not None:
                self.loop.work.discard(self)
            self.done.cancel()
        elif self.loop is not None:
            self.loop.inbox.post(self._cancel)

    def _cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def run_on(self, loop: GraphLoop, io: IoLoop, finished: Callable[[Work[Any]], None]) -> None:
        """On the graph loop's thread: begin, unless another loop was faster."""
        if not self.claim():
            return
        self.loop = loop
        self.task = loop.loop.create_task(self._start())
        if self._cancelled:
            self.task.cancel()

        def ended(task: asyncio.Task[T]) -> None:
            if not task.cancelled():
                task.exception()  # seen: it travels with the future
            io.post(self._settle, task, finished)

        self.task.add_done_callback(ended)

    def _settle(self, task: asyncio.Task[T], finished: Callable[[Work[Any]], None]) -> None:
        finished(self)
        if self.done.done():
            return
        if task.cancelled():
            self.done.cancel()
            return
        error = task.exception()
        if error is None:
            self.done.set_result(task.result())
        elif isinstance(error, StopIteration | KeyboardInterrupt | SystemExit):
            self.done.set_exception(RuntimeError(f"{type(error).__name__}: {error}"))
        else:
            self.done.set_exception(error)


class GraphLoop:
    """One event loop and its thread."""

    def __init__(self, number: int, executor: concurrent.futures.ThreadPoolExecutor) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.new_event_loop() if uvloop is None else uvloop.new_event_loop()
        self.loop.set_default_executor(executor)
        self.inbox = Inbox(self.loop)
        self.work: set[Work[Any]] = set()
        """Work that was begun or waits here; maintained by the I/O loop."""
        self.idle_since = monotonic()
        self._stopping = False
        self.thread = threading.Thread(target=self._run, name=f"graphs-{number}", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """End at the next iteration of the loop; a blocked thread is abandoned (it is a daemon)."""
        self._stopping = True
        self.inbox.post(self.loop.stop)

    def position(self) -> Position | None:
        """Return the position of the thread's current callback; None if it waits for events.

        The position is constant within one callback, however deep it is; a busy loop changes callbacks.
        """
        frame = sys._current_frames().get(self.thread.ident or 0)  # noqa: SLF001 - documented
        return None if frame is None else _outline(frame)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._stopping:
            try:
                self.loop.run_forever()
            except BaseException:
                logger.exception("graph_loop.shaken")
        # closing a loop shuts down its executor, which is shared: give it a replacement
        self.loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(max_workers=1))
        try:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            self.loop.close()


Position = tuple[tuple[FrameType, int], ...]
"""Frames with their instructions, outermost last. The frames themselves, not their ids: those of frames that have ended are used again,
so that callbacks of a busy loop would look like one."""

_LOOP_FILES = ("base_events.py", "events.py", "selectors.py", "selector_events.py", "unix_events.py")


def _outline(frame: FrameType) -> Position | None:
    chain: list[FrameType] = []
    at: FrameType | None = frame
    while at is not None and at.f_code is not GraphLoop._run.__code__:  # noqa: SLF001 - of this module
        if not at.f_code.co_filename.endswith(_LOOP_FILES):
            chain.append(at)
        at = at.f_back
    if at is None or not chain:
        return None
    # callers only: the innermost frame moves on within one long computation
    outer = chain[-OUTLINE_FRAMES:]
    return tuple((f, f.f_lasti if f is not frame else 0) for f in outer)


class GraphLoops:
    """The graph loops of a worker process."""

    def __init__(self, io: IoLoop, *, threads: int) -> None:
        self._io = io
        # threads are made as they are needed; a sync node must never queue behind others that wait
        self._executor = concurrent.futures.ThreadPoolExecutor(max_workers=threads, thread_name_prefix="node")
        self._loops: list[GraphLoop] = []
        self._homes: dict[str, GraphLoop] = {}
        self._suspects: dict[str, float] = {}
        self._numbers = 0
        self._sweeper: asyncio.TimerHandle | None = None
        self._only: GraphLoop | None = None

    def hold_one_loop(self) -> None:
        """Run all work on one loop, from the first work on. Raises RuntimeError once there are loops."""
        if self._loops:
            raise RuntimeError("work runs on graph loops already")
        self._only = GraphLoop(1, self._executor)
        self._loops.append(self._only)

    @property
    def suspects(self) -> frozenset[str]:
        """Return the graphs that have blocked a loop recently."""
        now = monotonic()
        return frozenset(k for k, until in list(self._suspects.items()) if until > now)  # any thread

    @property
    def size(self) -> int:
        return len(self._loops)

    def submit(self, graph_id: str, start: Callable[[], Coroutine[Any, Any, T]]) -> Work[T]:
        """Run a coroutine on a graph loop, soon."""
        work: Work[T] = Work(graph_id, start, self._io.loop.create_future())
        self._assign(work, self._choose(graph_id))
        return work

    def stop(self) -> None:
        """End all loops, whatever runs on them."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for loop in self._loops:
            loop.stop()
            self._io.forget(loop.loop)
        self._loops.clear()
        self._homes.clear()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _assign(self, work: Work[Any], loop: GraphLoop) -> None:
        work.loop = loop
        loop.work.add(work)
        loop.inbox.post(work.run_on, loop, self._io, self._finished)
        self._check_later(PATIENCE_S, work, loop)

    def _choose(self, graph_id: str, avoid: GraphLoop | None = None) -> GraphLoop:
        if self._only is not None:
            return self._only
        if not self._is_suspect(graph_id):
            home = self._homes.get(graph_id)
            if home is not None and home is not avoid:
                return home
        for loop in self._loops:
            if not loop.work and loop is not avoid and loop not in self._homes.values():
                return self._settle_in(graph_id, loop)
        if len(self._loops) < MAX_LOOPS:
            self._numbers += 1
            loop = GraphLoop(self._numbers, self._executor)
            self._loops.append(loop)
            self._sweep_later()
            return self._settle_in(graph_id, loop)
        return min((x for x in self._loops if x is not avoid), key=lambda x: len(x.work))

    def _is_suspect(self, graph_id: str) -> bool:
        until = self._suspects.get(graph_id)
        if until is None:
            return False
        if until > monotonic():
            return True
        del self._suspects[graph_id]
        return False

    def _settle_in(self, graph_id: str, loop: GraphLoop) -> GraphLoop:
        if not self._is_suspect(graph_id):
            self._homes[graph_id] = loop
        return loop

    def _check_later(
        self,
        delay_s: float,
        work: Work[Any],
        loop: GraphLoop,
        last: Position | None = None,
        same: int = 0,
        checks: int = 0,
    ) -> None:
        due = self._io.loop.time() + delay_s
        self._io.loop.call_later(delay_s, self._check, work, loop, due, last, same, checks)

    def _check(
        self, work: Work[Any], loop: GraphLoop, due: float, last: Position | None, same: int, checks: int
    ) -> None:
        """Work was not begun in time: blocked loops lose it to another one, busy ones are given more time."""
        if work.begun or work.loop is not loop:
            return
        position = loop.position()
        checks = checks + 1 if position is not None and position == last else 1
        if self._io.loop.time() - due > LATE_S:
            same = 0  # the machine is overloaded: the loop may be waiting for the processor, as this check did
        elif position is not None and position == last:
            same += 1
        else:
            same = 1
        if same < SAMPLES and checks < LATE_SAMPLES:
            self._check_later(SAMPLE_S, work, loop, position, same, checks)
            return
        culprits = {other.graph_id for other in loop.work if other.begun}
        new = culprits - self.suspects
        if new:
            hint = "an async node makes a blocking call"
            if self._only is not None:
                hint += ": all runs of this worker wait for it, since they share one event loop"
            logger.warning("graph_loop.blocked", graphs=sorted(new), hint=hint)
        until = monotonic() + SUSPECT_S
        for graph_id in culprits:
            self._suspects[graph_id] = until
        if self._only is not None:
            return
        for waiting in [x for x in loop.work if not x.begun]:
            loop.work.discard(waiting)
            self._assign(waiting, self._choose(waiting.graph_id, avoid=loop))

    def _finished(self, work: Work[Any]) -> None:
        # all of them: the loop that lost the work may have begun it all the same
        for loop in self._loops:
            if work in loop.work:
                loop.work.discard(work)
                if not loop.work:
                    loop.idle_since = monotonic()

    def _sweep_later(self) -> None:
        if self._sweeper is None:
            self._sweeper = self._io.loop.call_later(IDLE_S, self.sweep)

    def sweep(self) -> None:
        """End loops that have been idle for `IDLE_S` and are no graph's home; checks again by itself. What a graph's modules hold, a
        client or a pool, belongs to its home, and could not be used once that has ended."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._sweeper = None
        now = monotonic()
        homes = {id(loop) for loop in (self._only, *self._homes.values()) if loop is not None}
        for loop in [x for x in self._loops if not x.work and now - x.idle_since >= IDLE_S and id(x) not in homes]:
            self._loops.remove(loop)
            self._io.forget(loop.loop)
            loop.stop()
        if len(self._loops) > len(homes):
            self._sweep_later()
