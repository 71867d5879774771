"""Memory usage and memory limit of Redis."""

from __future__ import annotations

from typing import NamedTuple

from .client import RedisPipe


class RedisMemory(NamedTuple):
    """Memory of Redis, in bytes. ``maximum`` 0: no limit. ``policy``: its policy at the limit (``maxmemory-policy``)."""

    used: int
    maximum: int
    policy: str


async def redis_memory(pipe: RedisPipe) -> RedisMemory:
    """Return the memory figures of ``INFO memory``. Raises RedisUnavailable, also if INFO is not allowed."""
    text: bytes = await pipe.call("INFO", "memory")
    members = dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)
    return RedisMemory(
        int(members.get("used_memory", 0)), int(members.get("maxmemory", 0)), members.get("maxmemory_policy", "")
    )
