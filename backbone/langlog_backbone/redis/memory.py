"""How much memory Redis uses, and may use."""

from __future__ import annotations

from typing import NamedTuple

from .client import RedisPipe


class RedisMemory(NamedTuple):
    """Bytes. ``maximum`` 0: no limit. ``policy``: what Redis does at the limit (``maxmemory-policy``)."""

    used: int
    maximum: int
    policy: str


async def redis_memory(pipe: RedisPipe) -> RedisMemory:
    """As ``INFO memory`` has it. Raises RedisUnavailable, or redis ResponseError where INFO is not allowed."""
    text: bytes = await pipe.call("INFO", "memory")
    members = dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)
    return RedisMemory(
        int(members.get("used_memory", 0)), int(members.get("maxmemory", 0)), members.get("maxmemory_policy", "")
    )
