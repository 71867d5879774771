"""Faults of a Postgres that others use too: no connection is left, or a table is locked. `tests.outage.faults` has more."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg

from tests.loss.cluster import Cluster
from tests.outage.faults import connected

OTHERS = "FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name <> 'test'"


@contextlib.asynccontextmanager
async def without_connections(uri: str) -> AsyncIterator[None]:
    """All connections that Postgres allows are somebody else's."""
    own = {"server_settings": {"application_name": "test"}}
    control = await asyncpg.connect(uri, **own)
    taken: list[asyncpg.Connection] = []
    try:
        while True:
            with contextlib.suppress(asyncpg.TooManyConnectionsError):
                while True:
                    taken.append(await asyncpg.connect(uri, **own))
            if await control.fetchval(f"SELECT count(*) {OTHERS}") == 0:
                break
            await control.execute(f"SELECT pg_terminate_backend(pid) {OTHERS}")
        yield
    finally:
        await asyncio.gather(*(connection.close() for connection in taken))
        await control.close()


@contextlib.asynccontextmanager
async def locked(cluster: Cluster, table: str) -> AsyncIterator[None]:
    """Somebody holds a lock on a table of the read model that lets nobody else read or write."""
    async with connected(cluster) as connection:
        # a read-only Postgres refuses it, and this one is not read-only for us
        await connection.execute("SET default_transaction_read_only = off")
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield
