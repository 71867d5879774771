"""The records of a log from the newest back: every one once, in order, whatever the pages and filters; on both logs."""

from __future__ import annotations

import asyncio
import itertools
import random
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest
from langlog_backbone.log import Log, NewRecord
from langlog_backbone.operation import log_search
from langlog_backbone.operation.log_search import BadCursor, following, newest, read_record
from langlog_backbone.operation.record_view import SHOWN_BYTES, RecordFilter, RecordView
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev

from tests.log.conftest import LIMIT_S, log, open_started, settings

__all__ = ["log", "open_started", "settings"]

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
TOPICS = (cmd.TOPIC, ev.RUN_EVENTS, ev.STORE_EVENTS)


def record(topic: str, key: str, second: int, type: str = "run.created.v1", value: bytes = b"{}") -> NewRecord:
    time = (BEGAN + timedelta(seconds=second)).isoformat(timespec="microseconds")
    return NewRecord(topic, key, value, {"ce_id": f"{key}-{second}", "ce_type": f"langlog.{type}", "ce_time": time})


async def pages(log: Log, wanted: RecordFilter, limit: int) -> list[RecordView]:
    views: list[RecordView] = []
    cursor: str | None = None
    while True:
        page = await newest(log, wanted, cursor, limit)
        assert len(page.records) <= limit
        views += page.records
        if page.cursor is None:
            return views
        assert page.scanned > 0 and page.cursor != cursor, "every page goes on"
        cursor = page.cursor


@pytest.fixture
async def written(log: Log) -> list[NewRecord]:
    """300 records of twenty keys on three topics, with clocks that go back at times."""
    chance = random.Random(7)
    records = [
        record(
            chance.choice(TOPICS),
            f"key-{chance.randrange(20)}",
            n + chance.choice((0, 0, 0, -30)),
            chance.choice(("run.created.v1", "run.succeeded.v1", "thread.created.v1")),
        )
        for n in range(300)
    ]
    for n in range(0, 300, 25):
        await log.append(records[n : n + 25])
    return records


@pytest.mark.parametrize(("limit", "window"), [(7, 30), (100, 2_000), (500, 100)])
async def test_pages_hold_every_record_once_the_newest_first(
    log: Log, written: list[NewRecord], limit: int, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_search, "WINDOW_RECORDS", window)
    views = await pages(log, RecordFilter(), limit)
    assert sorted((v.key, v.headers["ce_id"]) for v in views) == sorted((r.key, r.headers["ce_id"]) for r in written)
    for partition in {(v.topic, v.partition) for v in views}:
        offsets = [v.offset for v in views if (v.topic, v.partition) == partition]
        assert offsets == sorted(offsets, reverse=True)
    times = [datetime.fromisoformat(v.time or "") for v in views]
    late = [after - before for before, after in itertools.pairwise(times) if after > before]
    assert all(by <= timedelta(seconds=60) for by in late), "only a clock that went back is out of order"


@pytest.mark.parametrize(
    "wanted",
    [
        RecordFilter(topics=(ev.RUN_EVENTS,)),
        RecordFilter(keys=frozenset({"key-3", "key-11"})),
        RecordFilter(types=("run.",)),
        RecordFilter(types=("thread.created",), keys=frozenset({"key-1"})),
        RecordFilter(since=BEGAN + timedelta(seconds=100), until=BEGAN + timedelta(seconds=200)),
        RecordFilter(keys=frozenset({"nobody"})),
    ],
    ids=["topic", "keys", "types", "type-and-key", "time", "nothing"],
)
async def test_a_filter_finds_what_a_scan_finds(log: Log, written: list[NewRecord], wanted: RecordFilter) -> None:
    def has(one: NewRecord) -> bool:
        time = datetime.fromisoformat(one.headers["ce_time"])
        kind = one.headers["ce_type"].removeprefix("langlog.")
        return (
            (not wanted.topics or one.topic in wanted.topics)
            and (not wanted.keys or one.key in wanted.keys)
            and (not wanted.types or any(kind.startswith(prefix) for prefix in wanted.types))
            and (wanted.since is None or time >= wanted.since)
            and (wanted.until is None or time <= wanted.until)
        )

    views = await pages(log, wanted, 20)
    assert sorted(v.headers["ce_id"] for v in views) == sorted(r.headers["ce_id"] for r in written if has(r))


