"""Deleting the front of a log, on both logs: what is above stays as it is."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
from langlog_backbone.log import Log, LogFault
from langlog_backbone.process.settings import Settings
from langlog_backbone.time.clock import now_iso

from tests.log.conftest import LIMIT_S, OpenLog, record, take


async def test_what_is_below_the_cut_is_gone_and_what_is_above_keeps_its_offset(log: Log) -> None:
    positions = await log.append([record("one", f"{n}") for n in range(10)])
    other = (await log.append([record("other", "stays")]))[0]
    partition = positions[0].partition
    assert set(await log.start_offsets("commands")) == {0}
    await log.cut({("commands", partition): 4})
    starts = await log.start_offsets("commands")
    assert starts[partition] == 4
    assert sum(starts) == 4
    assert (await log.end_offsets("commands"))[partition] == 10
    assert [r.offset for r in await log.fetch("commands", partition, range(12))] == list(range(4, 10))
    assert [r.value for r in await log.fetch("commands", other.partition, [other.offset])] == [b"stays"]


async def test_readers_without_a_position_begin_where_the_log_begins(log: Log) -> None:
    positions = await log.append([record("one", f"{n}") for n in range(6)])
    partition = positions[0].partition
    await log.cut({("commands", partition): 4})
    for start in (None, {("commands", partition): 0}, {("commands", partition): 4}):
        reader = log.reader(["commands"], start)
        assert [r.offset for r in await take(reader, 2)] == [4, 5]
        await reader.stop()


async def test_who_wants_to_go_on_from_below_the_cut_is_told_of_it(log: Log) -> None:
    positions = await log.append([record("one", f"{n}") for n in range(6)])
    partition = positions[0].partition
    await log.cut({("commands", partition): 4})
    reader = log.reader(["commands"], {("commands", partition): 2})
    with pytest.raises(LogFault, match=r"docs/how-to/retention\.md"):
        async with asyncio.timeout(LIMIT_S):
            await reader.read()
    await reader.stop()


async def test_a_partition_that_was_cut_to_its_end_goes_on_where_it_was(log: Log, open_started: OpenLog) -> None:
    positions = await log.append([record("one", f"{n}") for n in range(3)])
    partition = positions[0].partition
    reader = log.reader(["commands"])
    await take(reader, 3)
    await log.cut({("commands", partition): 3})
    assert (await log.start_offsets("commands"))[partition] == (await log.end_offsets("commands"))[partition] == 3
    assert (await log.append([record("one", "next")]))[0].offset == 3
    assert [(r.offset, r.value) for r in await take(reader, 1)] == [(3, b"next")]
    await reader.stop()


async def test_after_a_cut_to_the_end_another_process_goes_on_too(
    log: Log, settings: Settings, open_started: OpenLog
) -> None:
    partition = (await log.append([record("one", f"{n}") for n in range(3)]))[0].partition
    await log.cut({("commands", partition): 3})
    other = await open_started(settings)
    assert (await other.append([record("one", "theirs")]))[0].offset == 3
    assert (await log.append([record("one", "ours")]))[0].offset == 4
    reader = other.reader(["commands"])
    assert [(r.offset, r.value) for r in await take(reader, 2)] == [(3, b"theirs"), (4, b"ours")]
    await reader.stop()


async def test_a_cut_again_or_further_down_changes_nothing(log: Log) -> None:
    partition = (await log.append([record("one", f"{n}") for n in range(6)]))[0].partition
    for offset in (4, 4, 2, 0):
        await log.cut({("commands", partition): offset})
        assert (await log.start_offsets("commands"))[partition] == 4
    await log.cut({("commands", partition): 5})
    assert (await log.start_offsets("commands"))[partition] == 5


async def test_offsets_are_found_by_the_time_of_the_records(log: Log) -> None:
    before = datetime.now(UTC)
    await asyncio.sleep(0.01)  # clocks of brokers have milliseconds
    first = (await log.append([record("one", "a", ce_time=now_iso())]))[0]
    await asyncio.sleep(0.01)
    between = datetime.now(UTC)
    await asyncio.sleep(0.01)
    await log.append([record("one", "b", ce_time=now_iso()), record("other", "c", ce_time=now_iso())])
    p = first.partition
    assert (await log.offsets_at("commands", before))[p] == first.offset
    assert (await log.offsets_at("commands", between))[p] == first.offset + 1
    ends = await log.end_offsets("commands")
    assert await log.offsets_at("commands", datetime.now(UTC) + timedelta(hours=1)) == ends
    assert await log.offsets_at("run-events", before) == [0] * log.partitions


def _rows(settings: Settings) -> int:
    with sqlite3.connect(settings.log_uri.removeprefix("sqlite://")) as db:
        return int(db.execute("SELECT count(*) FROM records").fetchone()[0])


@pytest.mark.parametrize("log_kind", ["sqlite"], indirect=False)
async def test_the_file_shrinks(log: Log, settings: Settings) -> None:
    path = settings.log_uri.removeprefix("sqlite://")
    partition = (await log.append([record("one", os.urandom(900)) for n in range(3000)]))[0].partition
    with sqlite3.connect(path) as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
    await log.cut({("commands", partition): 2900})
    assert _rows(settings) == 100
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA page_count").fetchone()[0] < pages / 5


@pytest.mark.parametrize("log_kind", ["sqlite"], indirect=False)
async def test_a_cut_that_was_broken_off_holds_and_is_brought_to_an_end_by_the_next(
    log: Log, settings: Settings
) -> None:
    partition = (await log.append([record("one", f"{n}") for n in range(6)]))[0].partition
    with sqlite3.connect(settings.log_uri.removeprefix("sqlite://")) as db:
        db.execute("INSERT INTO starts VALUES (?, ?, 4)", (f"{settings.topic_prefix}commands", partition))
    assert (await log.start_offsets("commands"))[partition] == 4
    assert [r.offset for r in await log.fetch("commands", partition, range(6))] == [4, 5]
    reader = log.reader(["commands"])
    assert [r.offset for r in await take(reader, 2)] == [4, 5]
    await reader.stop()
    await log.cut({})
    assert _rows(settings) == 2
