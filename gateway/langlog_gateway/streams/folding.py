"""Waiting until the read model holds what is in the log of a thread now.

No client is kept waiting for the projector but where what it asks for may be in the log and not in Postgres yet.
"""

from __future__ import annotations

from langlog_backbone.log.port import Log
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.read_model.watermark import Watermark
from langlog_schemas.events import RUN_EVENTS

from ..http.backends import Reads

_SQL = load_sql("langlog_gateway", "threads.sql")


class Folding:
    def __init__(self, log: Log, watermark: Watermark, reads: Reads) -> None:
        self._log, self._watermark, self._reads = log, watermark, reads

    async def caught_up(self, thread_id: str) -> None:
        """Wait until the read model holds the thread's current records in the log. Raises LogUnavailable, ApiError."""
        watermark, partition = self._watermark, self._log.partition_of(thread_id)
        end = (await self._log.end_offsets(RUN_EVENTS))[partition]
        if end == 0 or watermark.passed(partition, end - 1):
            return
        async with watermark.waiter(partition) as waiter:
            while True:
                watermark.learn(partition, int(await self._reads.value(_SQL["position"], partition)))
                if watermark.passed(partition, end - 1):
                    return
                await waiter.wait()
