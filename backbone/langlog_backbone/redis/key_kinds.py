"""Kinds of the values under langlog's fixed keys, to notice those of another program.

A value of another kind makes each command on its key fail: no worker claims a run, no lease is renewed. Redis itself still takes writes, so
health checks query the kinds as well. Keys with ids in their names are not checked.

Concurrency: reads only. Death: changes nothing.
"""

from __future__ import annotations

import asyncio

from ..process.server_errors import RedisKeyForeign
from .client import RedisPipe
from .queries import QUERIES
from .replays import REPLAYS

KINDS = {
    "queue": "list",
    "leases": "zset",
    QUERIES: "list",
    REPLAYS: "list",
    "processes": "hash",
    "frame-index:order": "zset",
    "frame-index:sizes": "hash",
    "frame-index:expiry": "zset",
    "frame-index:counts": "hash",
    "cache-index:order": "zset",
    "cache-index:sizes": "hash",
}
"""Key -> the kind of its value, as Redis names it (TYPE)."""


async def check_kinds(pipe: RedisPipe) -> None:
    """Check that no key holds a value of another kind. Raises RedisKeyForeign, RedisUnavailable."""
    kinds = await asyncio.gather(*[pipe.submit("TYPE", pipe.key(name)) for name in KINDS])
    for (name, wanted), kind in zip(KINDS.items(), kinds, strict=True):
        if kind not in (b"none", wanted.encode()):
            raise RedisKeyForeign(
                f"the key {pipe.key(name)} holds a {kind.decode()} of another program, where langlog keeps a {wanted}: give langlog a "
                "Redis or a REDIS_KEY_PREFIX of its own, or delete the key"
            )
