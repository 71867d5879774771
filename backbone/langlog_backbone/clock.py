"""The clock and the mint, in one place: everything else gets times and ids passed in."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from uuid_utils import uuid7


def now_iso() -> str:
    """Now, as the API writes times: ISO 8601, UTC, microseconds, offset +00:00."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def now_ms() -> int:
    """Now, in milliseconds of the epoch."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """A UUIDv7 (RFC 9562): ids of threads, runs, commands."""
    return str(uuid7())
