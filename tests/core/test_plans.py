"""Postgres looks things up by index, also through plans that were made while everything was still small."""

from __future__ import annotations

import json

import pytest
from langlog_backbone.embedded.servers import EmbeddedPostgres
from langlog_backbone.postgres.database import connect_pool, ensure_read_model, load_sql
from langlog_backbone.process.settings import Settings

APPLY = load_sql("langlog_projector", "apply.sql")


@pytest.mark.parametrize("name", ["remove_threads", "remove_checkpoints", "remove_orphan_blobs"])
async def test_a_plan_made_on_small_tables_does_not_read_all_of_them(postgres: EmbeddedPostgres, name: str) -> None:
    settings = Settings(database_uri=postgres.uri, projection="plans")
    async with await connect_pool(settings) as pool:
        await ensure_read_model(pool, settings)
        async with pool.acquire() as connection, connection.transaction():
            # what Postgres settles for once a statement has run a few times
            await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
            # (tables of other tests in this Postgres would take more locks than it has)
            own = "SELECT string_agg(tablename, ', ') FROM pg_tables WHERE schemaname = 'plans'"
            await connection.execute(f"ANALYZE {await connection.fetchval(own)}")
            statement = await connection.prepare(APPLY[name])
            plan = json.dumps(await statement.explain(["t"]))
    assert "Index" in plan
    assert "Seq Scan" not in plan
