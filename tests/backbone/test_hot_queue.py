"""The hot queue: a task is in one place at a time, and a dead worker's tasks come back."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from langlog_backbone.embedded.servers import EmbeddedRedis
from langlog_backbone.process.server_errors import RedisUnavailable
from langlog_backbone.process.settings import Settings
from langlog_backbone.redis.client import RedisPipe
from langlog_backbone.redis.hot_queue import DONE_MS, HotQueue
from langlog_schemas.messages import Task

LEASE_S = 60.0
LIMIT_S = 60.0


@pytest.fixture
async def pipe(redis_server: EmbeddedRedis) -> AsyncIterator[RedisPipe]:
    settings = Settings(redis_uri=redis_server.uri, redis_prefix=f"{uuid.uuid4().hex}:", lease_s=LEASE_S)
    pipe = RedisPipe(settings)
    pipe.settings = settings  # type: ignore[attr-defined]
    yield pipe
    await pipe.stop()


@pytest.fixture
async def queue(pipe: RedisPipe) -> AsyncIterator[HotQueue]:
    queue = HotQueue(pipe, pipe.settings)  # type: ignore[attr-defined]
    yield queue
    await queue.stop()


def task(run_id: str, attempt: int = 1) -> Task:
    return Task(
        run_id=run_id,
        thread_id=f"thread of {run_id}",
        attempt=attempt,
        assistant_id="a",
        graph_id="g",
        kwargs=b"{}",
        metadata=b"{}",
        created_at="2026-01-01T00:00:00+00:00",
    )


async def test_tasks_are_claimed_in_the_order_in_which_they_were_pushed(queue: HotQueue) -> None:
    await queue.push([task("r1"), task("r2")])
    await queue.push([task("r3")])
    claimed = await queue.claim("w", 10, 1)
    assert [t.run_id for t in claimed] == ["r1", "r2", "r3"]
    assert claimed[0] == task("r1")


async def test_a_task_that_is_pushed_again_is_not_claimed_twice(queue: HotQueue) -> None:
    """Two deciders may dispatch the same attempt: whether it waits then, is held, or is done."""
    await queue.push([task("r1")])
    await queue.push([task("r1"), task("r2")])
    assert [t.run_id for t in await queue.claim("w", 10, 1)] == ["r1", "r2"]
    await queue.push([task("r1")])
    queue.release("w", "r1:1")
    queue.release("w", "r2:1")
    await queue.push([task("r2"), task("r1"), task("r1", 2)])
    assert [t.id for t in await queue.claim("other", 10, 1)] == ["r1:2"]


async def test_a_task_that_was_withdrawn_or_reaped_is_not_pushed_again(queue: HotQueue, pipe: RedisPipe) -> None:
    await queue.push([task("r1")])
    assert await queue.withdraw("r1:1")
    await queue.lease("w", fresh=True)
    await queue.push([task("r2")])
    assert await queue.claim("w", 10, 1)
    await pipe.call("ZADD", pipe.key("leases"), 0, "w")
    assert await queue.reap() == ["r2:1"]
    await queue.push([task("r1"), task("r2"), task("r3")])
    assert [t.run_id for t in await queue.claim("other", 10, 1)] == ["r3"]


async def test_what_is_done_is_forgotten_also_by_a_redis_that_is_full(queue: HotQueue, pipe: RedisPipe) -> None:
    await queue.lease("w", fresh=True)
    await queue.push([task("r1")])
    assert await queue.claim("w", 10, 1)
    await pipe.call("CONFIG", "SET", "maxmemory", 1)
    try:
        queue.release("w", "r1:1")
        assert await pipe.call("STRLEN", pipe.key("task", "r1:1")) == 0
    finally:
        await pipe.call("CONFIG", "SET", "maxmemory", 0)
    assert await queue.known() == set()
    assert 0 < await pipe.call("PTTL", pipe.key("task", "r1:1")) <= DONE_MS


async def test_a_claim_takes_no_more_than_it_has_room_for(queue: HotQueue) -> None:
    await queue.push([task(f"r{n}") for n in range(5)])
    assert len(await queue.claim("w", 2, 1)) == 2
    assert len(await queue.claim("w", 10, 1)) == 3


async def test_a_waiting_claim_is_woken_by_a_push(queue: HotQueue) -> None:
    waiting = asyncio.create_task(queue.claim("w", 1, LIMIT_S))
    await asyncio.sleep(0)
    await queue.push([task("r1")])
    assert [t.run_id for t in await asyncio.wait_for(waiting, LIMIT_S)] == ["r1"]


async def test_a_claimed_task_is_known_until_it_is_released(queue: HotQueue, pipe: RedisPipe) -> None:
    await queue.lease("w", fresh=True)
    await queue.push([task("r1"), task("r2")])
    (claimed,) = await queue.claim("w", 1, 1)
    assert await queue.known() == {"r1:1", "r2:1"}
    queue.release("w", claimed.id)
    await pipe.flush()
    assert await queue.known() == {"r2:1"}


async def test_a_task_is_withdrawn_only_while_nobody_has_claimed_it(queue: HotQueue) -> None:
    await queue.push([task("r1"), task("r2")])
    await queue.claim("w", 1, 1)
    assert not await queue.withdraw("r1:1")
    assert await queue.withdraw("r2:1")
    assert not await queue.withdraw("r2:1")


async def test_a_renewed_lease_keeps_its_tasks_and_a_lapsed_one_gives_them_up(queue: HotQueue, pipe: RedisPipe) -> None:
    """Leases run by Redis' clock; here it is they that are moved."""
    await queue.lease("alive", fresh=True)
    await queue.lease("dead", fresh=True)
    await queue.push([task("r1"), task("r2")])
    await queue.claim("alive", 1, 1)
    await queue.claim("dead", 1, 1)
    assert await queue.reap() == []
    leases = pipe.key("leases")
    await pipe.call("ZINCRBY", leases, -LEASE_S * 500, "alive")  # half of it is over,
    half = float(await pipe.call("ZSCORE", leases, "alive"))
    assert await queue.lease("alive")
    assert float(await pipe.call("ZSCORE", leases, "alive")) >= half + LEASE_S * 500
    await pipe.call("ZINCRBY", leases, -LEASE_S * 1000, "dead")  # and all of this one
    assert await queue.reap() == ["r2:1"]
    assert await queue.reap() == []
    assert not await queue.lease("dead"), "a lapsed lease cannot be renewed"
    assert await queue.lease("alive")


