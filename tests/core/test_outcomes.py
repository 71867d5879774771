"""Retention of the outcome of a command with an Idempotency-Key; the rows depend on the log only, however it is read."""

from __future__ import annotations

import random
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from langlog_backbone.embedded.servers import EmbeddedPostgres
from langlog_backbone.postgres.database import connect_pool, ensure_read_model
from langlog_backbone.process.settings import Settings
from langlog_projector.folding.outcomes import KEPT_LEAST, Outcome, OutcomeChanges

START = datetime(2026, 1, 1, tzinfo=UTC)
KEPT = timedelta(days=2)


@pytest.fixture
async def pool(postgres: EmbeddedPostgres) -> AsyncIterator[asyncpg.Pool]:
    settings = Settings(database_uri=postgres.uri, projection=f"t{uuid.uuid4().hex[:12]}")
    pool = await connect_pool(settings, size=1)
    await ensure_read_model(pool, settings)
    yield pool
    await pool.execute(f"DROP SCHEMA {settings.projection} CASCADE")
    await pool.close()


def outcome(topic: str, part: int, hours: float) -> Outcome:
    return Outcome(topic, part, "t", 200, None, "thread.created.v1", "{}", START + timedelta(hours=hours))


async def known(pool: asyncpg.Pool) -> set[str]:
    return {row["command_id"] for row in await pool.fetch("SELECT command_id FROM outcomes")}


async def write(pool: asyncpg.Pool, outcomes: dict[str, Outcome], kept: timedelta = KEPT) -> None:
    changes = OutcomeChanges()
    for command_id, entry in outcomes.items():
        changes.add(command_id, entry, kept)
    async with pool.acquire() as connection:
        await changes.apply(connection)


async def test_what_is_too_far_behind_the_newest_of_its_partition_goes(pool: asyncpg.Pool) -> None:
    await write(pool, {"old": outcome("run-events", 1, 0), "elsewhere": outcome("run-events", 2, 0)})
    await write(pool, {"young": outcome("run-events", 1, 47)})
    assert await known(pool) == {"old", "elsewhere", "young"}
    await write(pool, {"cron": outcome("cron-events", 1, 99), "newest": outcome("run-events", 1, 49)})
    assert await known(pool) == {"elsewhere", "young", "cron", "newest"}


async def test_the_first_outcome_of_a_command_stands(pool: asyncpg.Pool) -> None:
    await write(pool, {"a": outcome("run-events", 1, 0)})
    await write(pool, {"a": outcome("run-events", 1, 1)})
    assert await pool.fetchval("SELECT at FROM outcomes") == START


@pytest.mark.parametrize("seed", range(5))
async def test_the_rows_do_not_depend_on_where_batches_end(pool: asyncpg.Pool, seed: int) -> None:
    chance = random.Random(seed)
    # clocks of those who append differ: the times of a partition are not in order
    log = {
        f"c{n}": outcome(chance.choice(["run-events", "cron-events"]), chance.randrange(2), n + chance.uniform(-60, 60))
        for n in range(150)
    }
    newest: dict[tuple[str, int], datetime] = {}
    for entry in log.values():
        partition = (entry.topic, entry.part)
        newest[partition] = max(newest.get(partition, START), entry.at)
    expected = {id for id, entry in log.items() if entry.at >= newest[entry.topic, entry.part] - KEPT}
    for size in (1, chance.randint(2, 40), len(log)):
        await pool.execute("TRUNCATE outcomes")
        ids = list(log)
        for at in range(0, len(ids), size):
            await write(pool, {id: log[id] for id in ids[at : at + size]})
        assert await known(pool) == expected
    assert 0 < len(expected) < len(log)


async def test_an_hour_is_the_least(pool: asyncpg.Pool) -> None:
    await write(pool, {"a": outcome("run-events", 1, 0)}, timedelta(0))
    await write(pool, {"b": outcome("run-events", 1, 0.9)}, timedelta(0))
    assert await known(pool) == {"a", "b"}
    await write(pool, {"c": outcome("run-events", 1, KEPT_LEAST / timedelta(hours=1) + 0.1)}, timedelta(0))
    assert await known(pool) == {"b", "c"}
