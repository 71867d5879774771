"""Redis' memory is watched, and frames are kept within what it has."""

from __future__ import annotations

from pathlib import Path

import pytest
from langlog_backbone.context import open_backbone
from langlog_backbone.embedded.servers import EmbeddedRedis
from langlog_backbone.redis.kept_frames import KeptFrames
from langlog_backbone.redis.memory import RedisMemory
from langlog_scheduler.redis_memory import Bound, RedisMemoryWatch, bound
from structlog.testing import capture_logs

from tests.stack.fixtures import MakeSettings


@pytest.mark.parametrize(
    ("memory", "was_nearly_full", "expected"),
    [
        (RedisMemory(10, 0, "noeviction"), False, Bound(1000, False, False)),
        (RedisMemory(10, 4000, "noeviction"), False, Bound(1000, False, False)),
        (RedisMemory(10, 400, "volatile-ttl"), False, Bound(200, False, False)),
        (RedisMemory(320, 400, "noeviction"), False, Bound(200, True, False)),
        (RedisMemory(300, 400, "noeviction"), False, Bound(200, False, False)),
        (RedisMemory(300, 400, "noeviction"), True, Bound(200, True, False)),
        (RedisMemory(10, 400, "allkeys-lru"), False, Bound(200, False, True)),
    ],
)
def test_frames_have_half_of_what_redis_has(memory: RedisMemory, was_nearly_full: bool, expected: Bound) -> None:
    assert bound(memory, 1000, was_nearly_full=was_nearly_full) == expected


@pytest.mark.parametrize("log_kind", ["sqlite"])
async def test_a_redis_that_fills_up_is_warned_of_and_frames_make_room(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    server = EmbeddedRedis(tmp_path / "own")
    await server.start()
    try:
        async with open_backbone(make_settings(redis_uri=server.uri)) as backbone:
            pipe, frames = backbone.pipe, KeptFrames(backbone.pipe, backbone.settings)
            for n in range(200):
                frames.add(f"t{n}", bytes(10_000))
                frames.note(f"t{n}", 10_000, running=False, followed=True)
            await pipe.call("SET", pipe.key("ballast"), bytes(2_000_000))
            used = int((await pipe.call("INFO", "memory")).split(b"used_memory:")[1].split()[0])
            await pipe.call("CONFIG", "SET", "maxmemory", used + 100_000)
            watch = RedisMemoryWatch(backbone)
            with capture_logs() as logs:
                await watch.check()
                await pipe.call("CONFIG", "SET", "maxmemory", 1_000_000)
                await pipe.call("DEL", pipe.key("ballast"))
                await watch.check()
                while (await frames.counts()).bytes > 500_000:
                    await watch.check()
            assert {"redis.nearly_full", "redis.frames_dropped"} <= {line["event"] for line in logs}
            counts = await frames.counts()
            assert 0 < counts.bytes <= 500_000
            assert await pipe.call("EXISTS", pipe.key("frames:t199"))
    finally:
        await server.stop()
