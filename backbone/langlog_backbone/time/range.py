"""The range of times in conditions. Pure.

A client may name any time that a `datetime` holds, with any offset: in UTC that may be before the year 1 or after the year 9999, which
neither `datetime` nor asyncpg can express, and logs are searched by milliseconds since 1970. Go's zero time
(0001-01-01T00:00:00Z) is common.
"""

from __future__ import annotations

from datetime import UTC, datetime

EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, tzinfo=UTC)


def in_range(at: datetime) -> datetime:
    """Return the time in UTC; `EARLIEST` or `LATEST` for one beyond, with which every time of a record or a row compares as
    with the one given.

    Without a zone it is returned as it is.
    """
    if at.tzinfo is None:
        return at
    if at.year < EARLIEST.year:
        return EARLIEST
    if at.year > LATEST.year - 1 and at.replace(tzinfo=UTC) > LATEST:
        return LATEST
    return max(EARLIEST, min(at.astimezone(UTC), LATEST))
