"""How far the read model is: waiting until the projection of ``run-events`` has passed an offset.

Concurrency: belongs to the event loop of its bus. The channel is subscribed to only while somebody waits. What happens when Redis dies: a
message may be lost, so a waiter asks again after a reconnect, and in any case after `RECHECK_S`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import msgspec
from langlog_schemas.events import RUN_EVENTS

from ..redis.channels import WATERMARK

if TYPE_CHECKING:
    from ..redis.client import Bus

RECHECK_S = 5.0
"""The projector's message and our own reconnect may miss each other when Redis restarts."""

_decode = msgspec.json.Decoder(dict[str, dict[str, int]]).decode


class Waiter:
    """Wakes up when the partition's position may have moved."""

    def __init__(self, partition: str) -> None:
        self.partition = partition
        self.moved = asyncio.Event()
        self.on_moved: Callable[[], object] | None = None

    def wake(self) -> None:
        self.moved.set()
        if self.on_moved is not None:
            self.on_moved()

    async def wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RECHECK_S):
                await self.moved.wait()
        self.moved.clear()


class Watermark:
    """The projection's positions as far as they are known here; one for a process."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._known: dict[int, int] = {}
        self._waiters: set[Waiter] = set()
        self._subscribed = False
        self._changing = asyncio.Lock()
        bus.on_reconnect.append(self._wake_all)

    def passed(self, partition: int, offset: int) -> bool:
        """Whether it is known that the read model holds the record at this offset."""
        return self._known.get(partition, 0) > offset

    def learn(self, partition: int, position: int) -> None:
        """``position`` (the next offset to fold) was read from Postgres."""
        if position > self._known.get(partition, 0):
            self._known[partition] = position

    @contextlib.asynccontextmanager
    async def waiter(self, partition: int) -> AsyncIterator[Waiter]:
        """Nothing that is folded from here on is missed by the waiter."""
        waiter = Waiter(str(partition))
        self._waiters.add(waiter)
        try:
            await self._settle()
            yield waiter
        finally:
            self._waiters.discard(waiter)
            await self._settle()

    async def _settle(self) -> None:
        async with self._changing:
            wanted = bool(self._waiters)
            if wanted == self._subscribed:
                return
            self._subscribed = wanted
            if wanted:
                await self._bus.subscribe(WATERMARK, self._on_message)
            else:
                await self._bus.unsubscribe(WATERMARK, self._on_message)

    def _on_message(self, data: bytes) -> None:
        moved = _decode(data).get(RUN_EVENTS)
        if not moved:
            return
        for partition, position in moved.items():
            self.learn(int(partition), position)
        for waiter in self._waiters:
            if waiter.partition in moved:
                waiter.wake()

    def _wake_all(self) -> None:
        for waiter in self._waiters:
            waiter.wake()
