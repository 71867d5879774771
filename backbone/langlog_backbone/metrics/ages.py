"""Lag of a service behind the end of the log in seconds: the age of the oldest record that it has read and not finished."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import TracebackType

from prometheus_client import Gauge, Histogram

from ..time.clock import now_ms
from ..time.sources import monotonic
from .deferred import later


class BatchAge:
    """The batches of one loop, one at a time: ``with age.of(headers): …``. Written to cost little, as batches may hold one record.

    ``lag``: shows the age; ``delivery``: counts how old a batch was when it was read; ``took``: how long the work on it lasted.
    """

    def __init__(self, lag: Gauge, delivery: Histogram, took: Histogram) -> None:
        self._delivery, self._took = delivery, took
        self._oldest_s: float | None = None
        """Time of the batch's first record, in seconds since 1970; None: no batch, or a record without a time."""
        self._began = 0.0
        lag.set_function(self._age_s)

    def of(self, headers: Mapping[str, str]) -> BatchAge:
        """The batch whose first record has these headers, which may hold anything."""
        try:
            self._oldest_s = datetime.fromisoformat(headers["ce_time"]).timestamp()
        except (KeyError, ValueError, OverflowError):
            self._oldest_s = None
        else:
            later(self._delivery.observe, self._age_s())
        return self

    def __enter__(self) -> None:
        self._began = monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._oldest_s = None
        later(self._took.observe, monotonic() - self._began)

    def _age_s(self) -> float:
        oldest = self._oldest_s
        return 0.0 if oldest is None else max(0.0, now_ms() / 1000 - oldest)
