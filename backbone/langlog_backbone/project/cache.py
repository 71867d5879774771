"""`langgraph_sdk.cache` in a project's code: entries that nodes, authentication handlers and custom routes share, for a limited time.

    cache:<SHA-256 of the key>    string: `_HEADER`, and the value as JSON; expires
    cache-index:order             sorted set: SHA-256 -> when the entry expires (ms)
    cache-index:sizes             hash: SHA-256 -> bytes; ``bytes`` of all entries

The SDK's functions call into the server that runs them; `open_cache` replaces them by langlog's. An entry belongs to the deployment
(``REDIS_KEY_PREFIX``), not to a user: code that stores data of one user puts the user into the key. Over
LANGLOG_CACHE_MAX_BYTES the entries that expire first are removed. Ages are measured by Redis' clock alone.

Concurrency: a `ProjectCache` belongs to the event loop that made it; the functions may be called on any loop, and reach it by a
thread-safe hop. A loader runs on the caller's loop. While Redis is unavailable every entry is missing and nothing is
stored, so that loaders are called; one line is logged. Nothing of it outlives Redis.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any, Literal, NamedTuple, TypeVar

import structlog

from ..process.retry import Availability
from ..process.settings import Settings
from ..redis.client import RedisPipe, RedisUnavailable
from .loopback import import_sdk

logger = structlog.get_logger(__name__)

T = TypeVar("T")

Status = Literal["miss", "fresh", "stale", "expired"]
MAX_TTL_MS = 86_400_000
"""Maximum time to live, in milliseconds: a day, which `langgraph_sdk.cache` documents as the maximum and as the default."""
ENTRY_BYTES = 450
"""Bytes that an entry takes in Redis besides its value, including the index."""
DROPS = 64
"""Maximum number of entries that one write removes: it must not block Redis for long."""
UNSET: Any = object()

_PUT = """
local key, order, sizes = KEYS[1], KEYS[2], KEYS[3]
local id, value, ttl, limit, drops = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local prefix = ARGV[6]
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)

local function forget(gone)
  local size = redis.call('HGET', sizes, gone)
  if size then redis.call('HINCRBY', sizes, 'bytes', '-' .. size) end
  redis.call('HDEL', sizes, gone)
  redis.call('ZREM', order, gone)
end

-- a Redis that is full refuses a script whose first write takes memory, and lets it go on once it has written
redis.call('HDEL', sizes, '')
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', order, '-inf', now, 'LIMIT', 0, drops)) do forget(gone) end
forget(id)
local size = #value + tonumber(ARGV[7])
redis.call('SET', key, value, 'PX', ttl)
redis.call('ZADD', order, now + ttl, id)
redis.call('HSET', sizes, id, size)
local bytes = redis.call('HINCRBY', sizes, 'bytes', size)
local left = drops
while bytes > limit and left > 0 do
  local first = redis.call('ZRANGE', order, 0, 0)[1]
  if not first then
    redis.call('DEL', sizes)
    break
  end
  redis.call('UNLINK', prefix .. first)
  forget(first)
  bytes = tonumber(redis.call('HGET', sizes, 'bytes')) or 0
  left = left - 1
