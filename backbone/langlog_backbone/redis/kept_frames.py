"""Frames of runs in Redis, for a limited time and within one bound for all.

    frames:<thread>       stream: batches of frames (field ``f``), written by workers
    frame-index:order     sorted set: thread -> order of removal when there are too many (`_NOTE`)
    frame-index:sizes     hash: thread -> stored bytes
    frame-index:expiry    sorted set: thread -> when its stream expires (ms)
    frame-index:counts    hash: ``bytes`` in all, ``dropped`` streams so far, ``limit`` that a scheduler has set

These frames serve clients that join a stream or return to it; frames that must last are in the log. Their bound is enforced
by the worker that writes them: a note, made when a stream is a second old, ends, and grows by `NOTE_BYTES`, removes what exceeds
the bound. It removes the frames of ended runs that no client followed, then those of other ended runs, each oldest first; then
the older half of streams that are still written. A note costs the same however many streams there are.

Concurrency: `KeptFrames` is cheap, one may be made anywhere. When a worker dies its streams expire.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from ..process.settings import Settings
from . import channels
from .client import RedisPipe

NOTE_BYTES = 262_144
"""Bytes by which a stream grows between two notes."""
THREAD_BYTES = 350
"""Bytes that a stream takes in Redis besides its batches, including the index (measured), once its run has ended."""
BATCH_BYTES = 48
"""Bytes that a batch takes besides its body (measured)."""
DROPS_PER_NOTE = 64
"""Maximum number of streams that one note removes or halves: it must not block Redis for long."""
SMALL_BYTES = 4_096
"""Size in bytes below which a stream takes only its own bytes once its run has ended."""
SHARE_OF_MAXMEMORY = 0.5
"""Maximum share of Redis' ``maxmemory``, if set, for frames."""

_NOTE = """
local order, sizes, expiry, counts = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local prefix, thread, added = ARGV[1], ARGV[2], tonumber(ARGV[3])
local running, followed, keep_ms, limit = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[8])
local CLASS = 10000000000000
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)

local function forget(gone)
  redis.call('HINCRBY', counts, 'bytes', -(tonumber(redis.call('HGET', sizes, gone)) or 0))
  redis.call('HDEL', sizes, gone)
  redis.call('ZREM', order, gone)
  redis.call('ZREM', expiry, gone)
end

-- a Redis that is full refuses a script whose first write takes memory, and lets it go on once it has written
redis.call('HDEL', counts, '')
if ARGV[11] ~= '' then redis.call('HSET', counts, 'limit', ARGV[11]) end

for _, gone in ipairs(redis.call('ZRANGEBYSCORE', expiry, '-inf', now, 'LIMIT', 0, 16)) do forget(gone) end

if thread ~= '' then
  if added < 0 then
    redis.call('UNLINK', prefix .. thread)
    forget(thread)
  else
    local before = redis.call('ZSCORE', order, thread)
    if before then
      -- what was followed once may be come back to
      if followed == 0 and math.floor(tonumber(before) / CLASS) % 2 == 1 then followed = 1 end
    else
      added = added + tonumber(ARGV[9])
    end
    if followed == 1 then keep_ms = tonumber(ARGV[7]) end
    redis.call('HINCRBY', sizes, thread, added)
    redis.call('HINCRBY', counts, 'bytes', added)
    redis.call('ZADD', order, CLASS * (2 * running + followed) + now, thread)
    redis.call('ZADD', expiry, now + keep_ms, thread)
    redis.call('PEXPIRE', prefix .. thread, keep_ms)
    -- Redis makes room for 4 KiB of batches when a stream begins: what is small, and written no more, is stored anew without it
    if running == 0 and (tonumber(redis.call('HGET', sizes, thread)) or 0) < tonumber(ARGV[12]) then
      local whole = redis.pcall('DUMP', prefix .. thread)
      if type(whole) == 'string' then redis.pcall('RESTORE', prefix .. thread, keep_ms, whole, 'REPLACE') end
    end
  end
end

local set = tonumber(redis.call('HGET', counts, 'limit'))
if set and set < limit then limit = set end
local bytes = tonumber(redis.call('HGET', counts, 'bytes')) or 0
local left = tonumber(ARGV[10])
while bytes > limit and left > 0 do
  local first = redis.call('ZRANGE', order, 0, 0, 'WITHSCORES')
  if #first == 0 then
    redis.call('HSET', counts, 'bytes', 0)
    break
  end
  local key, class = prefix .. first[1], math.floor(tonumber(first[2]) / CLASS)
  local batches = class >= 2 and redis.call('XLEN', key) or 0
  if batches > 0 then
    local size = tonumber(redis.call('HGET', sizes, first[1])) or 0
    local kept = math.floor(batches / 2)
    local freed = math.floor(size * (batches - kept) / batches)
    redis.call('XTRIM', key, 'MAXLEN', kept) -- 0 leaves the key, and its expiry
    redis.call('HINCRBY', sizes, first[1], -freed)
    redis.call('HINCRBY', counts, 'bytes', -freed)
    redis.call('ZADD', order, CLASS * class + now, first[1])
  else
    redis.call('UNLINK', key)
    forget(first[1])
  end
  redis.call('HINCRBY', counts, 'dropped', 1)
  bytes = tonumber(redis.call('HGET', counts, 'bytes')) or 0
  left = left - 1
end
return bytes
"""
"""ARGV: prefix of streams, thread ('' none), bytes added (negative: the stream goes), 1 while its run executes, 1 if a client
followed it, time to live (ms), time to live if followed (ms), bound (bytes), `THREAD_BYTES`, `DROPS_PER_NOTE`, a bound
from now on ('' none), `SMALL_BYTES`."""


