"""Watches Redis' memory: warns before it is full, and keeps the frames of runs within their bound.

Concurrency: one loop of the scheduler; several schedulers do the same, harmlessly. When it dies, frames are still bounded
by the workers that write them, and there is no warning.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import structlog
from langlog_backbone.context import Backbone
from langlog_backbone.process.server_errors import RedisUnavailable
from langlog_backbone.redis.kept_frames import SHARE_OF_MAXMEMORY, KeptFrames
from langlog_backbone.redis.memory import RedisMemory, redis_memory

logger = structlog.get_logger(__name__)

EVERY_S = 10.0
NEARLY_FULL = 0.8
"""Share of ``maxmemory`` from which a warning is logged; …"""
FREE_AGAIN = 0.7
"""… and below which the warning ends."""


class Bound(NamedTuple):
    """The result of one check of Redis. ``limit``: bytes of frames."""

    limit: int
    nearly_full: bool
    evicts_all: bool


def bound(memory: RedisMemory, frames_max_bytes: int, *, was_nearly_full: bool = False) -> Bound:
    """Return the bound for frames. Pure. ``was_nearly_full``: result of the last check."""
    share = memory.used / memory.maximum if memory.maximum else 0.0
    limit = frames_max_bytes
    if memory.maximum:
        limit = min(limit, int(memory.maximum * SHARE_OF_MAXMEMORY))
    nearly_full = share >= (FREE_AGAIN if was_nearly_full else NEARLY_FULL)
    return Bound(limit, nearly_full, memory.policy.startswith("allkeys"))


class RedisMemoryWatch:
    def __init__(self, backbone: Backbone) -> None:
        self._pipe = backbone.pipe
        self._settings = backbone.settings
        self._frames = KeptFrames(backbone.pipe, backbone.settings)
        self._nearly_full = False
        self._evicts_all = False
        self._dropped: int | None = None

    async def follow(self) -> None:
        """Poll until cancelled. While Redis is unavailable it waits; other loops report that."""
        while True:
            try:
                await self.check()
            except RedisUnavailable as error:
                logger.debug("redis.memory_unknown", error=str(error))
            await asyncio.sleep(EVERY_S)  # nothing signals a change of memory

    async def check(self) -> None:
        """Check once. Raises RedisUnavailable."""
        memory = await redis_memory(self._pipe)
        state = bound(memory, self._settings.frames_max_bytes, was_nearly_full=self._nearly_full)
        about = {"used_bytes": memory.used, "max_bytes": memory.maximum, "policy": memory.policy}
        if state.nearly_full and not self._nearly_full:
            logger.warning("redis.nearly_full", **about)
        elif self._nearly_full and not state.nearly_full:
            logger.info("redis.not_full_any_more", **about)
        if state.evicts_all and not self._evicts_all:
            logger.warning("redis.evicts_queued_runs", policy=memory.policy, use="noeviction or volatile-ttl")
        self._nearly_full, self._evicts_all = state.nearly_full, state.evicts_all
        await self._frames.trim(state.limit)
        counts = await self._frames.counts()
        if self._dropped is not None and counts.dropped > self._dropped:
            logger.warning(
                "redis.frames_dropped",
                streams=counts.dropped - self._dropped,
                kept_bytes=counts.bytes,
                bound=state.limit,
            )
        self._dropped = counts.dropped
