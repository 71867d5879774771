"""A read model without pgvector stores vectors and reports that it cannot search them; with it, it can."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from langlog_backbone.embedded.servers import EmbeddedPostgres
from langlog_backbone.postgres.database import connect_pool, ensure_read_model
from langlog_backbone.process.service import StartError
from langlog_backbone.process.settings import Settings
from langlog_backbone.project.config import Configuration, Project
from langlog_backbone.project.store_index import StoreIndex, check_pgvector, store_index
from langlog_projector.folding.store import SQL


@pytest.fixture
def settings(postgres: EmbeddedPostgres) -> Settings:
    return Settings(database_uri=postgres.uri, projection=f"t{uuid.uuid4().hex[:12]}")


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[asyncpg.Pool]:
    async with await connect_pool(settings, size=1) as made:
        await ensure_read_model(made, settings)
        yield made


async def test_vectors_that_were_kept_without_pgvector_are_searched_once_it_is_there(
    pool: asyncpg.Pool, settings: Settings
) -> None:
    await check_pgvector(pool)
    await pool.execute("ALTER TABLE store_vectors ALTER COLUMN embedding TYPE real[] USING embedding::real[]")
    with pytest.raises(StartError, match="CREATE EXTENSION vector"):
        await check_pgvector(pool)
    await pool.execute(SQL["put_vector"], ["n"], "k", 0, "text", [1.0, 2.0], None)
    await ensure_read_model(pool, settings)
    await check_pgvector(pool)
    assert await pool.fetchval("SELECT embedding::text FROM store_vectors") == "[1,2]"
    await pool.execute(SQL["put_vector"], ["n"], "k", 0, "text", [1.0, 2.0, 3.0], None)
    assert await pool.fetchval("SELECT embedding::text FROM store_vectors") == "[1,2,3]"


def configured(index: Any) -> Configuration:
    return Configuration(Project(file=Path("langgraph.json"), graphs={}, config={"store": {"index": index}}))


def test_an_index_says_what_is_embedded() -> None:
    assert store_index(configured(None)) is None
    assert store_index(configured({"embed": "e.py:f", "dims": 3})) == StoreIndex("e.py:f", 3)
    assert StoreIndex("e.py:f", 3).paths == StoreIndex("e.py:f", 3, []).paths == ["$"]
    assert StoreIndex("e.py:f", 3, ["a"]).paths == ["a"]


@pytest.mark.parametrize(
    "index", [7, {}, {"embed": "e.py:f"}, {"embed": "e.py:f", "dims": 0}, {"embed": 1, "dims": 1}, {"dims": 99_999}]
)
def test_an_index_that_cannot_be_stops_the_start(index: Any) -> None:
    with pytest.raises(StartError, match=r"store\.index"):
        store_index(configured(index))
