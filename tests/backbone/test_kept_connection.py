"""The connection that a loop keeps between two pieces of work: the same one while it is well, another one afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from langlog_backbone.embedded.servers import EmbeddedPostgres
from langlog_backbone.postgres.kept_connection import KeptConnection

LIMIT_S = 60.0


@pytest.fixture
async def pool(postgres: EmbeddedPostgres) -> AsyncIterator[asyncpg.Pool]:
    async with asyncio.timeout(LIMIT_S):
        made = await asyncpg.create_pool(postgres.uri, min_size=1, max_size=2)
        yield made
        await made.close()


async def backend(kept: KeptConnection) -> int:
    async with kept.acquire(timeout=LIMIT_S) as connection, connection.transaction():
        value: int = await connection.fetchval("SELECT pg_backend_pid()")
    return value


async def test_pieces_of_work_share_a_connection_until_it_is_released(pool: asyncpg.Pool) -> None:
    kept = KeptConnection(pool)
    assert len({await backend(kept) for _ in range(3)}) == 1
    assert pool.get_size() - pool.get_idle_size() == 1
    await kept.release()
    assert pool.get_size() == pool.get_idle_size()


async def test_a_connection_goes_back_after_work_that_failed(pool: asyncpg.Pool) -> None:
    kept = KeptConnection(pool)
    with pytest.raises(asyncpg.UndefinedTableError):
        async with kept.acquire(timeout=LIMIT_S) as connection:
            await connection.fetch("SELECT * FROM no_such_table")
    assert pool.get_size() == pool.get_idle_size()
    await backend(kept)
    await kept.release()


async def test_a_lost_connection_is_replaced(pool: asyncpg.Pool) -> None:
    kept = KeptConnection(pool)
    lost = asyncio.Event()
    async with kept.acquire(timeout=LIMIT_S) as connection:
        before = await connection.fetchval("SELECT pg_backend_pid()")
        connection.add_termination_listener(lambda _: lost.set())
    await pool.execute("SELECT pg_terminate_backend($1)", before)
    await lost.wait()
    assert await backend(kept) != before
    await kept.release()


async def test_work_within_other_work_has_a_connection_of_its_own(pool: asyncpg.Pool) -> None:
    kept = KeptConnection(pool)
    async with kept.acquire(timeout=LIMIT_S) as outer:
        assert await backend(kept) != await outer.fetchval("SELECT pg_backend_pid()")
    assert pool.get_size() - pool.get_idle_size() == 1
    await kept.release()
