"""``/ok?check_db=1``: the state of the servers behind this gateway, and the lag of its read model (wire contract §15). For
load balancers.

Postgres, Redis or the log away is 503. No worker, or a backlog, is reported and no failure: requests are taken all the same.
"""

from __future__ import annotations

from typing import Any

from langlog_backbone.log import Log, LogUnavailable
from langlog_backbone.process.server_errors import RedisUnavailable
from langlog_backbone.redis.client import RedisPipe
from langlog_schemas import events as ev

from ..http.backends import Reads
from ..http.errors import unavailable


async def services(reads: Reads, pipe: RedisPipe, log: Log) -> dict[str, Any]:
    """Return the state of each server. Raises ApiError 503."""
    rows = await reads.rows('SELECT topic, part, "offset" FROM positions')
    folded = {(row["topic"], row["part"]): row["offset"] for row in rows}
    try:
        seconds, micros = await pipe.call("TIME")
        workers = await pipe.call("ZCOUNT", pipe.key("leases"), int(seconds) * 1000 + int(micros) // 1000, "+inf")
    except RedisUnavailable:
        raise unavailable("Redis") from None
    behind = 0
    try:
        for topic in ev.FOLDED_TOPICS:
            for part, end in enumerate(await log.end_offsets(topic)):
                behind += max(0, end - folded.get((topic, part), 0))
    except LogUnavailable:
        raise unavailable("The log") from None
    return {
        "postgres": "ok",
        "redis": "ok",
        "log": "ok",
        "workers": {"alive": int(workers)},
        "projector": {"events_behind": behind},
    }
