"""Guarantees of an append, on both logs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from langlog_backbone.log import Log, NewRecord, RecordTooLarge
from langlog_backbone.process.settings import Settings

from tests.log.conftest import OpenLog, record, stopped_after, take


async def test_positions_are_the_places_at_which_readers_find_the_records(log: Log) -> None:
    records = [record(f"key {i}", f"value {i}", topic) for i in range(50) for topic in ("commands", "run-events")]
    positions = await log.append(records)
    assert [p.partition for p in positions] == [log.partition_of(r.key) for r in records]
    async with stopped_after(log.reader(["commands", "run-events"])) as reader:
        members = {(r.topic, r.partition, r.offset): r for r in await take(reader, len(records))}
    for new, position in zip(records, positions, strict=True):
        read = members[new.topic, *position]
        assert (read.key, read.value, read.headers) == (new.key, new.value, new.headers)


async def test_offsets_of_a_partition_count_from_zero_without_gaps_and_topics_count_alone(log: Log) -> None:
    for _ in range(3):
        assert [p.offset for p in await log.append([record("a", "1"), record("a", "2", "run-events")])]
    first = await log.append([record("a", "x")])
    second = await log.append([record("a", "y", "run-events")])
    assert (first[0].offset, second[0].offset) == (3, 3)


async def test_records_of_one_call_and_of_one_caller_keep_their_order(log: Log) -> None:
    for start in range(0, 60, 3):
        await log.append([record("thread", f"{start + i}") for i in range(3)])
    async with stopped_after(log.reader(["commands"])) as reader:
        assert [int(r.value) for r in await take(reader, 60)] == list(range(60))


async def test_many_callers_at_once_lose_nothing_and_each_keeps_his_order(log: Log) -> None:
    callers, each = 20, 30

    async def append(name: int) -> list[int]:
        return [(await log.append([record(f"key {name}", f"{name} {i}")]))[0].offset for i in range(each)]

    offsets = await asyncio.gather(*(append(name) for name in range(callers)))
    for entry in offsets:
        assert entry == sorted(entry)
    async with stopped_after(log.reader(["commands"])) as reader:
        found_records = await take(reader, callers * each)
    for name in range(callers):
        values = [r.value.decode() for r in found_records if r.key == f"key {name}"]
        assert values == [f"{name} {i}" for i in range(each)]
    for partition in range(log.partitions):
        in_partition = [r.offset for r in found_records if r.partition == partition]
        assert in_partition == list(range(len(in_partition)))


async def test_a_large_batch_is_appended_in_one_call(log: Log) -> None:
    count = 6_000
    positions = await log.append([record(f"key {i % 100}", f"{i}") for i in range(count)])
    assert len(set(positions)) == count
    assert sum(await log.end_offsets("commands")) == count


async def test_a_record_at_the_limit_passes_and_one_over_it_is_refused_whole(
    make_log_settings: Callable[..., Settings], open_started: OpenLog
) -> None:
    log = await open_started(make_log_settings(max_record_bytes=8_000_000))  # a broker holds a batch several times
    largest = bytes(log.max_record_bytes)
    with pytest.raises(RecordTooLarge):
        await log.append([record("a", "small"), record("a", largest + b"x")])
    await log.append([record("a", largest), record("b", largest), record("a", "after")])
    async with stopped_after(log.reader(["commands"])) as reader:
        result = await take(reader, 3)
    assert sorted(len(r.value) for r in result) == [5, len(largest), len(largest)]


async def test_bytes_headers_and_keys_come_back_as_they_went(log: Log) -> None:
    new = NewRecord("commands", "Schlüssel \x00 🗝", bytes(range(256)), {"ce_subject": "Größe ∞", "empty": ""})
    await log.append([new, NewRecord("commands", "", b"", {})])
    async with stopped_after(log.reader(["commands"])) as reader:
        members = {r.key: r for r in await take(reader, 2)}
    assert (members[new.key].value, members[new.key].headers) == (new.value, new.headers)
    assert (members[""].value, members[""].headers) == (b"", {})


async def test_nothing_to_append_is_nothing(log: Log) -> None:
    assert await log.append([]) == []
    assert await log.end_offsets("commands") == [0] * log.partitions


async def test_end_offsets_are_what_the_next_records_get(log: Log) -> None:
    await log.append([record(f"key {i}", "x") for i in range(40)])
    ends = await log.end_offsets("commands")
    assert sum(ends) == 40
    (position,) = await log.append([record("one more", "x")])
    assert ends[position.partition] == position.offset


async def test_a_log_opened_again_goes_on_where_it_was(settings: Settings, open_started: OpenLog) -> None:
    first = await open_started(settings)
    await first.append([record(f"key {i % 5}", f"{i}") for i in range(100)])
    ends = await first.end_offsets("commands")
    await first.stop()
    second = await open_started(settings)
    assert await second.end_offsets("commands") == ends
    (position,) = await second.append([record("key 3", "100")])
    assert position.offset == ends[position.partition]
    async with stopped_after(second.reader(["commands"])) as reader:
        result = await take(reader, 101)
    assert sorted(int(r.value) for r in result) == list(range(101))


async def test_an_append_is_refused_when_the_log_is_closed(settings: Settings, open_started: OpenLog) -> None:
    from langlog_backbone.log import LogUnavailable

    log = await open_started(settings)
    await log.stop()
    with pytest.raises(LogUnavailable):
        await log.append([record("a", "x")])
