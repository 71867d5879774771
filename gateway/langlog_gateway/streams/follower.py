"""The one loop that every stream of frames runs: of a run, of a thread, of the streaming protocol, of an A2A task.

It hands on what a `Watch` holds: batches of frames first, then lifecycle updates, so that a run's end finds the frames
before it delivered. A follower puts frames in order by a `FrameSequencer` for each run. One task per follower, no locks.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from ..http.errors import ApiError
from .sse import Batch
from .watch import ThreadUpdate, Watch

CATCH_UP_PAUSE_S = 0.5
"""Seconds before what was missed is queried again from a server that was unavailable."""


class FrameFollower(ABC):
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
