"""Graph loops: event loops in threads of their own, on which graphs run.

    submit ─► home loop ──answers beats──► runs there
                  │
                  └─ is held by one call for 2 s (where each graph has a home: 0.5 s) ─► a stand-in takes what waits, until it is free

All graphs of a worker share one home loop: objects of asyncio, and with them most clients and pools, belong to the loop that they were
first used on, so those of a module work for all graphs that import it. With ``BG_JOB_ISOLATED_LOOPS=true`` each graph has a home of
its own instead, so that a node that blocks (``time.sleep`` in an async node) delays no run of another graph. Sync nodes run on one
pool of threads that all loops share.

A loop that a node blocks is *held* (`heartbeat` finds it); its graph is named in the log, with the place. Once it was held for long, it
is *away*: a stand-in begins the work that waits there and all later work, so a node that never returns stops only what began before it.
The work that had begun continues where it is. A home that is free again takes the later work back, because clients and pools belong to
it. If the stand-in is held too, the next one takes over. One loop begins each work (`Work.wait_for`). Stand-ins end when they were
idle for a while, homes never.

Where the project prepares resources for its graphs (`worker_lifespan`), these belong to the home, and it is never away
(`hold_one_loop`).

Concurrency: everything here is called on the I/O loop, unless noted otherwise.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog
from langlog_backbone.time.sources import monotonic

from .heartbeat import HELD_BEATS, Heartbeat
from .io_loop import IoLoop
from .loop_thread import GraphLoop, Work

logger = structlog.get_logger(__name__)

T = TypeVar("T")

AWAY_BEATS = 20
"""Number of missed beats after which a stand-in takes the work of a held loop that all graphs share. Long: what it begins cannot use the
clients and pools of the home."""
SUSPECT_S = 60.0
"""Seconds for which a graph is shown as one that blocks, from the moment on in which its loop is free again."""
WARN_AGAIN_S = 60.0
"""Minimum seconds between two warnings about one graph."""
IDLE_S = 60.0
"""Seconds after which a loop without work ends."""
MAX_LOOPS = 128
"""Maximum number of threads with event loops; beyond it, graphs share homes, and work waits for loops that are held."""
SHARED = ""
"""Name of the home that all graphs share."""
BLOCKED_HINT = "an async node makes a blocking call: make the node a sync function, or call it by asyncio.to_thread"
ISOLATED_HINT = ", or set BG_JOB_ISOLATED_LOOPS=true, and each graph gets an event loop of its own"
WAIT_HINT = "; all runs of this worker wait for it, since they share one event loop"


class GraphLoops:
    """The graph loops of a worker process."""

    def __init__(self, io: IoLoop, *, threads: int, isolated: bool = False) -> None:
        """``threads``: maximum number of threads for sync nodes. ``isolated``: each graph has a home of its own."""
        self._io = io
        # threads are made as they are needed; a sync node must never queue behind others that wait
        self._executor = concurrent.futures.ThreadPoolExecutor(max_workers=threads, thread_name_prefix="node")
        self._beats: dict[GraphLoop, Heartbeat] = {}
        """All loops, with their heartbeats."""
        self._lines: dict[str, list[GraphLoop]] = {}
        """Graph -> its home, and then the stand-ins, in the order in which they were needed."""
        self._isolated = isolated
        self._stays = False
        self._suspects: dict[str, float] = {}
        """Graph -> until when it is one; infinite while it holds a loop."""
        self._warned: dict[str, float] = {}
        self._numbers = 0
        self._sweeper: asyncio.TimerHandle | None = None
        self._notified = False
        self.on_held: list[Callable[[], None]] = []
        """Functions that are called when `held` has changed."""

    def hold_one_loop(self) -> None:
        """Run all work on one loop that no other takes work of. Raises RuntimeError once there are loops."""
        if self._beats:
            raise RuntimeError("work runs on graph loops already")
        self._isolated = False
        self._stays = True

    @property
    def shared(self) -> bool:
        """Whether all graphs share one home."""
        return not self._isolated

    @property
    def suspects(self) -> frozenset[str]:
        """Return the graphs that block a loop, or have done so recently. Any thread."""
        now = monotonic()
        return frozenset(k for k, until in list(self._suspects.items()) if until > now)

    @property
    def size(self) -> int:
        return len(self._beats)

    @property
    def held(self) -> bool:
        """Whether any new work would wait: the home that all graphs share is held, and no stand-in takes the work yet."""
        if self._isolated:
            return False
        beats = (self._beats[loop] for loop in self._lines.get(SHARED, ()))
        return next((beat.held for beat in beats if not beat.away), False)

    def submit(self, graph_id: str, start: Callable[[], Coroutine[Any, Any, T]]) -> Work[T]:
        """Run a coroutine on a graph loop, soon."""
        work: Work[T] = Work(graph_id, start, self._io.loop.create_future())
        self._assign(work, self._choose(graph_id))
        return work

    def stop(self) -> None:
        """End all loops, whatever runs on them."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for loop in list(self._beats):
            self._end(loop)
        self._lines.clear()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _assign(self, work: Work[Any], loop: GraphLoop) -> None:
        """Let the work wait for this loop, and no longer for another one."""
        before = work.loop
        if not work.wait_for(loop):
            return  # begun meanwhile
        if before is not None:
            before.discard(work)
        loop.work.add(work)
        loop.inbox.post(work.run_on, loop, self._io, self._finished)
        self._beats[loop].watch()

    def _choose(self, graph_id: str) -> GraphLoop:
        """Return the first loop of the graph's line that is not away, or a further one."""
        line = self._lines.setdefault(graph_id if self._isolated else SHARED, [])
        for loop in line:
            if not self._beats[loop].away:
                return loop
        if len(self._beats) < MAX_LOOPS:
            self._numbers += 1
            loop = GraphLoop(self._numbers, self._executor)
            self._beats[loop] = Heartbeat(loop, self._io, self._on_missed, self._on_free)
        else:
            loop = min(self._beats, key=lambda x: (self._beats[x].held, len(x.work)))
        line.append(loop)
        self._sweep_later()
        return loop

    def _on_missed(self, beat: Heartbeat) -> None:
        """A held loop has missed one more beat."""
        new = beat.culprits - {k for k, until in self._suspects.items() if until == math.inf}
        for graph_id in beat.culprits:
            self._suspects[graph_id] = math.inf
        if new:
            self._warn(new, beat.loop)
        if not self._stays and not beat.away and beat.missed >= (HELD_BEATS if self._isolated else AWAY_BEATS):
            self._leave(beat)
        self._notify()

    def _on_free(self, beat: Heartbeat) -> None:
        others = frozenset[str]().union(*(x.culprits for x in self._beats.values() if x is not beat))
        for graph_id in beat.culprits - others:
            self._suspects[graph_id] = monotonic() + SUSPECT_S
        self._sweep_later()
        self._notify()

    def _notify(self) -> None:
        if self.held != self._notified:
            self._notified = not self._notified
            for changed in self.on_held:
                changed()

    def _warn(self, graphs: frozenset[str], loop: GraphLoop) -> None:
        now = monotonic()
        due = sorted(graph_id for graph_id in graphs if now >= self._warned.get(graph_id, -math.inf))
        if not due:
            return
        for graph_id in due:
            self._warned[graph_id] = now + WARN_AGAIN_S
        hint = BLOCKED_HINT
        if self._stays:
            hint += WAIT_HINT
        elif not self._isolated:
            hint += ISOLATED_HINT
        logger.warning("graph_loop.blocked", graphs=due, at=loop.place(), hint=hint)

    def _leave(self, beat: Heartbeat) -> None:
        """Have a stand-in take the work that waits for a held loop, and later work."""
        lines = [line for line in self._lines.values() if beat.loop in line]
        if len(self._beats) >= MAX_LOOPS and any(all(self._beats[x].held for x in line) for line in lines):
            return  # checked again at the next missed beat
        beat.away = True
        for work in [x for x in beat.loop.work if not x.begun]:
            self._assign(work, self._choose(work.graph_id))

    def _finished(self, work: Work[Any]) -> None:
        if work.loop is not None:
            work.loop.discard(work)

    def _sweep_later(self) -> None:
        if self._sweeper is None and len(self._beats) > len(self._needed()):
            self._sweeper = self._io.loop.call_later(IDLE_S, self.sweep)

    def _needed(self) -> set[GraphLoop]:
        """Return homes, and the stand-ins that have their work. What a graph's modules hold, a client or a pool, belongs to its home,
        and could not be used once that has ended."""
        needed = {line[0] for line in self._lines.values() if line}
        for line in self._lines.values():
            needed.update([loop for loop in line if not self._beats[loop].away][:1])
        return needed

    def sweep(self) -> None:
        """End loops that have been idle for `IDLE_S` and are not needed; checks again by itself."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._sweeper = None
        now, needed = monotonic(), self._needed()
        free = [loop for loop, beat in self._beats.items() if not beat.held and loop not in needed]
        idle = [x for x in free if not x.work and now - x.idle_since >= IDLE_S]
        for loop in idle:
            for line in self._lines.values():
                if loop in line:
                    line.remove(loop)
            self._end(loop)
        self._sweep_later()

    def _end(self, loop: GraphLoop) -> None:
        self._beats.pop(loop).stop()
        self._io.forget(loop.loop)
        loop.stop()
