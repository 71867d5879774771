"""Removes the entries of a Redis list, the oldest first, and handles several at a time.

Concurrency: on the event loop that runs `consume`, one task for each entry. What happens when it dies: entries that were taken and
not handled are lost, unless ``handle`` puts them back when it is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from ..process.retry import Availability
from ..process.server_errors import RedisUnavailable
from ..process.settings import Settings
from .client import RedisPipe
from .connection import ANSWER_S

logger = structlog.get_logger(__name__)

WAIT_S = 30
"""Seconds that one command waits for an entry before the next one. A Redis that does not answer `ANSWER_S` later is given up: its machine
may have vanished, which closes no connection."""
RETRY_PAUSE_S = 0.2
"""Seconds between two attempts while Redis is unavailable."""


async def consume(
    settings: Settings, key: str, handle: Callable[[bytes], Awaitable[None]], at_once: int, available: Availability
) -> None:
    """Remove and handle entries until cancelled, at most ``at_once`` at a time: further ones wait in Redis.

    Those under way are cancelled with it, and waited for. An exception of ``handle`` is logged.
    """
    client = RedisPipe(settings, patient=True)
    free = asyncio.Semaphore(at_once)
    tasks: set[asyncio.Task[None]] = set()

    async def handled(data: bytes) -> None:
        try:
            await handle(data)
        except Exception as error:
            logger.error(f"{available.loop}.failed", exc_info=error)

    def done(task: asyncio.Task[None]) -> None:
        tasks.discard(task)
        free.release()

    try:
        while True:
            await free.acquire()
            try:
                async with asyncio.timeout(WAIT_S + ANSWER_S):
                    taken = await client.call("BRPOP", key, WAIT_S)
            except (RedisUnavailable, TimeoutError) as error:
                free.release()
                available.failed(error)
                client.drop()  # a command that stays behind would take an entry later, unnoticed
                await asyncio.sleep(RETRY_PAUSE_S)  # nothing signals that Redis is back
                continue
            available.succeeded()
            if taken is None:
                free.release()
                continue
            _, data = taken
            task = asyncio.create_task(handled(data))
            tasks.add(task)
            task.add_done_callback(done)
    finally:
        client.drop()
        under_way = list(tasks)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
