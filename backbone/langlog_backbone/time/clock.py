"""The clock and the mint, in one place: everything else gets times and ids passed in.

All processes go by the clock of Postgres (`postgres.server_clock`), whatever their machines say: times that one process writes (when a run
is due, when a command was appended, until when a query may be answered) are compared by others. Between two measurements the
process counts on with its monotonic clock, so a step of the machine's clock changes nothing. Where the machine agrees with
Postgres to within the length of a measurement, its clock is used as it is. A process that has not reached Postgres yet goes by its
machine.

Concurrency: one offset for the process, replaced as a whole; read from any thread.
"""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from .sources import machine_time_ns, monotonic_ns, uuid7

logger = structlog.get_logger(__name__)

NOTABLE_NS = 500_000_000
"""A machine's clock that is further off than this is logged."""


class SharedClock:
    """Postgres' time, computed from the monotonic clock. ``offset_ns`` None: not measured, the machine's clock counts."""

    def __init__(self) -> None:
        self.offset_ns: int | None = None
        self._noted = False

    def time_ns(self) -> int:
        """Nanoseconds of the epoch."""
        offset = self.offset_ns
        return machine_time_ns() if offset is None else monotonic_ns() + offset

    def learn(self, server_ns: int, began_ns: int, ended_ns: int, machine_ns: int) -> None:
        """``server_ns``: what Postgres' clock said between ``began_ns`` and ``ended_ns`` of the monotonic clock.

        ``machine_ns``: what the machine's clock says at ``ended_ns``.
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


def now() -> datetime:
    """Now, in UTC."""
    seconds, ns = divmod(shared.time_ns(), 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=ns // 1000)


def iso(moment: datetime) -> str:
    """A moment as records and responses hold it: ISO 8601, UTC, microseconds, offset +00:00 (wire contract §1.3)."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def now_iso() -> str:
    """Now, as `iso` writes it."""
    return now().isoformat(timespec="microseconds")


def now_ms() -> int:
    """Now, in milliseconds of the epoch."""
    return shared.time_ns() // 1_000_000


def new_id() -> str:
    """A UUIDv7 (RFC 9562): ids of threads, runs, commands. Its time is the machine's: nothing is ordered by it."""
    return uuid7()
