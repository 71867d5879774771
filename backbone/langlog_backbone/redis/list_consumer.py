"""Removes the entries of a Redis list, the oldest first, and handles several at a time.

Concurrency: on the event loop that runs `ListConsumer.run`, one task for each entry. What happens when it dies: entries that were taken and
not handled are lost, unless ``handle`` puts them back when it is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from ..process.retry import Availability, Pauses
from ..process.server_errors import RedisUnavailable
from ..process.settings import Settings
from .blocking import BlockingPipe
from .client import RedisPipe
from .connection import ANSWER_S

logger = structlog.get_logger(__name__)

WAIT_S = 30
"""Seconds that one command waits for an entry before the next one. A Redis that does not answer `ANSWER_S` later is given up: its machine
may have vanished, which closes no connection."""
END_PAUSE_S = 0.02
"""Seconds between two attempts to end a wait."""


class ListConsumer:
    """Removes and handles entries of one list, at most ``at_once`` at a time: further ones wait in Redis.

    ``handle``: gets each entry; its exceptions are logged. ``through``: a pipe whose commands do not block, for `pause`.
    """

    def __init__(
        self,
        settings: Settings,
        key: str,
        handle: Callable[[bytes], Awaitable[None]],
        at_once: int,
        available: Availability,
        through: RedisPipe,
    ) -> None:
        self._client = BlockingPipe(settings)
        self._key = key
        self._handle = handle
        self._free = asyncio.Semaphore(at_once)
        self._available = available
        self._through = through
        self._pauses = Pauses()
        self._tasks: set[asyncio.Task[None]] = set()
        self._waits = False
        """Whether a command that waits for an entry is under way."""
        self._going = asyncio.Event()
        self._going.set()
        self._ending: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Remove and handle entries until cancelled. Those under way are cancelled with it, and waited for."""
        try:
            while True:
                await self._free.acquire()
                await self._going.wait()
                data = await self._taken()
                if data is None:
                    self._free.release()
                    continue
                task = asyncio.create_task(self._handled(data))
                self._tasks.add(task)
                task.add_done_callback(self._done)
        finally:
            self._client.drop()
            under_way = [*self._tasks, *([self._ending] if self._ending is not None else [])]
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    def pause(self) -> None:
        """Take no more entries until `resume`, and have a wait under way end: others get the entry that it would get."""
        self._going.clear()
        if self._waits and (self._ending is None or self._ending.done()):
            self._ending = asyncio.create_task(self._end_wait())

    def resume(self) -> None:
        self._going.set()

    async def _taken(self) -> bytes | None:
        """Remove the oldest entry, or wait for one for a while."""
        try:
            self._waits = True
            async with asyncio.timeout(WAIT_S + ANSWER_S):
                taken = await self._client.wait("BRPOP", self._key, WAIT_S)
        except (RedisUnavailable, TimeoutError) as error:
            self._available.failed(error)
            self._client.drop()  # a command that stays behind would take an entry later, unnoticed
            self._waits = False
            await self._pauses.wait()
            return None
        finally:
            self._waits = False
        self._available.succeeded()
        self._pauses.end()
        return None if taken is None else taken[1]

    async def _end_wait(self) -> None:
        with contextlib.suppress(RedisUnavailable):
            while self._waits and not self._going.is_set():
                await self._client.end_wait(self._through)
                await asyncio.sleep(END_PAUSE_S)  # the blocking command may not have reached Redis yet

    async def _handled(self, data: bytes) -> None:
        try:
            await self._handle(data)
        except Exception as error:
            logger.error(f"{self._available.loop}.failed", exc_info=error)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._free.release()
