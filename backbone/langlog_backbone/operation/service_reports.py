"""Reports of processes on their services, in Redis: which make progress, why others do not, and which servers they failed to reach.

A process reports every `EVERY_S`, and sooner while one of its services makes no progress; a report older than `STALE_S` counts as none. They are kept in one hash, which expires; reports may be lost.
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
CORRECTED_S = 1.0
"""Seconds between reports while a service makes no progress: one of the start would stand for long after it."""
STALE_S = 35.0
FORGOTTEN_S = 120.0
"""Age from which the next process that reads the reports deletes one."""
TROUBLE_SHOWN = 20
KEY = "processes"


def process_info(
    services: Mapping[str, str | None], availabilities: Iterable[Availability], version: str, started_ms: int
) -> ProcessInfo:
    """Return the report of this process. ``services``: name -> reason why the service makes no progress, or None."""
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
    """Store the report, without waiting. It is lost if Redis is unavailable."""
    key = pipe.key(KEY)
    pipe.send("HSET", key, _field(info), messages.encode(info))
    pipe.send("PEXPIRE", key, int(FORGOTTEN_S * 1000))


def withdraw(pipe: RedisPipe, info: ProcessInfo) -> None:
    """Delete the report of a process that ends."""
    pipe.send("HDEL", pipe.key(KEY), _field(info))


async def processes(pipe: RedisPipe) -> list[ProcessInfo]:
    """Return the reports that are younger than `STALE_S`, and delete those older than `FORGOTTEN_S`. Raises RedisUnavailable."""
    now = now_ms()
    alive = []
    for field, data in _pairs(await pipe.call("HGETALL", pipe.key(KEY))):
        try:
            info = messages.decode_process_info(data)
        except msgspec.MsgspecError:  # written by another release
            continue
        if now - info.reported_ms < STALE_S * 1000:
            alive.append(info)
        elif now - info.reported_ms > FORGOTTEN_S * 1000:
            pipe.send("HDEL", pipe.key(KEY), field)
    return sorted(alive, key=lambda info: (info.host, info.pid))


def _field(info: ProcessInfo) -> str:
    return f"{info.host}:{info.pid}"


def _pairs(reply: Any) -> list[tuple[bytes, bytes]]:
    """Return the pairs of a reply to HGETALL, which is flat in RESP 2 and a map in RESP 3."""
    if isinstance(reply, dict):
        return list(reply.items())
    return list(zip(reply[::2], reply[1::2], strict=True))
