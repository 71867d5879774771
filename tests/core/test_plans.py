"""Postgres looks things up by index, also through plans that were made while everything was still empty."""

from __future__ import annotations

import json

import pytest
from langlog_backbone.embedded import EmbeddedPostgres
from langlog_backbone.postgres import connect_pool, ensure_read_model
from langlog_backbone.settings import Settings


@pytest.mark.parametrize("table", ["threads", "runs", "checkpoints", "checkpoint_blobs", "checkpoint_writes", "frames"])
async def test_a_plan_made_on_an_empty_table_does_not_read_all_of_it(postgres: EmbeddedPostgres, table: str) -> None:
    settings = Settings(database_uri=postgres.uri, projection="plans")
    async with await connect_pool(settings) as pool:
        await ensure_read_model(pool, settings)
        async with pool.acquire() as connection:
            statement = await connection.prepare(f"SELECT * FROM {table} WHERE thread_id = any($1)")
            plan = json.dumps(await statement.explain(["t"]))
    assert "Index" in plan
    assert "Seq Scan" not in plan
