"""Offsets of Kafka without a record, as each transaction of another producer leaves one: services, waits, lags and
tools get past them."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest
from langlog_backbone.history.thread_history import scan
from langlog_backbone.log import DECIDERS, TopicPartition, started_log
from langlog_backbone.log.partitioner import partition_of
from langlog_backbone.operation import group_lag, parked_keys
from langlog_backbone.operation.log_search import newest, read_record
from langlog_backbone.operation.record_view import RecordFilter
from langlog_backbone.process.settings import Settings
from langlog_backbone.read_model.catching_up import catch_up
from langlog_projector.rebuild.swap import verify
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev

from tests.dead.stack import LIMIT_S, Stack
from tests.dead.test_foreign_records import everybody_goes_on
from tests.stack.foreign_transactions import transaction
from tests.stack.waiting import until

pytestmark = [pytest.mark.kafka, pytest.mark.parametrize("log_kind", ["kafka"], indirect=True)]
TOPICS = (cmd.TOPIC, ev.RUN_EVENTS, ev.STORE_EVENTS, ev.DEAD_LETTERS)


def foreign(partition: int, settings: Settings) -> str:
    """The other producer's key in a partition."""
    return next(key for key in map("foreign {}".format, count()) if partition_of(key, settings.partitions) == partition)


async def gaps_everywhere(settings: Settings) -> dict[TopicPartition, int]:
    """Commit a transaction and abort one in each partition. Return where the last mark lies."""
    bootstrap, marks = settings.log_uri.removeprefix("kafka://"), {}
    for topic in TOPICS:
        for part in range(settings.partitions):
            for commits in (True, False):
                key = foreign(part, settings).encode()
                marks[topic, part] = await transaction(
                    bootstrap, settings.topic_prefix + topic, part, [b"{}"], commits=commits, key=key
                )
    return marks


async def lags(stack: Stack, group: str) -> dict[TopicPartition, int]:
    listed = await group_lag.gather(stack.backbone.log, stack.backbone.pool)
    return {(one.topic, one.partition): one.lag for one in listed if one.group == group}


async def all_is_folded(stack: Stack) -> None:
    """Until the projection is at the ends of the log."""
    projection = f"projection {stack.backbone.settings.projection}"

    async def look() -> bool:
        found = await lags(stack, projection)
        return bool(found) and not any(found.values())

    await until(stack.backbone, look, LIMIT_S)


def nobody_looks(done: int, total: int) -> None:
    """Implements `rebuild.Progress`."""


async def test_marks_of_transactions_stop_no_service_and_no_lag_stays(stack: Stack, settings: Settings) -> None:
    for _ in range(2):
        await everybody_goes_on(stack)
        await gaps_everywhere(settings)
        await all_is_folded(stack)
        await stack.restart()  # at a mark; who leaves commits
        decided = await lags(stack, DECIDERS)
        assert len(decided) == settings.partitions and not any(decided.values())
    await everybody_goes_on(stack)
    listed = await parked_keys.keys(stack.backbone.pool)
    assert {key.key for key in listed} == {foreign(part, settings) for part in range(settings.partitions)}, (
        "a mark is no bad record"
    )


async def test_a_read_model_is_caught_up_and_verified_that_ends_at_marks(stack: Stack, settings: Settings) -> None:
    await everybody_goes_on(stack)
    await gaps_everywhere(settings)
    await all_is_folded(stack)
    async with asyncio.timeout(LIMIT_S):
        report = await verify(stack.backbone.log, settings, nobody_looks)
    assert report.comparison is not None and report.comparison.same, report
    async with asyncio.timeout(LIMIT_S):
        assert await catch_up(stack.backbone.pool.fetch, stack.backbone.log, stack.backbone.positions)


async def test_whoever_reads_all_that_the_log_holds_ends_at_marks_and_shows_none(settings: Settings) -> None:
    async with started_log(settings) as log:
        marks = await gaps_everywhere(settings)
        async with asyncio.timeout(LIMIT_S):
            scanned = [record async for records in scan(log, TOPICS) for record in records]
            last = {place: max(r.offset for r in scanned if (r.topic, r.partition) == place) for place in marks}
            assert last == marks
            found = await newest(log, RecordFilter(topics=TOPICS), None, 1000)
            assert found.cursor is None and len(found.records) == 2 * len(marks)
            for (topic, part), offset in marks.items():
                assert await read_record(log, topic, part, offset) is None
                assert await read_record(log, topic, part, offset - 1) is not None
