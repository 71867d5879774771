"""TTLs of items, from nodes and over HTTP: given, defaulted, put off by reads (wire contract §11 and §16)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from langlog_backbone.store.refresh import Refreshes, commands_of

from tests.stack.waiting import until

from .conftest import MakeSide
from .sides import Side, expiry


@pytest.fixture
async def side(make_side: MakeSide) -> AsyncIterator[Side]:
    async with make_side({"default_ttl": 10}) as made:
        yield made


def minutes_left(expires_at: datetime) -> float:
    return (expires_at - datetime.now(UTC)).total_seconds() / 60


async def age(side: Side, key: str, minutes: float) -> datetime:
    """Let an item's end come nearer; when that now is."""
    sql = (
        "UPDATE store_items SET expires_at = expires_at - make_interval(secs => $2) WHERE key = $1 RETURNING expires_at"
    )
    value: datetime = await side.backbone.pool.fetchval(sql, key, minutes * 60.0)
    return value


async def later(side: Side, key: str, than: datetime) -> datetime:
    async def look() -> Any:
        expires_at = await expiry(side.backbone.pool, key)
        return expires_at if expires_at > than else None

    return await until(side.backbone, look)


async def test_an_item_without_a_ttl_gets_the_projects_and_one_with_a_ttl_keeps_its_own(side: Side) -> None:
    await side.put(["n"], "default", {})
    await side.put(["n"], "own", {}, ttl=100)
    pool = side.backbone.pool
    assert 9 < minutes_left(await expiry(pool, "default")) < 10
    assert 99 < minutes_left(await expiry(pool, "own")) < 100


@pytest.mark.parametrize("how", ["get", "search", "query", "filter"])
async def test_a_read_puts_off_the_end(side: Side, how: str) -> None:
    await side.put(["n"], "k", {"text": "a"})
    soon = await age(side, "k", 5)
    match how:
        case "get":
            await side.get(["n"], "k")
        case "search":
            await side.search(["n"])
        case "query":
            await side.search(["n"], query="a")
        case _:
            await side.search(["n"], query="a", filter={"text": "a"})
    assert 9 < minutes_left(await later(side, "k", soon)) < 10
    row = await side.backbone.pool.fetchrow("SELECT created_at, updated_at FROM store_items")
    assert row["created_at"] == row["updated_at"]


async def test_a_read_that_is_not_to_puts_off_nothing(side: Side) -> None:
    await side.put(["n"], "left", {"text": "a"})
    await side.put(["n"], "read", {"text": "a"})
    soon = await age(side, "left", 5)
    read = await age(side, "read", 5)
    await side.get(["n"], "left", refresh_ttl=False)
    await side.search(["n"], refresh_ttl=False)
    await side.search(["n"], query="a", refresh_ttl=False)
    await side.get(["n"], "read")
    await later(side, "read", read)  # by now the others would have been written too
    assert await expiry(side.backbone.pool, "left") == soon


async def test_the_project_may_say_that_reads_put_off_nothing(make_side: MakeSide) -> None:
    async with make_side({"default_ttl": 10, "refresh_on_read": False}) as side:
        for key in ("left", "asked"):
            await side.put(["n"], key, {})
        soon = await age(side, "left", 5)
        asked = await age(side, "asked", 5)
        await side.get(["n"], "left")
        await side.get(["n"], "asked", refresh_ttl=True)
        await later(side, "asked", asked)
        assert await expiry(side.backbone.pool, "left") == soon


async def test_what_is_past_its_time_is_not_there_though_nobody_has_swept(side: Side) -> None:
    await side.put(["n", "gone"], "k", {"text": "a"})
    await side.put(["n"], "there", {"text": "a"})
    await age(side, "k", 10)
    assert await side.get(["n", "gone"], "k") is None
    assert [f.key for f in await side.search(["n"])] == ["there"]
    assert [f.key for f in await side.search(["n"], query="a")] == ["there"]
    assert await side.namespaces() == [["n"]]
    assert await side.backbone.pool.fetchval("SELECT count(*) FROM store_items") == 2


async def test_writing_again_begins_a_new_life(side: Side) -> None:
    await side.put(["n"], "k", {"v": 1}, ttl=1)
    await side.put(["n"], "k", {"v": 2}, ttl=100)
    assert minutes_left(await expiry(side.backbone.pool, "k")) > 99


class Appended:
    """A log that collects records."""

    def __init__(self) -> None:
        self.calls: list[list[Any]] = []

    async def append(self, records: list[Any]) -> None:
        self.calls.append(records)


def row(key: str, left_min: float | None, ttl: float | None = 10.0, namespace: str = "n") -> dict[str, Any]:
    expires_at = None if left_min is None else datetime.now(UTC) + timedelta(minutes=left_min)
    return {"namespace": [namespace], "key": key, "expires_at": expires_at, "ttl_minutes": ttl}


async def test_reads_of_a_moment_are_written_together_and_no_read_waits() -> None:
    log: Any = Appended()
    refreshes = Refreshes(log, "/test")
    for n in range(200):
        refreshes.note([row(f"k{n % 50}", 5), row("other", 5, namespace="m")])
    assert not log.calls
    await asyncio.sleep(0)
    await refreshes.stop()
    [records] = log.calls
    assert [record.key for record in records] == ["n", "m"]


async def test_a_read_that_gains_too_little_is_not_written() -> None:
    log: Any = Appended()
    refreshes = Refreshes(log, "/test")
    refreshes.note([row("just written", 9.95), row("without", None, None), row("long", 100, 10.0)])
    await refreshes.stop()
    assert not log.calls


def test_a_command_names_so_many_items_at_most() -> None:
    now = datetime.now(UTC)
    commands = commands_of({(("n",), str(n)): now for n in range(2_500)})
    assert [len(command.keys) for command in commands] == [1_000, 1_000, 500]
