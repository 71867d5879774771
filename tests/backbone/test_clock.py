"""The clock that all processes share: Postgres', counted on by the monotonic clock."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from langlog_backbone.embedded.servers import EmbeddedPostgres
from langlog_backbone.postgres import server_clock
from langlog_backbone.postgres.database import connect_pool
from langlog_backbone.postgres.pool import Pool
from langlog_backbone.postgres.server_clock import following_postgres, measure
from langlog_backbone.process.settings import Settings
from langlog_backbone.time.clock import SharedClock, iso, now, now_iso

from tests.stack.sources import in_virtual_time

S = 1_000_000_000
MS = 1_000_000
SERVER = 1_800_000_000 * S


def learnt(clock: SharedClock, off_ns: int, took_ns: int, at_ns: int = 0) -> int:
    """Measure while the monotonic clock continues from ``at_ns``; the server's clock is at SERVER then. Return the error of
    the offset."""
    clock.learn(SERVER + at_ns + took_ns // 2, at_ns, at_ns + took_ns, SERVER + at_ns + took_ns + off_ns)
    assert clock.offset_ns is not None
    return clock.offset_ns - SERVER


def test_without_a_measurement_the_machine_counts() -> None:
    assert abs(SharedClock().time_ns() - time.time_ns()) < 60 * S


@pytest.mark.parametrize("ns", [0, 999, 1_000, S - 1, S, S + 1_000, 86_399 * S + 120_000, SERVER + 7 * MS])
def test_a_time_is_written_with_six_digits_of_its_second(monkeypatch: pytest.MonkeyPatch, ns: int) -> None:
    monkeypatch.setattr(SharedClock, "time_ns", lambda _: ns)
    moment = datetime.fromtimestamp(ns // S, UTC).replace(microsecond=ns % S // 1_000)
    assert now() == moment
    assert now_iso() == iso(moment) == moment.isoformat(timespec="microseconds")


@pytest.mark.parametrize("off_ns", [0, 4 * MS, -4 * MS])
def test_a_machine_that_agrees_within_the_measurement_is_believed(off_ns: int) -> None:
    assert learnt(SharedClock(), off_ns, took_ns=10 * MS) == off_ns


@pytest.mark.parametrize("off_s", [0.5, -0.5, 90, -90, 86_400, -86_400])
def test_a_machine_that_is_off_is_not_believed(off_s: float) -> None:
    clock = SharedClock()
    assert learnt(clock, int(off_s * S), took_ns=10 * MS) == 0
    # a worse measurement does not spoil a better one, one that contradicts it counts
    assert learnt(clock, int(off_s * S), took_ns=300 * MS, at_ns=10 * S) == 0
    clock.offset_ns = SERVER + S
    assert learnt(clock, int(off_s * S), took_ns=300 * MS, at_ns=20 * S) == 0


def test_a_clock_that_is_set_right_is_believed_again() -> None:
    clock = SharedClock()
    learnt(clock, 90 * S, took_ns=10 * MS)
    assert learnt(clock, 2 * MS, took_ns=10 * MS, at_ns=10 * S) == 2 * MS


async def test_postgres_says_the_time(postgres: EmbeddedPostgres) -> None:
    pool, clock = Pool(await connect_pool(Settings(database_uri=postgres.uri), size=1)), SharedClock()
    try:
        began = time.time_ns()
        await measure(pool, clock)
        assert began - MS <= clock.time_ns() <= time.time_ns() + MS, "one machine, one clock"
    finally:
        await pool.close()


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[int]:
    """Numbers of the measurements that were made: the second hangs, the third ends with an error that is no outage."""
    made, begun = asyncio.Queue[int](), iter(range(1, 1_000))

    async def fake(_: Any) -> None:
        number = next(begun)
        if number == 2:
            await asyncio.Event().wait()
        if number == 3:
            raise asyncpg.InternalServerError("a defect")
        made.put_nowait(number)

    monkeypatch.setattr(server_clock, "measure", fake)
    return made


@in_virtual_time
async def test_a_measurement_that_hangs_or_fails_is_followed_by_the_next_one(measured: asyncio.Queue[int]) -> None:
    no_pool: Any = None
    async with asyncio.timeout(3600), following_postgres(no_pool):
        assert [await measured.get() for _ in range(3)] == [1, 4, 5]
