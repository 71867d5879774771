"""Records each stream that was ended because its client read too slowly: a metric counts all of them, a log line stands for at most
`LOG_EVERY_S` seconds, however many clients stop reading."""

from __future__ import annotations

import structlog
from langlog_backbone.metrics.table import SLOW_READERS
from langlog_backbone.time.sources import monotonic

logger = structlog.get_logger(__name__)

LOG_EVERY_S = 10.0
"""Minimum seconds between two log lines."""


class SlowReaders:
    """The slow readers of one process. Belongs to the event loop."""

    def __init__(self) -> None:
        self._next_line = 0.0
        self._not_logged = 0

    def cut_off(self, stream: str) -> None:
        """Record one. ``stream``: the kind of stream, or its path."""
        SLOW_READERS.inc()
        now = monotonic()
        if now < self._next_line:
            self._not_logged += 1
            return
        logger.warning("stream.reader_too_slow", stream=stream, others=self._not_logged)
        self._next_line, self._not_logged = now + LOG_EVERY_S, 0


SLOW = SlowReaders()
