"""The deployment's secret: one for all gateways, kept, and in every id of a request with an Idempotency-Key."""

from __future__ import annotations

import asyncio
import os
import stat
import uuid
from pathlib import Path

import pytest
from langlog_backbone.credentials.deployment_secret import SIZE, deployment_secrets
from langlog_backbone.embedded.servers import EmbeddedPostgres
from langlog_backbone.postgres.database import connect_pool
from langlog_backbone.postgres.pool import Pool
from langlog_backbone.process.service import StartError
from langlog_backbone.process.settings import Settings
from langlog_schemas.ids import idempotent_id

KAFKA = "kafka://127.0.0.1:9"


def settings(postgres: EmbeddedPostgres, log_uri: str, **changes: str) -> Settings:
    return Settings(database_uri=postgres.uri, log_uri=log_uri, **changes)


async def of_all(postgres: EmbeddedPostgres, result: Settings, count: int) -> list[bytes]:
    """Return the secrets of processes that start at once."""
    pools = [Pool(await connect_pool(result, size=2)) for _ in range(count)]
    try:
        return [first for first, *_ in await asyncio.gather(*(deployment_secrets(pool, result) for pool in pools))]
    finally:
        for pool in pools:
            await pool.close()


async def test_gateways_that_start_at_once_have_one_secret_and_keep_it(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    first = settings(postgres, KAFKA, keys_schema=f"k{uuid.uuid4().hex}")
    other = settings(postgres, KAFKA, keys_schema=f"k{uuid.uuid4().hex}")
    embedded = settings(postgres, f"sqlite://{tmp_path / 'log.sqlite'}")
    kinds = []
    for entry in (first, other, embedded):
        (made,) = set(await of_all(postgres, entry, 4))
        assert len(made) == SIZE
        assert await of_all(postgres, entry, 1) == [made]
        kinds.append(made)
    assert len(set(kinds)) == 3
    (file,) = tmp_path.iterdir()
    assert (file.name, stat.S_IMODE(file.stat().st_mode)) == ("log.sqlite.secret", 0o600)


async def test_a_secret_that_is_set_wins(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    result = settings(
        postgres, f"sqlite://{tmp_path / 'log.sqlite'}", secret="a secret that is set, a former secret that was set"
    )
    assert await of_all(postgres, result, 1) == [b"a secret that is set"]
    assert os.listdir(tmp_path) == []


async def test_a_secret_that_can_be_guessed_stops_the_start(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(StartError, match="at least 16 characters"):
        await of_all(postgres, settings(postgres, KAFKA, secret="short"), 1)


async def test_a_damaged_secret_stops_the_start_and_is_not_replaced(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    (tmp_path / "log.sqlite.secret").write_bytes(b"half")
    with pytest.raises(StartError, match="LANGLOG_SECRET"):
        await of_all(postgres, settings(postgres, f"sqlite://{tmp_path / 'log.sqlite'}"), 1)
    with pytest.raises(StartError, match="LANGLOG_KEYS_SCHEMA"):
        await of_all(postgres, settings(postgres, KAFKA, keys_schema="a b"), 1)


def test_ids_of_a_key_differ_by_secret_caller_key_and_kind() -> None:
    members = {
        idempotent_id(secret, actor, key, what)
        for secret in (b"a", b"b")
        for actor in (None, "x")
        for key in ("k", "l")
        for what in ("run", "thread")
    }
    assert len(members) == 16
    assert idempotent_id(b"a", "x", "k", "run") == idempotent_id(b"a", "x", "k", "run")
    assert all(str(uuid.UUID(id)) == id for id in members)
    assert idempotent_id(b"a", "x\x1frun", "k", "t") != idempotent_id(b"a", "x", "k", "run\x1ft")
