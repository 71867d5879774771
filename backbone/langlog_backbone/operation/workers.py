"""Workers by their leases in Redis, and the runs that each holds. Reads only."""

from __future__ import annotations

from typing import Any

import msgspec
from langlog_schemas import messages
from langlog_schemas.messages import WorkerInfo

from ..redis.client import RedisPipe

HELD_SHOWN = 200
"""Maximum number of a worker's runs that are named; the others are counted."""


class HeldRun(msgspec.Struct, frozen=True):
    """A run that a worker holds."""

    run_id: str
    """Id of the run."""
    attempt: int
    """Number of the attempt."""


class WorkerView(msgspec.Struct, frozen=True):
    """A worker process. ``about`` None: it has published no report (an older release, or Redis was emptied)."""

    worker_id: str
    """Id under which the worker holds its lease."""
    lease_s: float
    """Seconds until its lease expires; negative: it has been silent for so long beyond its lease."""
    held: int
    """Number of runs that it holds."""
    runs: list[HeldRun]
    """Runs that it holds, at most 200."""
    about: WorkerInfo | None
    """Report of the worker."""


class QueueView(msgspec.Struct, frozen=True):
    """Dispatched runs that no worker has claimed."""

    queued: int
    workers: list[WorkerView]


async def queue_and_workers(pipe: RedisPipe) -> QueueView:
    """Raises RedisUnavailable."""
    seconds, micros = await pipe.call("TIME")
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    queued = int(await pipe.call("LLEN", pipe.key("queue")))
    leases = scores(await pipe.call("ZRANGE", pipe.key("leases"), 0, -1, "WITHSCORES"))
    workers = []
    for worker, until in leases.items():
        held = int(await pipe.call("LLEN", pipe.key("held", worker)))
        tasks = await pipe.call("LRANGE", pipe.key("held", worker), 0, HELD_SHOWN - 1)
        about = await pipe.call("GET", pipe.key("worker", worker))
        workers.append(
            WorkerView(
                worker_id=worker,
                lease_s=round((until - now_ms) / 1000, 3),
                held=held,
                runs=[_held(task.decode()) for task in tasks],
                about=None if about is None else messages.decode_worker_info(about),
            )
        )
    return QueueView(queued, workers)


def _held(task_id: str) -> HeldRun:
    run_id, _, attempt = task_id.rpartition(":")
    return HeldRun(run_id, int(attempt))


def scores(reply: Any) -> dict[str, float]:
    """Return member -> score of a reply to ZRANGE … WITHSCORES, which is flat or in pairs (RESP 2 and 3)."""
    if reply and isinstance(reply[0], list | tuple):
        return {member.decode(): float(score) for member, score in reply}
    return {reply[n].decode(): float(reply[n + 1]) for n in range(0, len(reply), 2)}
