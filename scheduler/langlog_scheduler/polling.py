"""One look of a loop that looks again later: what it may fail with without ending the scheduler."""

from __future__ import annotations

from types import TracebackType

import asyncpg
import structlog
from langlog_backbone.process.unavailable import is_unavailable

logger = structlog.get_logger(__name__)

POLL_LIMIT_S = 60.0
"""For what one look reads. A Postgres that hangs is asked again by the next look, on another connection."""


class outages_logged:
    """A block that may break off because a server is unavailable, or because Postgres does not take one statement.

    The former is logged by the loop's `Availability`; the latter is logged here. Whatever else the block raises goes on.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            return False
        if is_unavailable(error):
            return True
        if isinstance(error, asyncpg.PostgresError):
            logger.error("scheduler.poll_failed", exc_info=error)
            return True
        return False