async def test_after_a_wipe_a_live_worker_says_again_what_it_holds(queue: HotQueue, pipe: RedisPipe) -> None:
    await queue.lease("w", fresh=True)
    await queue.push([task("r1")])
    held = await queue.claim("w", 1, 1)
    for key in await pipe.call("KEYS", f"{pipe.prefix}*"):
        await pipe.call("DEL", key)
    assert await queue.known() == set()
    await queue.hold_again("w", held)
    assert await queue.known() == {"r1:1"}


async def test_a_full_redis_does_not_cost_a_worker_its_lease(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    await server.start()
    settings = Settings(redis_uri=server.uri, redis_prefix="full:")
    pipe = RedisPipe(settings)
    queue = HotQueue(pipe, settings)
    assert await queue.lease("w", fresh=True)
    await pipe.call("CONFIG", "SET", "maxmemory", 1)
    with pytest.raises(RedisUnavailable, match="OOM"):
        await queue.check_writable()
    with pytest.raises(RedisUnavailable, match="OOM"):
        await queue.claim("w", 1, 1.0)
    assert await queue.lease("w")
    await pipe.call("CONFIG", "SET", "maxmemory", 0)
    await queue.check_writable()
    await queue.stop()
    await pipe.stop()
    await server.stop()


async def test_what_a_worker_has_not_begun_is_given_back_as_it_was(queue: HotQueue) -> None:
    await queue.lease("leaving", fresh=True)
    await queue.push([task("begun"), task("first"), task("second"), task("other")])
    assert len(await queue.claim("leaving", 3, 1)) == 3
    assert await queue.give_back("leaving", ["begun:1"]) == 2
    assert [t.run_id for t in await queue.held("leaving")] == ["begun"]
    again = await queue.claim("w", 10, 1)
    assert [(t.run_id, t.attempt) for t in again] == [("first", 1), ("second", 1), ("other", 1)]


async def test_a_worker_that_leaves_holds_nothing_and_has_no_lease(queue: HotQueue, pipe: RedisPipe) -> None:
    await queue.lease("leaving", fresh=True)
    await queue.push([task("ended"), task("new"), task("withdrawn")])
    await queue.claim("leaving", 3, 1)
    await pipe.call("DEL", pipe.key("task", "withdrawn:1"))
    assert await queue.give_back("leaving", ["ended:1"], leave=True) == 1
    assert await queue.held("leaving") == []
    assert await queue.lease("leaving") is False
    assert [t.run_id for t in await queue.claim("w", 10, 1)] == ["new"]


async def test_a_claim_that_is_ended_takes_nothing_later(queue: HotQueue) -> None:
    await queue.end_claim()  # before any claim: nothing to end
    waiting = asyncio.create_task(queue.claim("leaving", 1, LIMIT_S))
    async with asyncio.timeout(LIMIT_S):
        while not waiting.done():
            await queue.end_claim()
            await asyncio.wait([waiting], timeout=0.02)
    assert waiting.result() == []
    await queue.push([task("r1")])
    assert await queue.held("leaving") == []
    assert [t.run_id for t in await queue.claim("w", 1, 1)] == ["r1"]


async def test_a_claim_on_another_connection_is_ended_as_well(queue: HotQueue) -> None:
    """Redis is asked for the connection's id once, and again when the connection is another one."""
    for n in range(2):
        await queue.push([task(f"r{n}")])
        assert len(await queue.claim("w", 1, 1)) == 1
    assert queue._blocking is not None
    first = queue._blocking._id
    queue._blocking.drop()
    connection = queue._blocking._connection
    assert connection is not None
    await connection.closed
    waiting = asyncio.create_task(queue.claim("w", 1, LIMIT_S))
    async with asyncio.timeout(LIMIT_S):
        while not waiting.done():
            await queue.end_claim()
            await asyncio.wait([waiting], timeout=0.02)
    assert waiting.result() == []
    assert queue._blocking._id is not first


async def test_the_id_of_a_connection_is_asked_for_once(queue: HotQueue) -> None:
    asked = set()
    for n in range(3):
        await queue.push([task(f"r{n}")])
        assert len(await queue.claim("w", 1, 1)) == 1
        assert queue._blocking is not None
        asked.add(id(queue._blocking._id))
    assert len(asked) == 1
