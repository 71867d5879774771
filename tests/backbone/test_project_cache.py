"""`langgraph_sdk.cache` on Redis: what it keeps, for how long, how much, and from which loop."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
from langgraph_sdk import cache as sdk
from langlog_backbone.embedded.servers import EmbeddedRedis
from langlog_backbone.process.settings import Settings
from langlog_backbone.project.cache import ProjectCache, open_cache
from langlog_backbone.redis.client import RedisPipe
from pydantic import BaseModel

HOUR = timedelta(hours=1)


@pytest.fixture
def settings(redis_server: EmbeddedRedis) -> Settings:
    return Settings(
        redis_uri=redis_server.uri,
        redis_prefix=f"{uuid.uuid4().hex}:",
        cache_max_bytes=20_000,
        cache_max_value_bytes=5_000,
    )


@pytest.fixture
async def pipe(settings: Settings) -> AsyncIterator[RedisPipe]:
    pipe = RedisPipe(settings)
    yield pipe
    await pipe.stop()


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    names = ("_cache_get", "_cache_set", "_api_swr")
    before = {name: getattr(sdk, name) for name in names}
    yield
    for name in names:
        setattr(sdk, name, before[name])


@pytest.fixture(autouse=True)
async def opened(pipe: RedisPipe, settings: Settings, restored: None) -> None:
    open_cache(pipe, settings)


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -1.5, 2**70, "text", "", "\ud800\0é", [], [1, [2, {"a": None}]], {"a": {"b": []}}],
)
async def test_json_values_come_back_as_they_were(value: Any) -> None:
    await sdk.cache_set("k", value)
    assert await sdk.cache_get("k") == value


async def test_keys_are_texts_of_any_length_and_kind() -> None:
    keys = ["", "a", "a:b", "é\0\ud800", "x" * 1_000_000]
    for n, key in enumerate(keys):
        await sdk.cache_set(key, n)
    assert [await sdk.cache_get(key) for key in keys] == [0, 1, 2, 3, 4]
    assert await sdk.cache_get("another") is None
    with pytest.raises(TypeError, match="not int"):
        await sdk.cache_get(3)  # type: ignore[arg-type]


async def test_an_entry_lives_as_long_as_it_was_given_and_a_day_at_most(pipe: RedisPipe) -> None:
    for ttl, expected in ((None, 86_400), (timedelta(0), 86_400), (timedelta(days=3), 86_400), (HOUR, 3_600)):
        await sdk.cache_set("k", 1, ttl=ttl)
        (key,) = await pipe.call("KEYS", pipe.key("cache", "*"))
        assert expected - 5 <= int(await pipe.call("TTL", key)) <= expected
    await sdk.cache_set("k", 1, ttl=timedelta(microseconds=1))
    await asyncio.sleep(0.005)  # its time passes: there is nothing to wait for
    assert await sdk.cache_get("k") is None
    with pytest.raises(ValueError, match="must not be negative"):
        await sdk.cache_set("k", 1, ttl=timedelta(seconds=-1))


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", math.nan, {"a": object()}])
async def test_what_is_not_json_is_refused_with_the_key(value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="cache key 'mine': the value is not JSON"):
        await sdk.cache_set("mine", value)


async def test_a_value_over_the_bound_is_refused_and_names_the_setting() -> None:
    with pytest.raises(ValueError, match="5002 bytes as JSON, over the limit of 5000; LANGLOG_CACHE_MAX_VALUE_BYTES"):
        await sdk.cache_set("k", "x" * 5_000)


async def test_all_entries_together_stay_within_the_bound_and_those_that_expire_first_go(
    pipe: RedisPipe, settings: Settings
) -> None:
    await sdk.cache_set("long", "x" * 1_000, ttl=timedelta(hours=20))
    for n in range(100):
        await sdk.cache_set(f"k{n}", "x" * 1_000, ttl=timedelta(minutes=n + 1))
        await sdk.cache_set("same", n, ttl=timedelta(hours=10))  # written anew, it counts once
    keys = await pipe.call("KEYS", pipe.key("cache*"))
    used = sum([int(await pipe.call("MEMORY", "USAGE", key)) for key in keys])
    assert used <= settings.cache_max_bytes
    assert len(keys) > 12
    assert await sdk.cache_get("long") == "x" * 1_000
    assert await sdk.cache_get("same") == 99
    assert await sdk.cache_get("k1") is None
    assert await sdk.cache_get("k99") is not None


async def test_entries_that_expired_make_room_and_a_lost_index_is_made_anew(pipe: RedisPipe) -> None:
    for n in range(10):
        await sdk.cache_set(f"short{n}", "x" * 1_000, ttl=timedelta(milliseconds=1))
    await asyncio.sleep(0.01)  # as above
    await sdk.cache_set("a", 1)
    assert int(await pipe.call("HGET", pipe.key("cache-index", "sizes"), "bytes")) < 500
    await pipe.call("DEL", pipe.key("cache-index", "order"))
    await pipe.call("HSET", pipe.key("cache-index", "sizes"), "bytes", 10**9)
    for n in range(5):
        await sdk.cache_set(f"b{n}", n)
    assert [await sdk.cache_get(f"b{n}") for n in (3, 4)] == [3, 4]


async def test_deployments_that_share_a_redis_do_not_see_each_other(pipe: RedisPipe, settings: Settings) -> None:
    await sdk.cache_set("k", "mine")
    other = Settings(redis_uri=settings.redis_uri, redis_prefix="other:")
    second = RedisPipe(other)
    assert await ProjectCache(second, other).get("k") is None
    await second.stop()


async def test_other_loops_and_threads_use_it_too() -> None:
    async def work() -> Any:
        await sdk.cache_set("k", [1])
        result = await sdk.swr("k", lambda: asyncio.sleep(0, [2]), fresh_for=HOUR)
        return await sdk.cache_get("k"), result.status

    assert await asyncio.to_thread(asyncio.run, work()) == ([1], "fresh")


class Loads:
    def __init__(self) -> None:
        self.count = 0
        self.loaded = asyncio.Event()

    async def __call__(self) -> int:
        self.count += 1
        self.loaded.set()
        return self.count


async def test_swr_gives_fresh_values_as_they_are_and_renews_stale_ones_behind_the_callers_back() -> None:
    load = Loads()
    first = await sdk.swr("k", load, fresh_for=HOUR)
    assert (first.value, first.status) == (1, "miss")
    assert isinstance(first, sdk.SWRResult)
    second = await sdk.swr("k", load, fresh_for=HOUR)
    assert (second.value, second.status) == (1, "fresh")
    load.loaded.clear()
    stale = await sdk.swr("k", load)  # fresh for no time at all
    assert (stale.value, stale.status) == (1, "stale")
    await load.loaded.wait()
    while await sdk.cache_get("k") != 2:  # the write follows the load
        await asyncio.sleep(0)
    await asyncio.sleep(0.003)  # two milliseconds of age
    old = await sdk.swr("k", load, max_age=timedelta(milliseconds=1))
    assert (old.value, old.status) == (3, "expired")
    assert await old.mutate() == 4
    assert await old.mutate(10) == 10
    assert (old.value, old.status) == (10, "fresh")


async def test_swr_passes_on_what_a_loader_raises_but_for_a_refresh() -> None:
    async def broken() -> int:
        raise LookupError("no such user")

    with pytest.raises(LookupError, match="no such user"):
        await sdk.swr("k", broken)
    await sdk.cache_set("k", 7)
    assert (await sdk.swr("k", broken)).value == 7


class Person(BaseModel):
    name: str
    born: int = 0


async def test_swr_keeps_models_as_json_and_gives_them_back_as_models() -> None:
    async def load() -> Person:
        return Person(name="Ada", born=1815)

    for status in ("miss", "fresh"):
        result = await sdk.swr("k", load, fresh_for=HOUR, model=Person)
        assert (result.value, result.status) == (Person(name="Ada", born=1815), status)
    assert await sdk.cache_get("k") == {"name": "Ada", "born": 1815}
    await sdk.cache_set("k", {"former": "shape"})
    again = await sdk.swr("k", load, fresh_for=HOUR, model=Person)
    assert (again.value.name, again.status) == ("Ada", "miss")


async def test_without_redis_everything_is_a_miss(redis_server: EmbeddedRedis, tmp_path: Any) -> None:
    settings = Settings(redis_uri=f"unix://{tmp_path}/nobody.sock")
    pipe = RedisPipe(settings)
    open_cache(pipe, settings)
    await sdk.cache_set("k", 1)
    assert await sdk.cache_get("k") is None
    load = Loads()
    assert [(await sdk.swr("k", load, fresh_for=HOUR)).status for _ in range(2)] == ["miss", "miss"]
    assert load.count == 2
    await pipe.stop()
