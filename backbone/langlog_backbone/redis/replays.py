"""Replays that wait for an executor: a Redis list of `messages.ReplayQuery`, bounded, and dropped if no executor takes them."""

from __future__ import annotations

from langlog_schemas import messages
from langlog_schemas.messages import ReplayQuery

from .client import RedisPipe

REPLAYS = "replays"
REPLAYS_MAX = 32
"""Maximum number of waiting replays; further ones are refused."""
LIST_KEPT_S = 600
"""Seconds after the last replay until Redis drops the list."""


class TooManyReplays(Exception):
    """Executors do not keep up with replays, or there are none."""


async def push_replay(pipe: RedisPipe, query: ReplayQuery) -> None:
    """Append a replay to the list. Raises RedisUnavailable, TooManyReplays."""
    key, data = pipe.key(REPLAYS), messages.encode(query)
    waiting = await pipe.call("LPUSH", key, data)
    pipe.send("EXPIRE", key, LIST_KEPT_S)
    if waiting > REPLAYS_MAX:
        pipe.send("LREM", key, 0, data)
        raise TooManyReplays(f"{REPLAYS_MAX} replays wait for an executor already: try again when they have run")
