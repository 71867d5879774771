"""One poll of a loop that polls again: errors that do not end the scheduler."""

from __future__ import annotations

from types import TracebackType

import asyncpg
import structlog
from langlog_backbone.process.unavailable import may_pass

logger = structlog.get_logger(__name__)

POLL_LIMIT_S = 60.0
"""Seconds for the reads of one poll. If Postgres hangs, the next poll queries it on another connection."""


class outages_logged:
    """A block that may fail because a server is unavailable, or because Postgres rejects the values of one statement.

    The former is logged by the loop's `Availability`; the latter is logged here. Other errors propagate.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            return False
        if may_pass(error):
            return True
        if isinstance(error, asyncpg.PostgresError):
            logger.error("scheduler.poll_failed", exc_info=error)
            return True
        return False