end
-- an index whose entries all expired goes as well; it is made anew by the next write
local longest = tonumber(redis.call('ZRANGE', order, -1, -1, 'WITHSCORES')[2] or now)
redis.call('PEXPIREAT', order, longest + 1000)
redis.call('PEXPIREAT', sizes, longest + 1000)
return bytes
"""
"""ARGV: SHA-256, entry, time to live (ms), bound (bytes), `DROPS`, prefix of entries, `ENTRY_BYTES`."""

_GET = """
local value = redis.call('GET', KEYS[1])
if not value then return false end
return {value, redis.call('PTTL', KEYS[1])}
"""


class Entry(NamedTuple):
    value: Any
    age_ms: int


class ProjectCache:
    """Make it on the loop that owns ``pipe``."""

    def __init__(self, pipe: RedisPipe, settings: Settings) -> None:
        self._loop = asyncio.get_running_loop()
        self._pipe = pipe
        self._max_bytes = settings.cache_max_bytes
        self._max_value_bytes = settings.cache_max_value_bytes
        self._availability = Availability("project-cache", "redis")
        self._refreshing: dict[tuple[asyncio.AbstractEventLoop, str], asyncio.Task[Any]] = {}
        """Tasks that reload entries in the background, by key and event loop."""

    async def get(self, key: str) -> Any | None:
        """Return the value; None when the key is missing or Redis is unavailable. Raises TypeError for a key that is not text."""
        entry = await self.entry(key)
        return None if entry is None else entry.value

    async def set(self, key: str, value: Any, ttl: timedelta | None = None) -> None:
        """Store a JSON value for ``ttl`` (none, zero or over a day: a day).

        Raises TypeError or ValueError for what is not JSON, is larger than LANGLOG_CACHE_MAX_VALUE_BYTES, or a negative ``ttl``.
        """
        ttl_ms = _milliseconds(ttl, "ttl") or MAX_TTL_MS
        entry = self._encoded(key, value, ttl_ms)
        await self._on_own_loop(self._put(_id(key), entry, ttl_ms))

    async def entry(self, key: str) -> Entry | None:
        """Return the value and its age in milliseconds, or None as in `get`."""
        return await self._on_own_loop(self._get(_id(key)))

    async def revalidated(
        self,
        key: str,
        loader: Callable[[], Awaitable[T]],
        *,
        fresh_for: timedelta,
        max_age: timedelta,
        model: Any = None,
    ) -> tuple[Any, Status]:
        """Return the cached value while it is young enough, otherwise the loader's.

        A stale one is returned at once and reloaded in the background. ``model``: a pydantic model that values are converted
        to. Raises the loader's errors, and those of `set`.
        """
        fresh_ms, age_ms = _milliseconds(fresh_for, "fresh_for"), _milliseconds(max_age, "max_age") or MAX_TTL_MS
        entry = await self.entry(key)
        status: Status = "miss"
        if entry is not None:
            value, usable = _restored(entry.value, model)
            if usable and entry.age_ms < fresh_ms:
                return value, "fresh"
            if usable and entry.age_ms < age_ms:
                self._refresh(key, loader, max_age)
                return value, "stale"
            if usable:
                status = "expired"
        return await self.load(key, loader, max_age), status

    async def load(self, key: str, loader: Callable[[], Awaitable[T]], max_age: timedelta) -> T:
        value = await loader()
        await self.set(key, plain(value), max_age)
        return value

    def _refresh(self, key: str, loader: Callable[[], Awaitable[T]], max_age: timedelta) -> None:
        loop = asyncio.get_running_loop()
        if (loop, key) in self._refreshing:
            return
        task = loop.create_task(self.load(key, loader, max_age), name="cache-refresh")
        self._refreshing[loop, key] = task

        def done(task: asyncio.Task[Any]) -> None:
            self._refreshing.pop((loop, key), None)
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.warning("cache.refresh_failed", key=key, error=f"{type(error).__name__}: {error}")

        task.add_done_callback(done)

    def _encoded(self, key: str, value: Any, ttl_ms: int) -> bytes:
        try:
            text = json.dumps(value, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as error:
            raise type(error)(f"cache key {key!r}: the value is not JSON: {error}") from None
        if len(text) > self._max_value_bytes:
            raise ValueError(
                f"cache key {key!r}: the value is {len(text)} bytes as JSON, over the limit of {self._max_value_bytes}; "
                "LANGLOG_CACHE_MAX_VALUE_BYTES raises it"
            )
        return f"{ttl_ms}\n{text}".encode()

    async def _put(self, id: str, entry: bytes, ttl_ms: int) -> None:
        keys = [
            self._pipe.key("cache", id),
            self._pipe.key("cache-index", "order"),
            self._pipe.key("cache-index", "sizes"),
        ]
        arguments = (id, entry, ttl_ms, self._max_bytes, DROPS, self._pipe.key("cache", ""), ENTRY_BYTES)
        await self._call("EVAL", _PUT, len(keys), *keys, *arguments)

    async def _get(self, id: str) -> Entry | None:
        stored = await self._call("EVAL", _GET, 1, self._pipe.key("cache", id))
        if stored is None:
            return None
        ttl_ms, _, text = bytes(stored[0]).partition(b"\n")
        return Entry(json.loads(text), max(0, int(ttl_ms) - int(stored[1])))

    async def _call(self, *command: Any) -> Any:
        try:
            with self._availability.attempt():
                return await self._pipe.call(*command)
        except RedisUnavailable:
            return None

    async def _on_own_loop(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if asyncio.get_running_loop() is self._loop:
            return await coroutine
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._loop))


def plain(value: Any) -> Any:
    """Return a pydantic model as JSON members, other values unchanged."""
    dump = getattr(value, "model_dump", None)
    return value if dump is None else dump(mode="json")


def _restored(value: Any, model: Any) -> tuple[Any, bool]:
    """Return the value, and whether it can be used: an entry of an older version of the project may not fit its model."""
    if model is None:
        return value, True
    try:
        return model.model_validate(value), True
    except ValueError:
        return None, False


def _id(key: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a cache key is text, not {type(key).__name__}")
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def _milliseconds(time: timedelta | None, name: str) -> int:
    """Return the duration in milliseconds, at most a day; 0 for None. Raises ValueError for less than 0."""
    if time is None:
        return 0
    if time < timedelta(0):
        raise ValueError(f"{name} is {time}: it must not be negative")
    return min(max(time // timedelta(milliseconds=1), 1 if time else 0), MAX_TTL_MS)


def open_cache(pipe: RedisPipe, settings: Settings) -> None:
    """Make `langgraph_sdk.cache` of this process store its entries in Redis. Call it on the loop that owns ``pipe``."""
    try:
        module: Any = import_sdk("langgraph_sdk.cache")
    except ImportError:  # an older SDK, which has no cache
        return
    if not all(hasattr(module, name) for name in ("_cache_get", "_cache_set", "_api_swr", "SWRResult")):
        logger.warning("cache.unavailable", reason="this langgraph-sdk has no known opening for servers")
        return
    cache = ProjectCache(pipe, settings)

    class Result(module.SWRResult):  # type: ignore[misc]  # the SDK's class, known at run time
        """Result of `langgraph_sdk.cache.swr`."""

        def __init__(self, value: Any, status: Status, key: str, loader: Any, max_age: timedelta) -> None:
            self.value = value
            self.status = status
            self._key, self._loader, self._max_age = key, loader, max_age

        async def mutate(self, value: Any = UNSET) -> Any:
            """Store ``value``, or the loader's value if none is given, and return it."""
            if value is UNSET:
                value = await cache.load(self._key, self._loader, self._max_age)
            else:
                await cache.set(self._key, plain(value), self._max_age)
            self.value, self.status = value, "fresh"
            return value

    async def swr(
        key: str,
        loader: Callable[[], Awaitable[Any]],
        *,
        fresh_for: timedelta,
        max_age: timedelta,
        model: Any = None,
    ) -> Result:
        value, status = await cache.revalidated(key, loader, fresh_for=fresh_for, max_age=max_age, model=model)
        return Result(value, status, key, loader, max_age)

    module._cache_get, module._cache_set, module._api_swr = cache.get, cache.set, swr
