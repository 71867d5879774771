"""The lease of a worker: kept while it lives, told apart from a wiped Redis when Redis does not know it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from langlog_backbone.process.settings import Settings
from langlog_backbone.redis.client import RedisPipe
from langlog_executor.runtime.lease import Lease
from redis import Redis

from tests.stack.sources import SteppedClock

LEASE_S = 1.5
"""Short, because a renewal is waited for; by the lease's own clock no time passes but what a test lets pass."""
LIMIT_S = 60.0


class Watched:
    """A lease whose callbacks are awaited on the test's loop."""

    def __init__(self, settings: Settings) -> None:
        loop = asyncio.get_running_loop()
        self.calls: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

        def recorder(what: str) -> Any:
            return lambda worker: loop.call_soon_threadsafe(self.calls.put_nowait, (what, worker))

        self.clock = SteppedClock()
        self.lease = Lease(settings, on_lost=recorder("lost"), on_wiped=recorder("wiped"), clock=self.clock.monotonic)

    async def next(self) -> tuple[str, str]:
        return await asyncio.wait_for(self.calls.get(), LIMIT_S)


@pytest.fixture
def quick(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, lease_s=LEASE_S)


@pytest.fixture
async def pipe(quick: Settings) -> AsyncIterator[RedisPipe]:
    made = RedisPipe(quick)
    yield made
    await made.stop()


@pytest.fixture
async def watched(quick: Settings) -> AsyncIterator[Watched]:
    made = Watched(quick)
    await asyncio.to_thread(made.lease.start)
    yield made
    await asyncio.to_thread(made.lease.stop)


async def holders(pipe: RedisPipe) -> dict[str, float]:
    """Worker -> server time until which it holds, of all leases."""
    flat = await pipe.call("ZRANGE", pipe.key("leases"), 0, -1, "WITHSCORES")
    return {flat[i].decode(): float(flat[i + 1]) for i in range(0, len(flat), 2)}


async def until(pipe: RedisPipe, wanted: Any) -> dict[str, float]:
    async with asyncio.timeout(LIMIT_S):
        while not wanted(result := await holders(pipe)):
            await asyncio.sleep(0.01)
    return result


async def test_nothing_is_begun_before_the_lease_is_taken(watched: Watched, pipe: RedisPipe) -> None:
    assert list(await holders(pipe)) == [watched.lease.worker]


async def test_the_lease_is_renewed_however_busy_the_event_loop_is(
    quick: Settings, watched: Watched, pipe: RedisPipe
) -> None:
    before = (await holders(pipe))[watched.lease.worker]
    until = time.monotonic() + LIMIT_S
    with Redis.from_url(quick.redis_uri) as client:
        while float(client.zscore(pipe.key("leases"), watched.lease.worker) or 0) <= before:  # type: ignore[arg-type]
            assert time.monotonic() < until
            time.sleep(0.01)  # the loop has no turn all the while
    assert watched.calls.empty(), "it was not lost"


async def test_after_a_wipe_the_same_worker_takes_its_lease_again(watched: Watched, pipe: RedisPipe) -> None:
    worker = watched.lease.worker
    await pipe.call("DEL", pipe.key("leases"))
    watched.lease.hurry()
    assert await watched.next() == ("wiped", worker)
    assert list(await until(pipe, lambda found: found)) == [worker]


async def test_a_worker_that_slept_over_its_lease_goes_on_under_a_new_id(quick: Settings, pipe: RedisPipe) -> None:
    watched = Watched(quick)
    lease = watched.lease
    await asyncio.to_thread(lease.start)
    worker = lease.worker
    watched.clock.sleep(2 * LEASE_S)  # as if the process had been stopped for that long
    await pipe.call("ZREM", pipe.key("leases"), worker)  # what the scheduler's reaping does
    lease.hurry()
    assert await watched.next() == ("lost", worker)
    assert lease.worker != worker
    assert list(await until(pipe, lambda found: found)) == [lease.worker]
    await asyncio.to_thread(lease.stop)


async def test_a_defect_in_what_a_worker_says_of_itself_costs_no_lease(quick: Settings, pipe: RedisPipe) -> None:
    numbers = iter(range(1_000))

    def describe() -> bytes:
        if next(numbers):
            raise RuntimeError("Set changed size during iteration")
        return b"a worker"

    lease = Lease(quick, on_lost=lambda _: None, on_wiped=lambda _: None, about=describe)
    await asyncio.to_thread(lease.start)
    begun = (await until(pipe, lambda found: found))[lease.worker]
    lease.hurry()
    renewed = await until(pipe, lambda found: any(score > begun for score in found.values()))
    assert list(renewed) == [lease.worker]
    await asyncio.to_thread(lease.stop)
