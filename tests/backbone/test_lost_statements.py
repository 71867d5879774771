"""A session that has lost the statements prepared on it, as behind a pooler: its connection is replaced, where it would fail each time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from langlog_backbone.embedded.servers import EmbeddedPostgres
from langlog_backbone.postgres.database import connect_pool
from langlog_backbone.postgres.pool import Pool
from langlog_backbone.process.settings import Settings
from langlog_backbone.process.unavailable import is_unavailable

ONE = "SELECT $1::int + 1"
LOSE = {
    "26000": "DEALLOCATE ALL",
    "08P01": "DEALLOCATE ALL; PREPARE {name} (int, int) AS SELECT $1 + $2",
}
"""SQLSTATE -> statements that do to a session what a pooler does."""


@pytest.fixture(params=[1, 4])
async def pools(request: pytest.FixtureRequest, postgres: EmbeddedPostgres) -> AsyncIterator[tuple[asyncpg.Pool, Pool]]:
    """asyncpg's pool, and ours on top of it, with room for single statements and without."""
    raw = await connect_pool(Settings(database_uri=postgres.uri), size=request.param)
    pool = Pool(raw)
    yield raw, pool
    await pool.close()


async def lose(connection: Any, sqlstate: str) -> None:
    name = await connection.fetchval("SELECT name FROM pg_prepared_statements WHERE statement = $1", ONE)
    await connection.execute(LOSE[sqlstate].format(name=name))


@pytest.mark.parametrize("sqlstate", list(LOSE))
@pytest.mark.parametrize("call", ["fetch", "fetchrow", "fetchval", "execute"])
async def test_a_single_statement_fails_once(pools: tuple[asyncpg.Pool, Pool], call: str, sqlstate: str) -> None:
    raw, pool = pools
    assert await pool.fetchval(ONE, 1) == 2
    name = await pool.fetchval("SELECT name FROM pg_prepared_statements WHERE statement = $1", ONE)
    await pool.execute(LOSE[sqlstate].format(name=name))
    with pytest.raises(asyncpg.PostgresError) as caught:
        await getattr(pool, call)(ONE, 1)
    assert caught.value.sqlstate == sqlstate
    assert is_unavailable(caught.value)
    for _ in range(5):
        assert await pool.fetchval(ONE, 1) == 2
    assert raw.get_size() <= raw.get_max_size()


@pytest.mark.parametrize("sqlstate", list(LOSE))
async def test_a_transaction_fails_once(pools: tuple[asyncpg.Pool, Pool], sqlstate: str) -> None:
    _, pool = pools
    async with pool.acquire() as connection:
        assert await connection.fetchval(ONE, 1) == 2
        await lose(connection, sqlstate)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)) as caught:
        async with pool.acquire() as connection, connection.transaction():
            await connection.fetchval(ONE, 1)
    assert is_unavailable(caught.value)
    async with pool.acquire() as connection, connection.transaction():
        assert await connection.fetchval(ONE, 1) == 2
