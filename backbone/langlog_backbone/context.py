"""The things that services of one process share, opened and closed together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import NamedTuple

from .log import Log, LogFault, LogSilent, LogUnavailable, open_log
from .log.encryption.keys import check_readable
from .metrics.exposition import EXPOSITION
from .postgres.database import connect_pool, ensure_read_model, of_services
from .postgres.pool import Pool
from .postgres.server_clock import following_postgres
from .process.retry import Availability, until_available
from .process.service import StartError
from .process.settings import Settings
from .process.tracing import tracing
from .read_model.positions import ReadPositions
from .read_model.same_log import check_same_log
from .redis import channels
from .redis.client import Bus, RedisPipe, check_redis
from .redis.hot_queue import HotQueue

CLOSE_S = 5.0
"""Seconds for statements under way when the pool closes; after that their connections are cut."""


class Backbone(NamedTuple):
    settings: Settings
    log: Log
    pool: Pool
    pipe: RedisPipe
    bus: Bus
    queue: HotQueue
    positions: ReadPositions


@contextlib.asynccontextmanager
async def open_backbone(settings: Settings, *, local: bool = False) -> AsyncIterator[Backbone]:
    """Yield the connected parts, with the read model's tables made. ``local``: see `redis.client.Bus`.

    Raises StartError with one line that names what is missing.
    """
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(tracing())
        await check_redis(settings.redis_uri, settings.redis_prefix)
        positions = ReadPositions()
        pool = Pool(await connect_pool(settings, opened=positions.advance, size=None, **of_services(settings)))
        stack.push_async_callback(_close, pool)
        EXPOSITION.add("postgres", pool.collect)
        stack.callback(EXPOSITION.remove, pool.collect)
        await ensure_read_model(pool, settings)
        await check_readable(pool, settings)
        await stack.enter_async_context(following_postgres(pool))
        log = open_log(settings)
        try:
            await start_log(log, Availability("start", "log"))
            stack.push_async_callback(log.stop)
            await check_same_log(pool.fetch, log, settings.projection)
        except (LogUnavailable, LogFault) as error:
            raise StartError(str(error)) from None
        pipe = RedisPipe(settings)
        stack.push_async_callback(pipe.stop)
        bus = Bus(pipe, settings, local=local)
        await bus.start()
        stack.push_async_callback(bus.stop)
        await bus.subscribe(channels.WATERMARK, positions.on_watermark, remote=False)
        queue = HotQueue(pipe, settings)
        stack.push_async_callback(queue.stop)
        yield Backbone(settings, log, pool, pipe, bus, queue, positions)


async def start_log(log: Log, availability: Availability) -> None:
    """Start the log, however long its servers accept connections and do not answer: that they stand still ends no service.

    Raises StartError if there is no server at this address, and LogFault.
    """

    async def start_once() -> None:
        try:
            await log.start()
        except LogSilent:
            raise
        except LogUnavailable as error:
            raise StartError(str(error)) from None

    await until_available(start_once, on=availability)


async def _close(pool: Pool) -> None:
    """Close the parts. Connections that are held for too long are cut."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            await pool.close()