async def test_a_page_ends_after_its_share_of_scanning(
    log: Log, written: list[NewRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_search, "SCAN_RECORDS", 40)
    page = await newest(log, RecordFilter(keys=frozenset(r.key for r in written), types=("cron.",)), None, 10)
    assert (page.records, page.scanned) == ([], 40) and page.cursor is not None
    assert await pages(log, RecordFilter(types=("cron.",)), 10) == []


async def test_records_that_come_while_pages_are_read_are_on_no_later_page(log: Log, written: list[NewRecord]) -> None:
    first = await newest(log, RecordFilter(), None, 10)
    await log.append([record(cmd.TOPIC, f"key-{n}", 10_000 + n) for n in range(20)])
    second = await newest(log, RecordFilter(), first.cursor, 500)
    assert len(second.records) == 290
    assert all(int(v.headers["ce_id"].rpartition("-")[2]) < 10_000 for v in second.records)


@pytest.mark.parametrize("cursor", ["x", "é", "A" * 5_000, "gaFhAQ", "kQ", "////"])
async def test_a_cursor_that_no_page_gave_is_refused_or_finds_nothing_new(log: Log, cursor: str) -> None:
    try:
        page = await newest(log, RecordFilter(), cursor, 10)
    except BadCursor:
        return
    assert page.records == []


async def test_a_large_body_is_left_out_of_a_page_and_read_by_itself(log: Log) -> None:
    body = b'"' + b"x" * SHOWN_BYTES + b'"'
    (position,) = await log.append([record(ev.RUN_EVENTS, "key", 1, value=body)])
    (view,) = (await newest(log, RecordFilter(), None, 10)).records
    assert (view.data, view.omitted, view.bytes) == (None, "large", len(body))
    whole = await read_record(log, ev.RUN_EVENTS, position.partition, position.offset)
    assert whole is not None and whole.data == "x" * SHOWN_BYTES
    assert await read_record(log, ev.RUN_EVENTS, position.partition, position.offset + 1) is None


async def test_a_page_keeps_no_large_bodies_while_it_reads_on(log: Log) -> None:
    size = 1_000_000
    for n in range(120):
        await log.append([record(ev.RUN_EVENTS, "key", n, value=b'{"a":"%s"}' % (b"x" * size))])
    tracemalloc.start()
    try:
        page = await newest(log, RecordFilter(), None, 500)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(page.records) == 120 and all(view.omitted == "large" for view in page.records)
    assert peak < 80 * size, "what a reader holds at once, not what the page spans"


async def test_a_tail_gives_what_is_appended_from_now_or_from_a_time_on(log: Log) -> None:
    await log.append([record(ev.RUN_EVENTS, "key", 1), record(ev.RUN_EVENTS, "key", 5)])

    async def first(wanted: RecordFilter, count: int) -> list[str]:
        ids: list[str] = []
        source = following(log, wanted)
        try:
            async with asyncio.timeout(LIMIT_S):
                async for views in source:
                    ids += [view.headers["ce_id"] for view in views]
                    if len(ids) >= count:
                        break
        finally:
            await source.aclose()
        return ids

    later = RecordFilter(since=BEGAN + timedelta(seconds=5))
    assert await first(later, 1) == ["key-5"]
    tail = asyncio.create_task(first(RecordFilter(types=("run.created",)), 1))
    while not tail.done():
        # a tail begins with what comes after its start, which nothing signals
        await log.append([record(ev.RUN_EVENTS, "key", 9), record(ev.RUN_EVENTS, "key", 9, "run.deleted.v1")])
        await asyncio.wait([tail], timeout=0.2)
    assert set(tail.result()) == {"key-9"}
