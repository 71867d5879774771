"""Limits of open streams of one gateway: in all (``LANGLOG_MAX_STREAMS``), and of one authenticated user
(``LANGLOG_MAX_STREAMS_PER_USER``), so that one user cannot use them all. On the gateway's event loop."""

from __future__ import annotations

from collections import Counter

from langlog_backbone.metrics.table import STREAMS_OPEN

from ..http.errors import ApiError

RETRY_AFTER_S = 1


class StreamSlots:
    """Counts open streams. ``share``: maximum of one user; 0: no limit."""

    def __init__(self, limit: int, share: int) -> None:
        self._limit, self._share = limit, share
        self._open: Counter[str] = Counter()
        self._total = 0

    def enter(self, user: str) -> None:
        """Count one more stream of this user; empty: without a user. Raises ApiError 429 over a limit."""
        if self._total >= self._limit:
            raise _too_many(f"Too many open streams (limit {self._limit})")
        if user and self._share and self._open[user] >= self._share:
            raise _too_many(f"Too many open streams of yours (limit {self._share}): close some of them")
        self._total += 1
        STREAMS_OPEN.inc()
        self._open[user] += 1

    def leave(self, user: str) -> None:
        """Count the end of a stream."""
        self._total -= 1
        STREAMS_OPEN.dec()
        self._open[user] -= 1
        if not self._open[user]:
            del self._open[user]


def _too_many(detail: str) -> ApiError:
    return ApiError(429, detail, {"retry-after": str(RETRY_AFTER_S)})
