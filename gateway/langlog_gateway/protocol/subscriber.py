"""One subscriber of a thread's events by the streaming protocol, and its queue.

On the event loop, no locks: the feed adds events, the connection removes them. A subscriber that falls behind by too much is `overrun`:
it gets no more, and continues from its last number on a new connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ..streams.watch import Limits
from .events import Event
from .filter import Filter


class Subscriber:
    def __init__(self, wanted: Filter, limits: Limits, *, permitted: bool) -> None:
        self._filter = wanted
        self.permitted = permitted
        """Whether the caller may read the thread; False: to be checked once the thread exists."""
        self.after = wanted.since or 0
        """Number of the last event that it has read, while it is `behind`."""
        self.behind = False
        """Whether it reads past events: nothing is queued meanwhile, since it will read that too."""
        self._limits = limits
        self._waiting: deque[Event] = deque()
        self._bytes = 0
        self._waker: asyncio.Future[None] | None = None
        self.overrun = False
        self.on_overrun: Callable[[], object] | None = None
        self.ended = False
        """Whether the server stops."""

    def deliver(self, event: Event) -> None:
        if self.behind or self.overrun or not self._filter.wants(event):
            return
        self._waiting.append(event)
        self._bytes += len(event.text)
        if len(self._waiting) > self._limits.frames or (self._bytes > self._limits.bytes and len(self._waiting) > 1):
            self.overrun = True
            self._waiting.clear()
            if self.on_overrun is not None:
                self.on_overrun()
        self._wake()

    def gone(self) -> None:
        self.permitted = self.behind = False
        self.after = 0

    def end(self) -> None:
        self.ended = True
        self._wake()

    def fall_back(self) -> None:
        """Read past events again, queued ones among them."""
        self.behind, self.overrun = True, False
        self.take()

    def take(self) -> list[Event]:
        events = list(self._waiting)
        self._waiting.clear()
        self._bytes = 0
        return events

    async def wait(self, until: float) -> bool:
        """Wait until there is an event (True), or until the loop's time ``until`` (False)."""
        if not (self._waiting or self.overrun or self.ended):
            loop = asyncio.get_running_loop()
            self._waker = loop.create_future()
            timer = loop.call_at(until, self._wake)
            try:
                await self._waker
            finally:
                timer.cancel()
                self._waker = None
        return bool(self._waiting or self.overrun or self.ended)

    def _wake(self) -> None:
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)
