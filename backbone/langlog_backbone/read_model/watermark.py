"""The watermark of the read model: waiting until the projection of ``run-events`` has passed an offset.

Concurrency: belongs to the event loop of its bus. The channel is subscribed to only while there is a waiter. When Redis dies, a
message may be lost, so a waiter checks again after a reconnect, and in any case after `RECHECK_S`.
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
    from .positions import ReadPositions

RECHECK_S = 5.0
"""Seconds after which a waiter checks again: when Redis restarts, the projector's message and our reconnect may miss each other."""

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
    """The known positions of the projection; one per process.

    Postgres may lose what it has shown. ``positions`` gets what is read here, so that connections after a loss wait for it: what `passed`
    has answered stays true.
    """

    def __init__(self, bus: Bus, positions: ReadPositions) -> None:
        self._bus = bus
        self._positions = positions
        self._known: dict[int, int] = {}
        self._waiters: set[Waiter] = set()
        self._subscribed = False
        self._changing = asyncio.Lock()
        bus.on_missed.append(self._wake_all)

    def passed(self, partition: int, offset: int) -> bool:
        """Return whether the read model is known to hold the record at this offset."""
        return self._known.get(partition, 0) > offset

    def learn(self, partition: int, position: int) -> None:
        """Record a position (the next offset to fold) that was read from Postgres."""
        self._positions.note((RUN_EVENTS, partition), position)
        self._advance(partition, position)

    def _advance(self, partition: int, position: int) -> None:
        if position > self._known.get(partition, 0):
            self._known[partition] = position

    @contextlib.asynccontextmanager
    async def waiter(self, partition: int) -> AsyncIterator[Waiter]:
        """Context of a waiter, which misses no change from its start on."""
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
            self._advance(int(partition), position)
        for waiter in self._waiters:
            if waiter.partition in moved:
                waiter.wake()

    def _wake_all(self) -> None:
        for waiter in self._waiters:
            waiter.wake()
