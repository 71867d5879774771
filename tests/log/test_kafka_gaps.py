"""Offsets of Kafka without a record of any producer: marks of transactions, and what compaction has removed. No reader stops at them."""

from __future__ import annotations

import asyncio

import pytest
from langlog_backbone.log import Log, Record
from langlog_backbone.process.settings import Settings
from langlog_schemas import envelope

from tests.log.conftest import LIMIT_S, OpenLog, RecordedAssignment, record, stopped_after, take
from tests.stack.foreign_transactions import transaction

pytestmark = pytest.mark.kafka
TOPIC = "commands"
PLACE = (TOPIC, 0)
GAP = "gap"


@pytest.fixture(params=["kafka"])
def log_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bootstrap(settings: Settings) -> str:
    return settings.log_uri.removeprefix("kafka://")


@pytest.fixture
async def shown(log: Log, settings: Settings, bootstrap: str) -> list[str]:
    """The values of partition 0: transactions in the middle and at the end, one of which was aborted."""
    topic, own = settings.topic_prefix + TOPIC, key_of(log, 0)
    await log.append([record(own, "a")])
    await transaction(bootstrap, topic, 0, [b"b", b"c"])
    await transaction(bootstrap, topic, 0, [b"d"], commits=False)
    await log.append([record(own, "e")])
    await transaction(bootstrap, topic, 0, [b"f"])
    await transaction(bootstrap, topic, 0, [b"g"], commits=False)
    return ["a", "b", "c", GAP, "d", GAP, "e", "f", GAP, "g", GAP]


def key_of(log: Log, partition: int) -> str:
    return next(key for key in map(str, range(10_000)) if log.partition_of(key) == partition)


def seen(records: list[Record]) -> list[str]:
    """The records' values, in the order of their offsets, and the gaps between them."""
    offsets = [one.offset for one in records]
    assert offsets == list(range(offsets[0], offsets[0] + len(offsets))), offsets
    return [GAP if envelope.GAP in one.headers else one.value.decode() for one in records]


async def test_the_end_of_a_partition_is_where_its_last_mark_ends(log: Log, shown: list[str]) -> None:
    assert (await log.end_offsets(TOPIC))[0] == len(shown)


@pytest.mark.parametrize("max_records", [1, 3, 1000])
@pytest.mark.parametrize("how", ["reader", "member"])
async def test_a_reader_sees_each_offset_from_wherever_it_starts(
    log: Log, shown: list[str], how: str, max_records: int
) -> None:
    for start in range(len(shown)):
        positions = {PLACE: start}
        reader = (
            log.reader([TOPIC], positions)
            if how == "reader"
            else log.member(f"g{start}", [TOPIC], RecordedAssignment(positions))
        )
        async with stopped_after(reader):
            assert seen(await take(reader, len(shown) - start, max_records)) == shown[start:]


@pytest.mark.parametrize("how", ["reader", "member"])
async def test_a_reader_may_be_sent_to_any_offset(log: Log, shown: list[str], how: str) -> None:
    reader = log.reader([TOPIC]) if how == "reader" else log.member("g", [TOPIC], RecordedAssignment())
    everywhere = {(TOPIC, part): 0 for part in range(log.partitions)}
    async with stopped_after(reader):
        await take(reader, len(shown))
        for back in range(len(shown)):
            reader.seek(everywhere | {PLACE: back})
            assert seen(await take(reader, len(shown) - back, max_records=2)) == shown[back:]
        waiting = asyncio.create_task(take(reader, 1))
        await asyncio.sleep(0)
        reader.seek(everywhere | {PLACE: len(shown) - 1})
        assert seen(await waiting) == [GAP]


async def test_a_mark_wakes_a_reader_that_waits(log: Log, settings: Settings, bootstrap: str, shown: list[str]) -> None:
    async with stopped_after(log.reader([TOPIC], {PLACE: len(shown)})) as reader:
        waiting = asyncio.create_task(take(reader, 2))
        await transaction(bootstrap, settings.topic_prefix + TOPIC, 0, [b"h"])
        assert seen(await waiting) == ["h", GAP]


async def test_records_are_looked_up_beside_gaps(log: Log, shown: list[str]) -> None:
    async with asyncio.timeout(LIMIT_S):
        assert seen(await log.fetch(TOPIC, 0, range(len(shown) + 5))) == shown
        for offset, value in enumerate(shown):
            assert seen(await log.fetch(TOPIC, 0, [offset])) == [value]


async def test_a_gap_has_a_key_of_its_partition_so_that_a_copy_puts_it_there(log: Log, shown: list[str]) -> None:
    gaps = [one for one in await log.fetch(TOPIC, 0, range(len(shown))) if envelope.GAP in one.headers]
    assert len(gaps) == shown.count(GAP)
    for one in gaps:
        assert (log.partition_of(one.key), one.value) == (0, b"")


async def test_a_group_commits_behind_a_gap_and_goes_on_from_there(
    settings: Settings, open_started: OpenLog, log: Log, bootstrap: str, shown: list[str]
) -> None:
    async with stopped_after(log.member("g", [TOPIC], RecordedAssignment())) as member:
        await take(member, len(shown))
        assert await log.commit("g", {PLACE: len(shown)})
    next_log = await open_started(settings)
    assert await next_log.committed("g", [PLACE]) == {PLACE: len(shown)}
    assert (await next_log.group_positions())["g"] == {PLACE: len(shown)}
    async with stopped_after(next_log.member("g", [TOPIC], RecordedAssignment({PLACE: len(shown)}))) as member:
        waiting = asyncio.create_task(take(member, 1))
        await log.append([record(key_of(log, 0), "new")])
        assert [one.value for one in await waiting] == [b"new"]
