"""Waiting for the next item of a queue that is filled on the same event loop, with a deadline and without a task."""

from __future__ import annotations

import asyncio


class Waker:
    """Base of queues with one waiting consumer, which producers wake."""

    __slots__ = ("_waker",)

    def __init__(self) -> None:
        self._waker: asyncio.Future[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether the consumer can proceed."""
        raise NotImplementedError

    def wake(self) -> None:
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)

    async def wait(self, until: float) -> None:
        """Wait until it is `ready`, or until the loop's time ``until``."""
        if self.ready:
            return
        loop = asyncio.get_running_loop()
        self._waker = loop.create_future()
        timer = loop.call_at(until, self.wake)
        try:
            await self._waker
        finally:
            timer.cancel()
            self._waker = None
