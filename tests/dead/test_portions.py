"""Keys with many large records behind a bad one: listed and released in portions."""

from __future__ import annotations

from typing import Any

import asyncpg
from langlog_backbone.log import Record
from langlog_backbone.operation import parked_keys
from langlog_backbone.time.clock import new_id
from langlog_executor.decider.parking.keys import ParkedKeys
from langlog_projector import parking
from langlog_projector.parking import release_events
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev

from tests.dead.stack import Stack

SIZE = 500_000
COUNT = 40


async def park(stack: Stack, topic: str, key: str) -> None:
    """Write rows of large parked records of the key into Postgres."""
    for number in range(COUNT):
        await stack.backbone.pool.execute(
            'INSERT INTO dead_letters (topic, part, "offset", key, type, state, error, headers, value, at) '
            "VALUES ($1, 0, $2, $3, 't', $4, NULL, '{}', $5, now())",
            topic,
            1_000_000 + number,
            key,
            "behind" if number else "bad",
            b'"%b"' % (b"x" * SIZE),
        )


class Read:
    """A connection that notes how many bytes of values it reads at most at once."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.most = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def fetch(self, sql: str, *args: Any) -> Any:
        rows = await self._connection.fetch(sql, *args)
        self.most = max(self.most, sum(len(row["value"] or b"") for row in rows if "value" in row))
        return rows


async def test_parked_events_are_released_in_portions_and_in_order(stack: Stack) -> None:
    key = new_id()
    await park(stack, ev.RUN_EVENTS, key)
    await park(stack, ev.STORE_EVENTS, key)
    folded: list[tuple[str, int]] = []

    async def fold(connection: asyncpg.Connection, record: Record) -> str | None:
        folded.append((record.topic, record.offset))
        if record.topic == ev.RUN_EVENTS and record.offset == 1_000_002:
            return "still bad"
        await parking.take_parked(connection, record)
        return None

    release = ev.ParkedEventsReleased(aggregate_id=key)
    record = Record(ev.DEAD_LETTERS, 0, 0, key, ev.encode(release), {"ce_time": "2026-01-01T00:00:00+00:00"})
    async with stack.backbone.pool.acquire() as connection:
        read: Any = Read(connection)
        await release_events(read, record, fold)
    assert folded == [
        *((ev.RUN_EVENTS, 1_000_000 + n) for n in range(3)),
        *((ev.STORE_EVENTS, 1_000_000 + n) for n in range(COUNT)),
    ]
    assert SIZE < read.most < parking.RELEASED_BYTES + 2 * SIZE


async def test_parked_commands_beyond_one_release_are_not_read(stack: Stack) -> None:
    key = new_id()
    await park(stack, cmd.TOPIC, key)
    async with stack.backbone.pool.acquire() as connection:
        read: Any = Read(connection)
        letters = await ParkedKeys().dead_letters(read, key, 4 * SIZE)
        names = await ParkedKeys().dead_letters(read, key)
    assert [letter.offset for letter in letters] == [1_000_000 + n for n in range(COUNT)]
    assert [letter.value is not None for letter in letters] == [True] * 4 + [False] * (COUNT - 4)
    assert len(names) == COUNT and not any(letter.value for letter in names)


async def test_parked_records_are_listed_in_portions(stack: Stack) -> None:
    key = new_id()
    await park(stack, cmd.TOPIC, key)
    await park(stack, ev.RUN_EVENTS, key)
    async with stack.backbone.pool.acquire() as connection:
        read: Any = Read(connection)
        origins = [record.origin async for record in parked_keys.records_of(read, key)]
    assert origins == [f"{topic}-0-{1_000_000 + n}" for topic in (ev.RUN_EVENTS, cmd.TOPIC) for n in range(COUNT)]
    assert SIZE < read.most < parked_keys.PORTION_BYTES + 2 * SIZE
