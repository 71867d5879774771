"""The clock and the source of ids, in one place: other code gets times and ids passed in.

All processes use the clock of Postgres (`postgres.server_clock`), whatever their machines' clocks show: times that one
process writes (when a run is due, when a command was appended, until when a query may be answered) are compared by others.
Between two measurements the process counts on with its monotonic clock, so a step of the machine's clock changes nothing.
Where the machine agrees with Postgres to within the length of a measurement, its clock is used unchanged. A process that
has not reached Postgres yet uses its machine's.

Concurrency: one offset for the process, replaced as a whole; read from any thread.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

import structlog

from .sources import machine_time_ns, monotonic_ns, uuid7

logger = structlog.get_logger(__name__)

NOTABLE_NS = 500_000_000
"""Difference of a machine's clock, in nanoseconds, from which it is logged."""


class SharedClock:
    """Postgres' time, computed from the monotonic clock. ``offset_ns`` None: not measured, the machine's clock counts."""

    def __init__(self) -> None:
        self.offset_ns: int | None = None
        self._noted = False

    def time_ns(self) -> int:
        """Return nanoseconds since 1970."""
        offset = self.offset_ns
        return machine_time_ns() if offset is None else monotonic_ns() + offset

    def learn(self, server_ns: int, began_ns: int, ended_ns: int, machine_ns: int) -> None:
        """Record a measurement. ``server_ns``: Postgres' clock between ``began_ns`` and ``ended_ns`` of the monotonic clock.

        ``machine_ns``: the machine's clock at ``ended_ns``.
        """
        low, high = server_ns - ended_ns, server_ns - began_ns
        machine = machine_ns - ended_ns
        off = max(low - machine, machine - high, 0)
        if off > NOTABLE_NS and not self._noted:
            logger.warning("clock.machine_differs_from_postgres", seconds=round((machine - (low + high) / 2) / 1e9, 3))
        self._noted = off > NOTABLE_NS
        if not off:
            self.offset_ns = machine
        elif self.offset_ns is None or not low <= self.offset_ns <= high:
            self.offset_ns = (low + high) // 2


shared = SharedClock()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now() -> datetime:
    """Return the current time in UTC."""
    return _EPOCH + timedelta(microseconds=shared.time_ns() // 1000)


def iso(moment: datetime) -> str:
    """Return a time as records and responses hold it: ISO 8601, UTC, microseconds, offset +00:00 (wire contract §1.3)."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def now_iso() -> str:
    """Return the current time as `iso` writes it."""
    seconds, ns = divmod(shared.time_ns(), 1_000_000_000)
    return f"{_second(seconds)}.{ns // 1000:06}+00:00"


@lru_cache(4)
def _second(seconds: int) -> str:
    """Return a second since 1970 as ISO 8601, without offset: each record has a time, and thousands of them fall into one second."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()


def now_ms() -> int:
    """Return the current time in milliseconds since 1970."""
    return shared.time_ns() // 1_000_000


def new_id() -> str:
    """Return a UUIDv7 (RFC 9562), for threads, runs, commands. Its time is the machine's: nothing is ordered by it."""
    return uuid7()
