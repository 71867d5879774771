"""The end of a run without a row: a stateless run's row is deleted with its thread, perhaps in the batch that created it.

Waiters receive the end of a run by a lifecycle update. Where that may have been lost (Redis was unavailable, the projector was killed
between
its commit and the message, the reply to a repeated request came first) and the read model has no row, the log still has the event.
The search covers only runs that were requested, from shortly before the waiting began. A search is lost with
the gateway, whose client repeats the request.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import structlog
from langlog_backbone.log.port import Log, LogUnavailable
from langlog_schemas import envelope
from langlog_schemas import events as ev

from ..http.errors import unavailable
from .run_end import Ended, ended

logger = structlog.get_logger(__name__)

CLOCKS_DIFFER_S = 60.0
"""Seconds before the start of the waiting from which the log is read: records carry the times of those who append them."""
PAGE = 1_000
"""Maximum number of records in memory at once."""


class EndsInLog:
    def __init__(self, log: Log) -> None:
        self._log = log

    async def find(self, thread_id: str, run_id: str, since: datetime) -> Ended | None:
        """Return the end of the run; None if the log holds none since then. Raises ApiError 503."""
        part = self._log.partition_of(thread_id)
        try:
            at = (await self._log.offsets_at(ev.RUN_EVENTS, since - timedelta(seconds=CLOCKS_DIFFER_S)))[part]
            end = (await self._log.end_offsets(ev.RUN_EVENTS))[part]
            while at < end:
                for record in await self._log.fetch(ev.RUN_EVENTS, part, range(at, min(at + PAGE, end))):
                    if record.key == thread_id and envelope.ERASED not in record.headers:
                        ending = _ended(envelope.type_of(record.headers), record.value, run_id)
                        if ending is not None:
                            return ending
                at += PAGE
        except LogUnavailable:
            raise unavailable("The log") from None
        return None


def _ended(type_name: str, value: bytes, run_id: str) -> Ended | None:
    if type_name in ev.MSGPACK_EVENTS:
        return None
    try:
        return ended(ev.decode(type_name, value), run_id)
    except (KeyError, msgspec.MsgspecError) as error:
        logger.warning("gateway.event_unreadable", type=type_name, error=str(error))
        return None
