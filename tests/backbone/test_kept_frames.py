"""The frames that Redis keeps are bounded on the whole."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator

import pytest
from langlog_backbone.embedded.servers import EmbeddedRedis
from langlog_backbone.process.settings import Settings
from langlog_backbone.redis import channels
from langlog_backbone.redis.client import RedisPipe
from langlog_backbone.redis.kept_frames import BATCH_BYTES, KeptFrames

BODY = os.urandom(2_000)
STREAM_BYTES = 20 * (len(BODY) + BATCH_BYTES)


@pytest.fixture
def settings(redis_server: EmbeddedRedis) -> Settings:
    return Settings(redis_uri=redis_server.uri, redis_prefix=f"{uuid.uuid4().hex}:", frames_max_bytes=1_000_000)


@pytest.fixture
async def pipe(settings: Settings) -> AsyncIterator[RedisPipe]:
    pipe = RedisPipe(settings)
    yield pipe
    await pipe.stop()


@pytest.fixture
def kept(pipe: RedisPipe, settings: Settings) -> KeptFrames:
    return KeptFrames(pipe, settings)


def write(
    kept: KeptFrames, thread_id: str, *, running: bool = False, followed: bool = False, batches: int = 20
) -> None:
    for _ in range(batches):
        kept.add(thread_id, BODY)
    kept.note(thread_id, batches * (len(BODY) + BATCH_BYTES), running=running, followed=followed)


async def batches_of(pipe: RedisPipe, thread_id: str) -> int:
    return int(await pipe.call("XLEN", pipe.key(channels.frames(thread_id))))


async def test_frames_of_many_runs_stay_within_the_bound_and_it_counts_what_redis_uses(
    kept: KeptFrames, pipe: RedisPipe, settings: Settings
) -> None:
    for n in range(300):
        write(kept, f"t{n}")
    counts = await kept.counts()
    assert counts.bytes <= settings.frames_max_bytes
    used = sum(
        await asyncio.gather(
            *(pipe.call("MEMORY", "USAGE", key) for key in await pipe.call("KEYS", pipe.key("frame*")))
        )
    )
    assert used == pytest.approx(counts.bytes, rel=0.25)
    assert (counts.streams, counts.dropped) == (counts.streams, 300 - counts.streams)
    assert await batches_of(pipe, "t299") == 20
    assert await batches_of(pipe, "t0") == 0


async def test_the_frames_of_a_short_run_take_less_than_a_kilobyte_once_it_has_ended(
    kept: KeptFrames, pipe: RedisPipe
) -> None:
    for n in range(100):
        for running in (True, False):
            kept.add(f"short{n}", BODY[:150])
            kept.note(f"short{n}", 150 + BATCH_BYTES, running=running, followed=bool(n % 2))
    used = [int(await pipe.call("MEMORY", "USAGE", key)) for key in await pipe.call("KEYS", pipe.key("frame*"))]
    assert sum(used) < 100 * 1_000
    assert sum(used) == pytest.approx((await kept.counts()).bytes, rel=0.25)
    assert [batch[1][1] for batch in await pipe.call("XRANGE", pipe.key(channels.frames("short1")), "-", "+")] == [
        BODY[:150],
        BODY[:150],
    ]
    assert await pipe.call("TTL", pipe.key(channels.frames("short1"))) > 0
    kept.add("short1", BODY)  # the next run of the thread goes on with it
    assert await batches_of(pipe, "short1") == 3


async def test_what_nobody_followed_goes_first_and_what_is_being_written_last(
    kept: KeptFrames, pipe: RedisPipe
) -> None:
    write(kept, "running", running=True)
    write(kept, "followed", followed=True)
    for n in range(50):
        write(kept, f"background{n}")
    assert await batches_of(pipe, "running") == await batches_of(pipe, "followed") == 20
    for n in range(50):
        write(kept, f"seen{n}", followed=True)
    assert await batches_of(pipe, "running") == 20
    assert await batches_of(pipe, "followed") == await batches_of(pipe, "background49") == 0


async def test_a_running_stream_over_the_bound_keeps_its_newest_part(
    kept: KeptFrames, pipe: RedisPipe, settings: Settings
) -> None:
    for _ in range(100):
        write(kept, "long", running=True, followed=True)
    left = await batches_of(pipe, "long")
    assert 0 < left * len(BODY) <= settings.frames_max_bytes
    (newest,) = await pipe.call("XREVRANGE", pipe.key(channels.frames("long")), "+", "-", "COUNT", 1)
    assert newest[1][1] == BODY


async def test_a_run_that_nobody_followed_is_forgotten_sooner_unless_its_thread_was_followed(
    kept: KeptFrames, pipe: RedisPipe, settings: Settings
) -> None:
    write(kept, "alone", running=True)
    assert await pipe.call("TTL", pipe.key(channels.frames("alone"))) > settings.frames_unfollowed_s
    write(kept, "alone")
    assert 0 < await pipe.call("TTL", pipe.key(channels.frames("alone"))) <= settings.frames_unfollowed_s
    write(kept, "followed", running=True, followed=True)
    write(kept, "followed")
    assert await pipe.call("TTL", pipe.key(channels.frames("followed"))) > settings.frames_unfollowed_s


async def test_what_has_expired_or_gone_counts_no_more(kept: KeptFrames, pipe: RedisPipe, settings: Settings) -> None:
    write(kept, "deleted")
    kept.remove("deleted")
    assert await kept.counts() == (0, 0, 0)
    assert await pipe.call("EXISTS", pipe.key(channels.frames("deleted"))) == 0
    write(kept, "old")
    await pipe.call("ZADD", pipe.key("frame-index", "expiry"), 1, "old")
    await kept.trim()
    assert await kept.counts() == (0, 0, 0)


async def test_a_smaller_bound_of_the_scheduler_holds_for_all(kept: KeptFrames, pipe: RedisPipe) -> None:
    for n in range(20):
        write(kept, f"t{n}")
    await kept.trim(2 * STREAM_BYTES)
    assert (await kept.counts()).bytes <= 2 * STREAM_BYTES
    write(kept, "next")
    assert (await kept.counts()).bytes <= 2 * STREAM_BYTES
