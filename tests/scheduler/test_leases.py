"""Leases that ran out because Redis refused to let workers renew them."""

from __future__ import annotations

from typing import Any

import pytest
from langlog_backbone.embedded.servers import EmbeddedRedis
from langlog_backbone.process.server_errors import RedisUnavailable
from langlog_backbone.process.settings import Settings
from langlog_backbone.redis.client import RedisPipe
from langlog_backbone.redis.hot_queue import HotQueue
from langlog_scheduler.leases import Leases
from langlog_schemas.messages import Task

from tests.stack.sources import SteppedClock

LEASE_S = 3600.0
"""Longer than any test: a lease ends where the test says so."""
PREFIX = "refused:"
TASK = Task(
    run_id="r",
    thread_id="t",
    attempt=1,
    assistant_id="a",
    graph_id="g",
    kwargs=b"{}",
    metadata=b"{}",
    created_at="2026-01-01T00:00:00.000000+00:00",
)


async def run_out(pipe: RedisPipe) -> None:
    """Let the worker's lease end."""
    assert await pipe.call("ZADD", f"{PREFIX}leases", "XX", "CH", "1", "w") == 1


async def test_workers_may_renew_before_they_are_taken_for_dead(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    await server.start()
    settings = Settings(redis_uri=server.uri, redis_prefix=PREFIX, lease_s=LEASE_S)
    pipe = RedisPipe(settings)
    queue = HotQueue(pipe, settings)
    nothing: Any = None  # neither read model nor workers are asked
    clock = SteppedClock()
    leases = Leases(nothing, queue, settings, nothing, clock.monotonic)
    await queue.lease("w", fresh=True)
    await queue.push([TASK])
    assert [task.id for task in await queue.claim("w", 1, 1.0)] == [TASK.id]
    await run_out(pipe)  # while nobody can renew it
    await pipe.call("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(RedisUnavailable):
        await queue.lease("w")
    with pytest.raises(RedisUnavailable):
        await leases.lost()
    with pytest.raises(RedisUnavailable):
        await queue.check_writable()  # another dispatch would get lost as well
    await pipe.call("REPLICAOF", "NO", "ONE")
    assert await leases.lost() == []
    assert await queue.lease("w"), "it is still the worker's"
    assert [task.id for task in await queue.held("w")] == [TASK.id]
    await run_out(pipe)  # again, and nobody is refused any more
    assert await leases.lost() == []
    assert await queue.held("w"), "those who live have the time of a lease to renew it"
    clock.sleep(LEASE_S)
    with pytest.raises(AttributeError, match="fetch"):  # the read model is asked about what was taken from the worker
        await leases.lost()
    assert not await queue.held("w")
    await queue.stop()
    await pipe.stop()
    await server.stop()
