"""Records looked up by their offsets, on both logs."""

from __future__ import annotations

import asyncio
import random

from langlog_backbone.log import Log

from tests.log.conftest import LIMIT_S, record


async def test_records_are_found_by_their_offsets_wherever_they_lie_in_the_partition(log: Log) -> None:
    positions = await log.append([record("one", f"{n}") for n in range(700)])
    partition, first = positions[0].partition, positions[0].offset
    asked = [first + n for n in (650, 0, 3, 4, 699)]
    rows = await log.fetch("commands", partition, asked)
    assert [(r.offset - first, r.value) for r in rows] == [(n, b"%d" % n) for n in (0, 3, 4, 650, 699)]
    assert {(r.topic, r.partition, r.key, r.headers["ce_id"]) for r in rows} == {
        ("commands", partition, "one", "id of one")
    }


async def test_what_is_not_there_is_left_out_without_waiting_for_it(log: Log) -> None:
    positions = await log.append([record("one", "here")])
    partition, offset = positions[0]
    assert [r.value for r in await log.fetch("commands", partition, [offset, offset + 1, 10**9])] == [b"here"]
    assert await log.fetch("run-events", partition, [0]) == []
    assert await log.fetch("commands", partition, []) == []


async def test_several_may_ask_at_once_and_readers_go_on_beside_them(log: Log) -> None:
    places = {key: (await log.append([record(key, key)]))[0] for key in ("a", "b", "c")}
    rows = await asyncio.gather(*(log.fetch("commands", p.partition, [p.offset]) for p in places.values()))
    assert [records[0].value.decode() for records in rows] == list(places)


async def test_a_fetch_that_is_broken_off_delays_no_other(log: Log) -> None:
    """Clients leave at any moment, and the handler that fetches for them is cancelled wherever it is."""
    positions = await log.append([record("k", str(n) * 100) for n in range(200)])
    partition, offsets = log.partition_of("k"), [position.offset for position in positions]
    chance = random.Random(7)
    for _ in range(40):
        wanted = sorted(chance.sample(offsets, 5))
        broken_off, waiting = (asyncio.create_task(log.fetch("commands", partition, wanted)) for _ in range(2))
        await asyncio.sleep(chance.random() * chance.choice([0.001, 0.02, 0.2]))
        broken_off.cancel()
        async with asyncio.timeout(LIMIT_S):
            assert [fetched.offset for fetched in await waiting] == wanted
            assert [fetched.offset for fetched in await log.fetch("commands", partition, wanted)] == wanted
