"""Heartbeats of graph loops: which of them is held by a call that does not return.

    work waits ─► beat posted ──answered──► work still waits? ─yes─► next beat
                     │                            └─no─► nothing, until work waits again
                     └─ missed, 5 checks long, in the same task ─► held: its graph is named ─► … ─► answered: free

The I/O loop posts a beat to a loop that work waits for, and checks it every `BEAT_S`. A loop that is merely busy, which goes from one
task to the next, is not held, however long it lets work wait.

Concurrency: on the I/O loop; beats are answered on the graph loop's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .io_loop import IoLoop
from .loop_thread import GraphLoop

BEAT_S = 0.1
"""Seconds between two checks of a loop that work waits for."""
HELD_BEATS = 5
"""Number of missed beats, all of them in the same task, after which a loop is held."""
LATE_SHARE = 0.5
"""Part of `BEAT_S` by which a check may be delayed; above it, it is late."""
LATE_BEATS = 10
"""Number of late checks that count as one missed beat. A check that comes late, or finds a thread that executes nothing, says that the
machine is slow, and perhaps not the loop; on a machine that is always late nothing else would count."""


class Heartbeat:
    """Watches over one loop. ``held`` is called at each missed beat from `HELD_BEATS` on, ``free`` once the loop answers again."""

    def __init__(
        self,
        loop: GraphLoop,
        io: IoLoop,
        held: Callable[[Heartbeat], None],
        free: Callable[[Heartbeat], None],
    ) -> None:
        self.loop = loop
        self.held = False
        self.away = False
        """Whether other loops take the work; set by the owner while the loop is held."""
        self.culprits: frozenset[str] = frozenset()
        """Graphs in whose code the loop is held."""
        self.missed = 0
        """Number of beats that were missed since the last one was answered."""
        self._io = io
        self._on_held, self._on_free = held, free
        self._answered = True
        self._stopped = False
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._counts = _Count()
        self._of_task = _Count()

    def watch(self) -> None:
        """Beat as long as work waits for the loop. Call it when work begins to wait."""
        if self._timer is not None or self._stopped:
            return
        if self._answered:
            self._answered = False
            self.loop.inbox.post(self._answer)
        self._check_later()

    def stop(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _answer(self) -> None:
        self._answered = True  # on the loop's thread

    def _check_later(self) -> None:
        due = self._io.loop.time() + BEAT_S
        self._timer = self._io.loop.call_at(due, self._check, due)

    def _check(self, due: float) -> None:
        self._timer = None
        if self._answered:
            self._begin_anew()
            if self.loop.waited_for:
                self.watch()
            return
        task = self.loop.current_task()
        if task is not self._task:
            self._task, self._of_task = task, _Count()
        # a thread that executes nothing waits for the processor
        late = self._io.loop.time() - due > BEAT_S * LATE_SHARE or (task is None and self.loop.place() is None)
        self._of_task.add(late=late)
        self._counts.add(late=late)
        self.missed = self._counts.missed
        if self._of_task.missed >= HELD_BEATS:
            self.culprits |= self.loop.graphs_of(task)
            if not self.held:
                self.held = True
                self.loop.inbox.post(self._io.post, self._freed)
        if self.held:
            self._on_held(self)
        if self.loop.waited_for or (self.held and not self.away):
            self._check_later()
        elif not self.held:
            self._begin_anew()

    def _freed(self) -> None:
        self.held = self.away = False
        self._begin_anew()
        self._on_free(self)
        self.culprits = frozenset()
        if self.loop.waited_for:
            self.watch()

    def _begin_anew(self) -> None:
        self._task, self._counts, self._of_task, self.missed = None, _Count(), _Count(), 0


class _Count:
    """A count of missed beats."""

    def __init__(self) -> None:
        self._timely = self._late = 0

    def add(self, *, late: bool) -> None:
        self._late += late
        self._timely += not late

    @property
    def missed(self) -> int:
        return self._timely + self._late // LATE_BEATS
