"""Tables and indexes are made where they are missing, and nothing is locked where they are there."""

from __future__ import annotations

import asyncio
import uuid

import asyncpg
import pytest
from langlog_backbone.embedded.servers import EmbeddedPostgres
from langlog_backbone.log.encryption.keys import ThreadKeys
from langlog_backbone.postgres.database import connect_pool, ensure_read_model
from langlog_backbone.postgres.ddl import statements
from langlog_backbone.process.settings import Settings

LIMIT_S = 60.0
OBJECTS = "SELECT relname, relkind FROM pg_class WHERE relnamespace = to_regnamespace($1) ORDER BY relname"
TABLES = "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname = ANY ($1)"


@pytest.fixture
def settings(postgres: EmbeddedPostgres) -> Settings:
    schema = f"t{uuid.uuid4().hex[:12]}"
    return Settings(database_uri=postgres.uri, projection=schema, keys_schema=f"{schema}_keys", encryption="on")


async def start(settings: Settings) -> None:
    """Create the schema like a service."""
    pool = await connect_pool(settings, size=1)
    try:
        await ensure_read_model(pool, settings)
    finally:
        await pool.close()
    keys = ThreadKeys(settings)
    await keys.start()
    await keys.stop()


async def test_a_start_waits_for_nobody_who_holds_locks_on_the_tables(settings: Settings) -> None:
    await start(settings)
    pool = await connect_pool(settings, size=1)
    connection = await asyncpg.connect(settings.database_uri)
    tables = [row["name"] for row in await connection.fetch(TABLES, [settings.projection, settings.keys_schema])]
    try:
        async with asyncio.timeout(LIMIT_S):
            async with connection.transaction():  # writers
                await connection.execute(f"LOCK TABLE {', '.join(tables)} IN ROW EXCLUSIVE MODE")
                await start(settings)
            async with connection.transaction():  # an operator: nobody else reads
                await connection.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
                await ensure_read_model(pool, settings)
    finally:
        await connection.close()
        await pool.close()


async def test_several_first_starts_at_once_make_everything(settings: Settings) -> None:
    async with asyncio.timeout(LIMIT_S):
        await asyncio.gather(*(start(settings) for _ in range(4)))
    connection = await asyncpg.connect(settings.database_uri)
    try:
        there = {row["relname"] for row in await connection.fetch(OBJECTS, settings.projection)}
        assert {"positions", "threads", "threads_metadata", "dead_letters_open"} <= there
        assert await connection.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
    finally:
        await connection.close()


async def test_what_is_missing_is_made_again(settings: Settings) -> None:
    await start(settings)
    connection = await asyncpg.connect(settings.database_uri)
    try:
        before = await connection.fetch(OBJECTS, settings.projection)
        await connection.execute(f"DROP INDEX {settings.projection}.threads_metadata")
        await connection.execute(f"DROP TABLE {settings.projection}.webhooks")
        await start(settings)
        assert await connection.fetch(OBJECTS, settings.projection) == before
    finally:
        await connection.close()


async def test_keys_are_on_disk_before_they_are_used(settings: Settings) -> None:
    """The embedded server commits without waiting for the disk, as the read model may."""
    keys = ThreadKeys(settings)
    await keys.start()
    try:
        assert keys._pool is not None
        assert await keys._pool.fetchval("SHOW synchronous_commit") == "on"
    finally:
        await keys.stop()


def test_a_script_falls_into_its_statements() -> None:
    script = """
    CREATE TABLE IF NOT EXISTS a (x int); -- with; a comment
    CREATE UNIQUE INDEX IF NOT EXISTS b ON a (x);
    DO $$ BEGIN PERFORM 1; PERFORM 2; END $$;
    CREATE TABLE IF NOT EXISTS other.c (y int)
    """
    parts = list(statements(script))
    assert [name for name, _ in parts] == ["a", "b", None, "c"]
    assert parts[2][1] == "DO $$ BEGIN PERFORM 1; PERFORM 2; END $$"
