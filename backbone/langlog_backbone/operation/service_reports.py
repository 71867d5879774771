"""What processes say of their services, in Redis: which make progress and why others do not, and which servers they did not reach.

A process reports every `EVERY_S`; a report older than `STALE_S` counts as none. Kept as one hash, which expires; what it holds may be lost.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from langlog_schemas import messages
from langlog_schemas.messages import ProcessInfo, Trouble

from ..process.retry import Availability
from ..redis.client import RedisPipe
from ..time.clock import now_ms
from ..time.sources import monotonic

EVERY_S = 10.0
STALE_S = 35.0
FORGOTTEN_S = 120.0
"""A report of this age is deleted by the next process that reports."""
TROUBLE_SHOWN = 20
KEY = "processes"


def process_info(
    services: Mapping[str, str | None], availabilities: Iterable[Availability], version: str, started_ms: int
) -> ProcessInfo:
    """``services``: of this process, with the reason why one makes no progress."""
    failed = sorted((one for one in availabilities if one.failures), key=lambda one: one.last_failed, reverse=True)
    now, clock = now_ms(), monotonic()
    return ProcessInfo(
        host=socket.gethostname(),
        pid=os.getpid(),
        version=version,
        started_ms=started_ms,
        reported_ms=now,
        services=dict(services),
        trouble=[
            Trouble(
                loop=one.loop,
                dependency=one.last_dependency,
                failures=one.failures,
                last_error=one.last_error,
                last_ms=now - int(1000 * (clock - one.last_failed)),
            )
            for one in failed[:TROUBLE_SHOWN]
        ],
    )


def report(pipe: RedisPipe, info: ProcessInfo) -> None:
    """Keep it; lost when Redis is away."""
    key = pipe.key(KEY)
    pipe.send("HSET", key, _field(info), messages.encode(info))
    pipe.send("PEXPIRE", key, int(FORGOTTEN_S * 1000))


def withdraw(pipe: RedisPipe, info: ProcessInfo) -> None:
    """The process ends."""
    pipe.send("HDEL", pipe.key(KEY), _field(info))


async def processes(pipe: RedisPipe) -> list[ProcessInfo]:
    """Those that have reported lately. Raises RedisUnavailable."""
    now = now_ms()
    alive = []
    for field, data in _pairs(await pipe.call("HGETALL", pipe.key(KEY))):
        try:
            info = messages.decode_process_info(data)
        except msgspec.MsgspecError:  # of another release
            continue
        if now - info.reported_ms < STALE_S * 1000:
            alive.append(info)
        elif now - info.reported_ms > FORGOTTEN_S * 1000:
            pipe.send("HDEL", pipe.key(KEY), field)
    return sorted(alive, key=lambda info: (info.host, info.pid))


def _field(info: ProcessInfo) -> str:
    return f"{info.host}:{info.pid}"


def _pairs(reply: Any) -> list[tuple[bytes, bytes]]:
    """What HGETALL gives, flat or as a map (RESP 2 and 3)."""
    if isinstance(reply, dict):
        return list(reply.items())
    return list(zip(reply[::2], reply[1::2], strict=True))
