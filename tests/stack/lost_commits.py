"""A Postgres that loses its last commits, as a crash without synchronous commits or a failover would have it, at a chosen moment."""

from __future__ import annotations

from typing import Any

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename NOT LIKE 'saved\\_%' ORDER BY tablename"
ENDED = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


async def save(pool: Any) -> None:
    """Save the committed state, to which `lose` goes back. ``pool``: on the read model."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(f"LOCK TABLE {', '.join(await _tables(connection))} IN SHARE MODE")
        for table in await _tables(connection):
            await connection.execute(f"DROP TABLE IF EXISTS saved_{table}")
            await connection.execute(f"CREATE TABLE saved_{table} AS TABLE {table}")


async def lose(pool: Any, *, connections: bool = False) -> None:
    """All commits since `save`. ``connections``: all of them end too, as in a crash."""
    async with pool.acquire() as connection:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {', '.join(await _tables(connection))} IN ACCESS EXCLUSIVE MODE")
            for table in await _tables(connection):
                await connection.execute(f"DELETE FROM {table}")
                await connection.execute(f"INSERT INTO {table} SELECT * FROM saved_{table}")
            if connections:
                await connection.execute(ENDED)
        if connections:
            connection.terminate()


async def _tables(connection: Any) -> list[str]:
    return [row["tablename"] for row in await connection.fetch(TABLES)]
