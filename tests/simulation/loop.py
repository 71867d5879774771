"""An event loop of virtual time that runs several processes in one thread, in an order that its seed decides.

Each simulated process is a `Node`. What a callback belongs to is said by its context, as asyncio hands it on from task to task. Callbacks
of one node run in the order in which they were scheduled, as asyncio promises; between nodes the order is drawn. Time stands still
while anything can run, and then leaps to the next timer, so hours of timers are over in a moment and the same seed lives through the
same world.

A node that is killed never runs again: no ``finally``, no ``except``. One that is paused runs nothing until it goes on, with its timers
late, as after SIGSTOP or a long collection. There are no sockets and no threads: `run_in_executor` calls its function on the loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import random
from asyncio import base_events
from collections import deque
from collections.abc import Callable
from typing import Any

from tests.stack.sources import SteppedClock

TICK_S = 1e-6
MOST_CANCELLED = 100
"""Timers that were cancelled are removed before their time when there are more, and as many as others."""
BURST = 6
"""Callbacks of one node that run in one go, at most."""


class Node:
    """One process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.paused = False

    def __repr__(self) -> str:
        return f"<{self.name}{'' if self.alive else ' dead'}{' paused' if self.paused else ''}>"


WORLD = Node("world")
"""Whatever belongs to no process: clients, faults, checks, and the servers themselves."""
NODE: contextvars.ContextVar[Node] = contextvars.ContextVar("node", default=WORLD)


def within(node: Node) -> contextvars.Context:
    """A context whose callbacks and tasks belong to the node."""
    context = contextvars.copy_context()
    context.run(NODE.set, node)
    return context


class NumberedTask(asyncio.Task[Any]):
    """Sets of tasks and futures are walked through in an order that depends on their hashes: these are the same in every life."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class NumberedFuture(asyncio.Future[Any]):
    number = 0

    def __hash__(self) -> int:
        return self.number


class NothingLeft(Exception):
    """Nothing can run and no timer is set: what is waited for will never come."""


class SimulationLoop(base_events.BaseEventLoop):
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _stopping: bool
    _timer_cancelled_count: int

    def __init__(self, clock: SteppedClock, seed: int) -> None:
        super().__init__()
        self.clock = clock
        self.steps = 0
        """Callbacks that have run."""
        self.after_step: Callable[[], None] | None = None
        self.connect_to: Callable[[Callable[[], Any]], Any] | None = None
        """Opens connections to Unix sockets."""
        self._draw = random.Random(seed)
        self._queues: dict[Node, deque[asyncio.Handle]] = {}
        self._numbers = 0
        self.dropped: list[Any] = []
        """Callbacks that killed processes had still to run: kept, since a coroutine that is dropped would run its ``finally``."""
        self.set_task_factory(_numbered)

    def create_future(self) -> asyncio.Future[Any]:
        future = NumberedFuture(loop=self)
        future.number = self.next_number()
        return future

    def next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    # what BaseEventLoop leaves to its subclasses

    def time(self) -> float:
        return self.clock.ns / 1e9

    def _process_events(self, events: Any) -> None:
        return None

    def _write_to_self(self) -> None:
        return None

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        return self.call_soon(callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Never at this very moment: time stands still meanwhile, and who looks again at once would look for ever."""
        return super().call_at(max(when, self.time() + TICK_S), callback, *args, context=context)

    async def create_unix_connection(self, protocol_factory: Any, path: Any = None, **_: Any) -> Any:
        assert self.connect_to is not None
        return await self.connect_to(protocol_factory)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Calls the function on this loop, at some later step."""
        future: asyncio.Future[Any] = self.create_future()

        def run() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except Exception as error:
                future.set_exception(error)

        self.call_soon(run)
        return future

    def _run_once(self) -> None:
        queues, ready = self._queues, self._ready
        self._take_due()
        while ready:
            handle = ready.popleft()
            context = handle._context  # type: ignore[attr-defined]
            node = context.get(NODE, WORLD)
            if node.alive:
                queue = queues.get(node)
                if queue is None:
                    queue = queues[node] = deque()
                queue.append(handle)
            else:
                self.dropped.append(handle)
        able = [node for node, queue in queues.items() if queue and not node.paused]
        if not able:
            if self._stopping:
                return
            self._leap()
            return
        node = able[0] if len(able) == 1 else able[self._draw.randrange(len(able))]
        queue = queues[node]
        for _ in range(min(len(queue), self._draw.randint(1, BURST))):
            if not node.alive or node.paused:
                break
            handle = queue.popleft()
            if not handle._cancelled:  # type: ignore[attr-defined]
                self.steps += 1
                handle._run()  # type: ignore[attr-defined]
        if not node.alive:
            self.forget(node)
        if self.after_step is not None:
            self.after_step()

    def forget(self, node: Node) -> None:
        """The node was killed: what it had to do is never done."""
        self.dropped.append(self._queues.pop(node, None))

    def _take_due(self) -> None:
        scheduled, now = self._scheduled, self.clock.ns / 1e9
        if self._timer_cancelled_count > MOST_CANCELLED and self._timer_cancelled_count * 2 > len(scheduled):
            kept = [handle for handle in scheduled if not handle._cancelled]  # type: ignore[attr-defined]
            for handle in scheduled:
                handle._scheduled = not handle._cancelled  # type: ignore[attr-defined]
            scheduled[:], self._timer_cancelled_count = kept, 0
            heapq.heapify(scheduled)
        while scheduled:
            handle = scheduled[0]
            if handle._cancelled:  # type: ignore[attr-defined]
                heapq.heappop(scheduled)
                self._timer_cancelled_count -= 1
                handle._scheduled = False  # type: ignore[attr-defined]
            elif handle.when() <= now:
                heapq.heappop(scheduled)
                handle._scheduled = False  # type: ignore[attr-defined]
                self._ready.append(handle)
            else:
                return

    def _leap(self) -> None:
        if not self._scheduled:
            raise NothingLeft
        when = self._scheduled[0].when()
        self.clock.ns = max(self.clock.ns, int(when * 1e9))
        while self.clock.ns / 1e9 < when:
            self.clock.ns += 1


def _numbered(loop: Any, coroutine: Any, **options: Any) -> NumberedTask:
    task = NumberedTask(coroutine, loop=loop, **options)
    task.number = loop.next_number()
    return task
