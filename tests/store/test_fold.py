"""However the events of the store fall into batches, the same items and vectors come of them."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from langlog_backbone.embedded.servers import EmbeddedPostgres
from langlog_backbone.postgres.database import connect_pool, ensure_read_model
from langlog_backbone.process.settings import Settings
from langlog_projector.folding.changes import Changes
from langlog_projector.folding.store import StoreChanges
from langlog_schemas import events as ev
from langlog_schemas.commands import StoreOp, StoreVector
from langlog_schemas.rules.vectors import pack, similarity, unpack
from msgspec import Raw

START = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = st.sampled_from(["a", "b"])
MINUTES = st.sampled_from([None, 0.0, 1.0, 2.5, 5.0])


def moment(minute: float) -> str:
    return (START + timedelta(minutes=minute)).isoformat()


@st.composite
def puts(draw: st.DrawFn) -> StoreOp:
    count = draw(st.integers(0, 3))
    return StoreOp(
        key=draw(KEYS),
        value=Raw(b'{"n":%d}' % draw(st.integers(0, 9))),
        ttl=draw(MINUTES),
        vectors=[StoreVector(f"p{n}", *pack([float(n), draw(st.integers(0, 3)) / 5])) for n in range(count)],
    )


OPS = st.one_of(
    puts(),
    KEYS.map(lambda key: StoreOp(key=key)),
    st.builds(lambda key, at: StoreOp(key=key, expired_by=moment(at)), KEYS, st.integers(0, 12)),
)
EVENTS = st.one_of(
    st.lists(OPS, min_size=1, max_size=3).map(lambda ops: ev.StoreWritten(namespace=["n", "m"], ops=ops)),
    st.builds(
        lambda key, at: ev.StoreRefreshed(namespace=["n", "m"], keys=[key], read_at=moment(at)),
        KEYS,
        st.integers(0, 12),
    ),
)


@pytest.fixture
async def pool(postgres: EmbeddedPostgres) -> AsyncIterator[asyncpg.Pool]:
    settings = Settings(database_uri=postgres.uri, projection=f"t{uuid.uuid4().hex[:12]}")
    async with await connect_pool(settings, size=1) as made:
        await ensure_read_model(made, settings)
        yield made


async def folded(connection: asyncpg.Connection, batches: list[list[tuple[ev.AnyEvent, datetime]]]) -> list[Any]:
    """The rows that these batches lead to; nothing stays."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        for batch in batches:
            changes = StoreChanges()
            for event, at in batch:
                assert isinstance(event, ev.StoreWritten | ev.StoreRefreshed)
                changes.note(event, at)
            await changes.apply(connection)
        items = await connection.fetch("SELECT * FROM store_items ORDER BY namespace, key")
        vectors = await connection.fetch(
            "SELECT namespace, key, n, path, embedding::text, exact FROM store_vectors ORDER BY namespace, key, n"
        )
        return [tuple(row) for row in (*items, *vectors)]
    finally:
        await transaction.rollback()


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(history=st.lists(EVENTS, min_size=1, max_size=8), cuts=st.sets(st.integers(1, 7)))
async def test_batches_come_to_the_same_as_events_one_by_one(
    pool: asyncpg.Pool, history: list[ev.AnyEvent], cuts: set[int]
) -> None:
    timed = [(event, START + timedelta(minutes=n)) for n, event in enumerate(history)]
    edges = [0, *sorted(cut for cut in cuts if cut < len(timed)), len(timed)]
    batches = [timed[a:b] for a, b in itertools.pairwise(edges)]
    async with pool.acquire() as connection:
        assert await folded(connection, batches) == await folded(connection, [[one] for one in timed])


def test_a_batch_without_anything_of_the_store_leaves_nothing_to_write() -> None:
    changes = Changes()
    assert changes.empty
    changes.store.note(ev.StoreWritten(namespace=["n"], ops=[StoreOp(key="k")]), START)
    assert not changes.empty


def test_a_long_embedding_travels_in_32_bits() -> None:
    packed, bits = pack([1.0, -0.5] * 33)
    assert (packed[:8], bits) == (b"\0\0\x80\x3f\0\0\0\xbf", 32)
    assert unpack(*pack([0.1] * 65)) == pytest.approx([0.1] * 65, abs=1e-8)
    with pytest.raises(ValueError):
        unpack(b"abc", 32)


@given(st.lists(st.floats(allow_nan=False), max_size=5))
def test_a_short_embedding_arrives_as_it_was(numbers: list[float]) -> None:
    assert unpack(*pack(numbers)) == numbers


def test_how_near_vectors_are() -> None:
    assert similarity([3, 4])([3, 4]) == 1 and similarity([1, 0])([0, 2]) == 0
    assert similarity([1, 1])([-2, -2]) == pytest.approx(-1)
    assert similarity([0, 0])([1, 1]) == 0, "no direction"
