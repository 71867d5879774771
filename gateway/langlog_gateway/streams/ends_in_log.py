"""The end of a run that has left no row: a stateless run's row goes with its thread, perhaps in the batch that made it.

Waiters receive the end of a run by a lifecycle update. Where that may have been lost (Redis was away, the projector was killed
between
its commit and the message, the answer to a repeated request came first) and the read model has no row, the log still has the event.
Looked for only for runs that are known to have been asked for, from shortly before the waiting began. What is under way is lost with
the gateway, whose client asks again.
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
"""The log is read from this long before the waiting began: records carry the times of those who append them."""
PAGE = 1_000
"""Records that are held in memory at once."""


class EndsInLog:
    def __init__(self, log: Log) -> None:
        self._log = log

    async def find(self, thread_id: str, run_id: str, since: datetime) -> Ended | None:
        """How the run ended; None when the log does not say so since then. Raises ApiError 503."""
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
