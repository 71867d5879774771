"""Guarantees of a reader, on both logs."""

from __future__ import annotations

import asyncio

import pytest
from langlog_backbone.log import Log, LogFault, Record
from langlog_backbone.log.kafka import client
from langlog_backbone.log.kafka import reader as kafka_reader
from langlog_backbone.log.sqlite import sqlite_log
from langlog_backbone.process.settings import Settings

from tests.log.conftest import LIMIT_S, Following, OpenLog, RecordedAssignment, record, stopped_after, take

TOPICS = ("commands", "run-events")

NEVER_S = 20 * LIMIT_S


@pytest.fixture
def by_signals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever makes a reader look by itself comes after `LIMIT_S`: only what is appended wakes it before."""
    monkeypatch.setattr(sqlite_log, "READ_AGAIN_S", NEVER_S)
    monkeypatch.setattr(client, "FETCH_WAIT_MS", int(NEVER_S * 1000))
    monkeypatch.setattr(client, "REQUEST_TIMEOUT_S", 2 * NEVER_S)  # of one fetch, which waits as long as that
    monkeypatch.setattr(kafka_reader, "WAIT_MS", int(NEVER_S * 1000))


async def test_a_reader_goes_on_from_the_positions_given_and_from_the_beginning_where_none_is(log: Log) -> None:
    positions = await log.append([record(f"key {i}", f"{i}") for i in range(80)])
    partition = positions[0].partition
    there = [p.offset for p in positions if p.partition == partition]
    start = {("commands", partition): there[len(there) // 2]}
    async with stopped_after(log.reader(["commands"], start)) as reader:
        result = await take(reader, 80 - len(there) // 2)
    for p in range(log.partitions):
        first = start.get(("commands", p), 0)
        offsets = [r.offset for r in result if r.partition == p]
        assert offsets == list(range(first, first + len(offsets)))


async def test_a_reader_may_stop_anywhere_and_another_goes_on_without_gap_or_repeat(log: Log) -> None:
    await log.append([record(f"key {i}", f"{i}") for i in range(100)])
    next_offsets: dict[tuple[str, int], int] = {}
    seen: list[int] = []
    while len(seen) < 100:
        async with stopped_after(log.reader(["commands"], next_offsets)) as reader:
            async with asyncio.timeout(LIMIT_S):
                events = await reader.read(max_records=17)
        assert 0 < len(events) <= 17
        for r in events:
            assert r.offset == next_offsets.get(("commands", r.partition), 0)
            next_offsets["commands", r.partition] = r.offset + 1
            seen.append(int(r.value))
    assert sorted(seen) == list(range(100))


async def test_a_reader_at_the_end_gets_only_what_comes_then(log: Log) -> None:
    await log.append([record(f"key {i}", "old") for i in range(30)])
    ends = await log.end_offsets("commands")
    start = {("commands", p): end for p, end in enumerate(ends)}
    async with stopped_after(log.reader(["commands"], start)) as reader:
        reading = asyncio.create_task(take(reader, 3))
        await log.append([record(f"key {i}", "new") for i in range(3)])
        assert [r.value for r in await reading] == [b"new"] * 3


async def test_a_reader_gets_only_its_topics(log: Log) -> None:
    async with stopped_after(log.reader(["run-events"])) as reader:
        reading = asyncio.create_task(take(reader, 2))
        await log.append([record("a", "no"), record("a", "yes", "run-events"), record("b", "no", "store-events")])
        await log.append([record("a", "yes", "run-events")])
        assert [r.value for r in await reading] == [b"yes", b"yes"]


async def test_many_readers_see_everything_each(log: Log) -> None:
    followers = [Following(log.reader(["commands", "run-events"])) for _ in range(4)]
    followers.append(Following(log.reader(["run-events"])))
    for i in range(40):
        await log.append([record(f"key {i}", f"{i}"), record(f"key {i}", f"{i}", "run-events")])
    for follower in followers[:-1]:
        assert len(await follower.until(80)) == 80
    assert len(await followers[-1].until(40)) == 40
    for follower in followers:
        by_key = [r.value for r in follower.records if r.topic == "run-events" and r.partition == 0]
        assert len(by_key) == len(set(by_key))
        await follower.stop()


async def test_what_is_appended_wakes_a_blocked_reader(by_signals_alone: None, log: Log) -> None:
    await wakes_each_time(log, log)


async def test_what_another_instance_appends_wakes_a_blocked_reader(
    by_signals_alone: None, settings: Settings, open_started: OpenLog
) -> None:
    await wakes_each_time(await open_started(settings), await open_started(settings))


async def wakes_each_time(reads: Log, appends: Log) -> None:
    async with stopped_after(reads.reader(["commands"])) as reader:
        await appends.append([record("a", "warm up")])
        await take(reader, 1)
        for i in range(20):
            reading = asyncio.create_task(reader.read())
            await asyncio.sleep(0)
            await appends.append([record("a", f"{i}")])
            (result,) = await asyncio.wait_for(reading, LIMIT_S)
            assert result.value == f"{i}".encode()


async def test_a_reader_that_starts_while_others_append_misses_nothing(
    settings: Settings, open_started: OpenLog
) -> None:
    ours, theirs = await open_started(settings), await open_started(settings)

    async def append(log: Log, name: str) -> None:
        for i in range(100):
            await log.append([record(f"{name} {i % 5}", f"{i}"), record(f"{name} {i % 5}", f"{i}", "run-events")])

    appending = [asyncio.create_task(append(ours, "ours")), asyncio.create_task(append(theirs, "theirs"))]
    followers = []
    for topics in (["commands"], ["run-events"], ["commands", "run-events"]):
        followers.append(Following(ours.reader(topics)))
        await ours.append([record("step", "store", "store-events")])
    await asyncio.gather(*appending)
    for follower, count in zip(followers, (200, 200, 400), strict=True):
        result = await follower.until(count)
        assert len(result) == count
        for topic in {r.topic for r in result}:
            for p in range(ours.partitions):
                offsets = [r.offset for r in result if (r.topic, r.partition) == (topic, p)]
                assert offsets == list(range(len(offsets)))
        await follower.stop()


async def test_a_read_that_was_cancelled_has_taken_nothing(log: Log) -> None:
    async with stopped_after(log.reader(["commands"])) as reader:
        for i in range(30):
            reading = asyncio.create_task(reader.read())
            for _ in range(i % 5):
                await asyncio.sleep(0)
            reading.cancel()
            results = await asyncio.gather(reading, return_exceptions=True)
            assert isinstance(results[0], asyncio.CancelledError) or results[0] == []
        await log.append([record("a", f"{i}") for i in range(10)])
        reading = asyncio.create_task(reader.read())
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert [int(r.value) for r in await take(reader, 10)] == list(range(10))


async def test_a_reader_that_lags_gets_everything_all_the_same(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    from langlog_backbone.log.sqlite import reader as sqlite_reader

    monkeypatch.setattr(sqlite_reader, "QUEUE_BYTES", 50_000)
    async with stopped_after(log.reader(["commands"])) as reader:
        await log.append([record("a", "0")])
        result = await take(reader, 1)
        for i in range(1, 300):
            await log.append([record(f"key {i % 3}", f"{i}".ljust(1000))])
        result += await take(reader, 299, max_records=10)
    assert sorted(int(r.value) for r in result) == list(range(300))
    for key in {r.key for r in result}:
        values = [int(r.value) for r in result if r.key == key]
        assert values == sorted(values)


async def test_a_position_beyond_the_end_is_a_fault(log: Log) -> None:
    (position,) = await log.append([record("a", "x")])
    async with stopped_after(log.reader(["commands"], {("commands", position.partition): 1_000})) as reader:
        with pytest.raises(LogFault):
            await asyncio.wait_for(reader.read(), LIMIT_S)


async def test_a_reader_that_is_sent_back_gives_everything_from_there_again(log: Log) -> None:
    await log.append([record(f"key {i}", f"{i}", topic) for i in range(60) for topic in TOPICS])
    async with stopped_after(log.reader(TOPICS)) as reader:
        await take(reader, 120)
        ends = {(topic, p): end for topic in TOPICS for p, end in enumerate(await log.end_offsets(topic))}
        back = {partition: end // 2 for partition, end in ends.items()}
        reader.seek(back)
        again = await take(reader, sum(end - back[partition] for partition, end in ends.items()))
        assert places(again) == {
            partition: list(range(back[partition], end)) for partition, end in ends.items() if end > back[partition]
        }
        await log.append([record("after", "it")])
        assert [r.value for r in await take(reader, 1)] == [b"it"]


async def test_a_reader_can_be_sent_back_while_a_read_waits_and_on_beyond_what_it_has_read(log: Log) -> None:
    await log.append([record(f"key {i}", f"{i}") for i in range(40)])
    ends = {("commands", p): end for p, end in enumerate(await log.end_offsets("commands"))}
    async with stopped_after(log.reader(["commands"], ends)) as reader:
        (position,) = await log.append([record("first", "last")])
        assert len(await take(reader, 1)) == 1
        waiting = asyncio.create_task(take(reader, 41))
        await asyncio.sleep(0)
        reader.seek(dict.fromkeys(ends, 0))
        assert places(await waiting)["commands", position.partition][-1] == position.offset
        reader.seek(dict.fromkeys(ends, 0))
        reader.seek(ends | {("commands", position.partition): position.offset, ("of others", 0): 7})
        assert [r.value for r in await take(reader, 1)] == [b"last"]


async def test_a_member_that_is_sent_back_gives_everything_from_there_again(log: Log) -> None:
    await log.append([record(f"key {i}", f"{i}") for i in range(40)])
    partitions = [("commands", p) for p in range(log.partitions)]
    async with stopped_after(log.member("projectors", ["commands"], RecordedAssignment())) as member:
        await take(member, 40)
        member.seek(dict.fromkeys(partitions, 0))
        again = places(await take(member, 40))
        assert again == {partition: list(range(len(again[partition]))) for partition in again}
        waiting = asyncio.create_task(take(member, 40))
        await asyncio.sleep(0)
        member.seek(dict.fromkeys(partitions, 0))
        assert places(await waiting) == again


def places(records: list[Record]) -> dict[tuple[str, int], list[int]]:
    """Offsets of each partition, in the order in which they came."""
    members: dict[tuple[str, int], list[int]] = {}
    for r in records:
        members.setdefault((r.topic, r.partition), []).append(r.offset)
    return members
