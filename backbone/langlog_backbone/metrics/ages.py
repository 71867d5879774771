"""How far behind the end of the log a service is in seconds: the age of the oldest record that it has read and not finished."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from prometheus_client import Gauge, Histogram

from ..time.clock import now


class BatchAge:
    """Of the batches of one loop. ``lag``: shows the age; ``delivery``: counts how old a batch was when it was read."""

    def __init__(self, lag: Gauge, delivery: Histogram) -> None:
        self._delivery = delivery
        self._oldest: datetime | None = None
        lag.set_function(self._seconds)

    @contextlib.contextmanager
    def of(self, headers: Mapping[str, str]) -> Iterator[None]:
        """While a batch is worked on. ``headers``: those of its first record, which may be anything."""
        try:
            oldest = datetime.fromisoformat(headers["ce_time"])
        except (KeyError, ValueError):
            yield
            return
        self._oldest = oldest if oldest.tzinfo is not None else oldest.replace(tzinfo=UTC)
        self._delivery.observe(self._seconds())
        try:
            yield
        finally:
            self._oldest = None

    def _seconds(self) -> float:
        oldest = self._oldest
        return 0.0 if oldest is None else max(0.0, (now() - oldest).total_seconds())