class Counts(NamedTuple):
    """Counts of the stored frames: bytes, streams, and streams removed or halved for the bound so far."""

    bytes: int
    streams: int
    dropped: int


class KeptFrames:
    def __init__(self, pipe: RedisPipe, settings: Settings) -> None:
        self._pipe = pipe
        self._settings = settings
        self._streams = pipe.key(channels.frames(""))
        self._keys = [pipe.key("frame-index", name) for name in ("order", "sizes", "expiry", "counts")]

    def add(self, thread_id: str, body: bytes) -> None:
        """Store a batch. Call `note` for it as well, now or later. Does not wait."""
        self._pipe.send(*self._added(thread_id, body))

    def expire(self, thread_id: str) -> None:
        """A stream has begun that is not noted yet: it goes in time if its worker dies before. Does not wait."""
        self._pipe.send("PEXPIRE", self._streams + thread_id, int(self._settings.frames_kept_s * 1000))

    async def entry(self, thread_id: str, body: bytes) -> str:
        """Store a batch, like `add`, and return the id of its stream entry. Raises RedisUnavailable, as RedisRefused
        when Redis is full."""
        added: bytes = await self._pipe.call(*self._added(thread_id, body))
        return added.decode()

    def _added(self, thread_id: str, body: bytes) -> tuple[Any, ...]:
        retention = self._settings.frame_retention
        return ("XADD", self._streams + thread_id, "MAXLEN", "~", retention, "*", "f", body)

    def note(self, thread_id: str, added: int, *, running: bool, followed: bool) -> None:
        """Report that a stream has grown by this many bytes. Does not wait; what is lost with Redis is lost with the frames."""
        keep_s = self._settings.frames_kept_s if running else self._settings.frames_unfollowed_s
        self._pipe.send_late(*self._command(thread_id, added, keep_s, running=running, followed=followed))

    def remove(self, thread_id: str) -> None:
        """Remove the frames of a deleted thread. Does not wait."""
        self._pipe.send(*self._command(thread_id, -1, 0))

    async def trim(self, limit: int | None = None) -> None:
        """Remove what exceeds the bound. ``limit``: a smaller bound in bytes, from now on. Raises RedisUnavailable."""
        await self._pipe.call(*self._command("", 0, 0, limit="" if limit is None else limit))

    async def counts(self) -> Counts:
        """Return the counts. Raises RedisUnavailable."""
        counted, streams = await asyncio.gather(
            self._pipe.submit("HMGET", self._keys[3], "bytes", "dropped"), self._pipe.submit("ZCARD", self._keys[0])
        )
        return Counts(int(counted[0] or 0), int(streams), int(counted[1] or 0))

    def _command(
        self,
        thread_id: str,
        added: int,
        keep_s: float,
        *,
        running: bool = False,
        followed: bool = False,
        limit: int | str = "",
    ) -> tuple[Any, ...]:
        settings = self._settings
        return (
            *("EVAL", _NOTE, len(self._keys), *self._keys, self._streams, thread_id, added),
            *(int(running), int(followed), int(keep_s * 1000), int(settings.frames_kept_s * 1000)),
            *(settings.frames_max_bytes, THREAD_BYTES, DROPS_PER_NOTE, limit, SMALL_BYTES),
        )
