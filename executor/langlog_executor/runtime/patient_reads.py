"""Reads of the store for graph code: they wait as long as Postgres is unavailable, because a run must not fail for that.

What ends the waiting is what ends the run: its time limit, a cancellation, a lost lease. Queries of clients use the pool
itself;
they have deadlines, and clients get the error. Concurrency: belongs to the I/O loop. It holds nothing that must survive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langlog_backbone.process.retry import Availability, until_available

if TYPE_CHECKING:
    import asyncpg


class PatientReads:
    """The reading half of a pool."""

    def __init__(self, pool: asyncpg.Pool, availability: Availability) -> None:
        self._pool = pool
        self._availability = availability

    async def fetch(self, sql: str, *args: Any) -> list[Any]:
        rows: list[Any] = await until_available(lambda: self._pool.fetch(sql, *args), on=self._availability)
        return rows
