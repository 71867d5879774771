"""Topics that an operator makes again, truncates, or gives more partitions: a reader fails with an error that says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from langlog_backbone.log import Log, LogFault, LogReader, Positions
from langlog_backbone.process.settings import Settings

from tests.log.conftest import LIMIT_S, RecordedAssignment, record, stopped_after, take

pytestmark = pytest.mark.kafka
TOPICS = ("commands", "run-events")


@pytest.fixture(params=["kafka"])
def log_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=settings.log_uri.removeprefix("kafka://"))
    await client.start()
    yield client
    await client.close()


def opened(log: Log, how: str, start: Positions | None = None) -> LogReader:
    if how == "reader":
        return log.reader(TOPICS, start)
    return log.member("g", TOPICS, RecordedAssignment(start))


@pytest.mark.parametrize("how", ["reader", "member"])
async def test_a_position_beyond_the_end_of_a_topic_that_was_made_again_is_a_fault_that_says_so(
    log: Log, how: str
) -> None:
    async with stopped_after(opened(log, how, {("run-events", 0): 7})) as reader:
        with pytest.raises(
            LogFault, match=r"run-events/\d ends at offset 0, and langlog is at 7: the topic was deleted"
        ):
            await asyncio.wait_for(reader.read(), LIMIT_S)


@pytest.mark.parametrize("how", ["reader", "member"])
async def test_records_that_an_operator_deletes_before_they_are_read_are_a_fault_that_says_so(
    log: Log, settings: Settings, admin: AIOKafkaAdminClient, how: str
) -> None:
    (position,) = await log.append([record("a", "1")])
    await log.append([record("a", f"{n}") for n in range(5)])
    stored = KafkaPartition(settings.topic_prefix + "commands", position.partition)
    await admin.delete_records({stored: RecordsToDelete(4)})
    async with stopped_after(opened(log, how, {("commands", position.partition): 1})) as reader:
        with pytest.raises(LogFault, match="no longer holds the position to read from"):
            await asyncio.wait_for(reader.read(), LIMIT_S)
    async with stopped_after(opened(log, how)) as reader:
        assert [one.offset for one in await take(reader, 2)] == [4, 5]


async def test_partitions_that_an_operator_adds_are_not_used_and_refused_at_the_next_start(
    log: Log, settings: Settings, admin: AIOKafkaAdminClient, open_started: Any
) -> None:
    await admin.create_partitions({settings.topic_prefix + "commands": NewPartitions(settings.partitions + 2)})
    placed = await log.append([record(f"key {n}", f"{n}") for n in range(40)])
    assert {place.partition for place in placed} == set(range(settings.partitions))
    for how in ("reader", "member"):
        async with stopped_after(opened(log, how)) as reader:
            await take(reader, 40)
    with pytest.raises(LogFault, match=f"commands has {settings.partitions + 2} partitions"):
        await open_started(settings)
