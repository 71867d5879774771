"""Another program's values under langlog's keys in Redis: health checks name the key and the remedy."""

from __future__ import annotations

import asyncio

import pytest
from langlog_backbone.context import open_backbone
from langlog_backbone.embedded.servers import EmbeddedRedis
from langlog_backbone.probe import FRESH_S, Probe
from langlog_backbone.process.server_errors import RedisKeyForeign
from langlog_backbone.process.settings import Settings
from langlog_backbone.redis.client import RedisPipe
from langlog_backbone.redis.hot_queue import HotQueue
from langlog_backbone.redis.key_kinds import KINDS

from tests.stack.fixtures import MakeSettings


@pytest.mark.parametrize("key", list(KINDS))
async def test_a_key_with_a_value_of_another_kind_is_named(redis_server: EmbeddedRedis, key: str) -> None:
    settings = Settings(redis_uri=redis_server.uri, redis_prefix=f"kinds:{key}:")
    pipe = RedisPipe(settings)
    queue = HotQueue(pipe, settings)
    await queue.check_usable()
    await pipe.call("SET", pipe.key(key), "of another", "EX", 60)
    with pytest.raises(
        RedisKeyForeign, match=rf"the key kinds:{key}:{key} holds a string .* a {KINDS[key]}: .*REDIS_KEY_PREFIX"
    ):
        await queue.check_usable()
    await pipe.call("DEL", pipe.key(key))
    await queue.check_usable()
    await queue.stop()
    await pipe.stop()


@pytest.mark.parametrize("log_kind", ["sqlite"])
async def test_a_process_with_such_a_key_is_not_ready_until_it_is_gone(make_settings: MakeSettings) -> None:
    async with open_backbone(make_settings()) as backbone:
        probe = Probe(backbone.pool, backbone.queue, backbone.log)
        assert await probe.failures() == {}
        await backbone.pipe.call("SET", backbone.pipe.key("leases"), "of another")
        await asyncio.sleep(FRESH_S)  # a result is used for so long
        failures = await probe.failures()
        assert list(failures) == ["redis"]
        assert backbone.pipe.key("leases") in failures["redis"] and "delete the key" in failures["redis"]
        await backbone.pipe.call("DEL", backbone.pipe.key("leases"))
        await asyncio.sleep(FRESH_S)  # as above
        assert await probe.failures() == {}
