"""Connections for single statements: kept between two of them, never in the way of others, replaced when they are lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from langlog_backbone.embedded.servers import EmbeddedPostgres
from langlog_backbone.postgres import pool as pool_module
from langlog_backbone.postgres.database import connect_pool, of_services
from langlog_backbone.postgres.pool import Pool
from langlog_backbone.process.settings import Settings
from langlog_backbone.process.unavailable import UNAVAILABLE_ERRORS

SIZE = 4
LIMIT_S = 60.0


@pytest.fixture
async def pool(postgres: EmbeddedPostgres) -> AsyncIterator[Pool]:
    made = Pool(await asyncpg.create_pool(postgres.uri, min_size=1, max_size=SIZE))
    yield made
    async with asyncio.timeout(LIMIT_S):
        await made.close()


async def backend(pool: Pool) -> int:
    value: int = await pool.fetchval("SELECT pg_backend_pid()")
    return value


async def busy(pool: Pool, count: int, seconds: float = 0.05) -> set[int]:
    """Backends that answered so many statements at once."""
    rows = await asyncio.gather(
        *(pool.fetchrow("SELECT pg_backend_pid() AS pid FROM pg_sleep($1)", seconds) for _ in range(count))
    )
    return {row["pid"] for row in rows}


async def test_answers_are_those_of_asyncpg(pool: Pool) -> None:
    assert [row["n"] for row in await pool.fetch("SELECT n FROM generate_series(1, $1) AS n", 3)] == [1, 2, 3]
    assert (await pool.fetchrow("SELECT $1::text AS a", "x"))["a"] == "x"
    assert await pool.fetchval("SELECT 7") == 7
    assert await pool.fetchrow("SELECT 1 WHERE false") is None
    assert await pool.fetchval("SELECT 1 WHERE false") is None
    assert await pool.execute("SELECT 1") == "SELECT 1"


async def test_one_after_the_other_statements_share_a_connection(pool: Pool) -> None:
    assert len({await backend(pool) for _ in range(5)}) == 1


async def test_more_statements_than_connections_wait_for_their_turn(pool: Pool) -> None:
    async with asyncio.timeout(LIMIT_S):
        assert len(await busy(pool, 6 * SIZE)) <= SIZE


async def test_who_needs_a_connection_for_longer_gets_one(pool: Pool) -> None:
    await busy(pool, SIZE)
    async with asyncio.timeout(LIMIT_S), pool.acquire() as connection, connection.transaction():
        assert await connection.fetchval("SELECT 1") == 1
        assert len(await busy(pool, 2 * SIZE)) == SIZE - 1


async def test_a_connection_whose_turn_was_given_up_goes_to_the_next(pool: Pool) -> None:
    async with asyncio.timeout(LIMIT_S):
        for _ in range(20):
            waiting = [asyncio.create_task(backend(pool)) for _ in range(4 * SIZE)]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting[::2]:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        assert len(await busy(pool, 2 * SIZE)) == SIZE - 1


async def test_a_service_that_stands_still_amid_a_transaction_keeps_its_locks_for_a_lease(
    postgres: EmbeddedPostgres,
) -> None:
    settings = Settings(database_uri=postgres.uri, lease_s=0.2)
    frozen = await connect_pool(settings, size=1, **of_services(settings))
    successor = await connect_pool(settings, size=1)
    try:
        await successor.execute("CREATE TABLE IF NOT EXISTS public.locked (n int)")
        async with asyncio.timeout(LIMIT_S):
            connection = await frozen.acquire()
            await connection.execute("BEGIN; LOCK TABLE public.locked")
            await successor.execute("INSERT INTO public.locked VALUES (1)")
            with pytest.raises(UNAVAILABLE_ERRORS):  # it goes on, too late
                await connection.execute("INSERT INTO public.locked VALUES (2)")
        assert await successor.fetchval("SELECT array_agg(n) FROM public.locked") == [1]
    finally:
        await successor.execute("DROP TABLE public.locked")
        await successor.close()
        frozen.terminate()


async def test_a_pool_of_one_serves_both_kinds(postgres: EmbeddedPostgres) -> None:
    pool = Pool(await asyncpg.create_pool(postgres.uri, min_size=1, max_size=1))
    async with asyncio.timeout(LIMIT_S):
        assert len(await busy(pool, 5, 0.001)) == 1
        async with pool.acquire() as connection:
            assert await connection.fetchval("SELECT 1") == 1
        await pool.close()


async def test_a_statement_that_fails_or_is_given_up_leaves_no_trace(pool: Pool) -> None:
    for _ in range(2 * SIZE):
        with pytest.raises(asyncpg.DivisionByZeroError):
            await pool.fetchval("SELECT 1 / 0")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await pool.fetch("SELECT pg_sleep(60)")
    async with asyncio.timeout(LIMIT_S):
        assert await pool.fetchval("SELECT 1") == 1


async def test_lost_connections_are_replaced(pool: Pool, postgres: EmbeddedPostgres) -> None:
    for _ in range(3):
        lost = await busy(pool, SIZE)
        other = await asyncpg.connect(postgres.uri)
        for pid in lost:
            await other.execute("SELECT pg_terminate_backend($1)", pid)
        await other.close()
        async with asyncio.timeout(LIMIT_S):
            while True:
                try:
                    assert await backend(pool) not in lost
                    break
                except UNAVAILABLE_ERRORS:
                    continue


async def test_connections_that_nobody_needs_any_more_go_back(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "REST_S", 0.05)
    await busy(pool, SIZE)
    async with asyncio.timeout(LIMIT_S):
        while pool.resting > 1:
            await backend(pool)
    async with asyncio.timeout(LIMIT_S), pool.acquire(), pool.acquire(), pool.acquire():
        assert await pool.fetchval("SELECT 1") == 1


async def test_closing_waits_for_what_is_under_way(postgres: EmbeddedPostgres) -> None:
    pool = Pool(await asyncpg.create_pool(postgres.uri, min_size=1, max_size=SIZE))
    await busy(pool, 2)
    under_way = [asyncio.create_task(pool.fetchval("SELECT 1 FROM pg_sleep(0.2)")) for _ in range(2)]
    await asyncio.sleep(0)  # they have begun
    async with asyncio.timeout(LIMIT_S):
        await pool.close()
    assert [task.result() for task in under_way] == [1, 1]
