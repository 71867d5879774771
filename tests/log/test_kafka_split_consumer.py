"""Readers of several topics on Kafka fetch the busy one apart from the others."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from langlog_backbone.log import Log

from tests.log.conftest import LIMIT_S, Following, RecordedAssignment, record, stopped_after, take

pytestmark = pytest.mark.kafka
TOPICS = ("run-events", "assistant-events", "store-events")


@pytest.fixture(params=["kafka"])
def log_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def fetched_together(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """The topics of each fetch that is sent, without the prefix."""
    together: list[set[str]] = []
    send = AIOKafkaClient.send

    async def noting(client: Any, node: Any, request: Any, **more: Any) -> Any:
        if type(request).__name__ == "FetchRequest":
            together.append({topic.rpartition(".")[2] for topic, _ in request.topics})
        return await send(client, node, request, **more)

    monkeypatch.setattr(AIOKafkaClient, "send", noting)
    return together


@pytest.mark.parametrize("in_group", [False, True])
async def test_fetches_of_the_busy_topic_list_no_other(
    log: Log, fetched_together: list[set[str]], *, in_group: bool
) -> None:
    reader = log.member("g", TOPICS, RecordedAssignment()) if in_group else log.reader(TOPICS)
    async with stopped_after(reader):
        reading = asyncio.create_task(take(reader, 2 * len(TOPICS)))
        for topic in TOPICS * 2:
            await log.append([record("a", "1", topic)])
        assert sorted(r.topic for r in await reading) == sorted(TOPICS * 2)
    assert {"run-events"} in fetched_together
    assert all("run-events" not in together or len(together) == 1 for together in fetched_together)


async def test_a_read_returns_no_more_than_its_limit_and_each_record_once(log: Log) -> None:
    await log.append([record(f"key {i}", f"{topic} {i}", topic) for i in range(60) for topic in TOPICS])
    async with stopped_after(log.reader(TOPICS)) as reader:
        seen = []
        while len(seen) < 60 * len(TOPICS):
            async with asyncio.timeout(LIMIT_S):
                records = await reader.read(max_records=7)
            assert 0 < len(records) <= 7
            seen += [r.value.decode() for r in records]
    assert sorted(seen) == sorted(f"{topic} {i}" for i in range(60) for topic in TOPICS)


async def test_records_of_a_quiet_topic_arrive_while_the_busy_one_never_pauses(log: Log) -> None:
    async def flood() -> None:
        while True:
            await log.append([record(f"key {i}", "busy", "run-events") for i in range(20)])

    async with stopped_after(log.reader(TOPICS)) as reader:
        flooding = asyncio.create_task(flood())
        try:
            await log.append([record("a", "quiet", "store-events")])
            async with asyncio.timeout(LIMIT_S):
                while b"quiet" not in [r.value for r in await reader.read(max_records=20)]:
                    pass
        finally:
            flooding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await flooding


async def test_a_member_that_gets_and_loses_partitions_reads_each_record_once(log: Log) -> None:
    """A read of one topic that is under way when partitions move is dropped, and what it had fetched is fetched again."""
    first, second, news = RecordedAssignment(), RecordedAssignment(), asyncio.Condition()
    one = Following(log.member("g", TOPICS, first), news)
    await first.until(lambda: len(first.owned) == len(TOPICS) * log.partitions)
    other = Following(log.member("g", TOPICS, second), news)
    try:
        for i in range(40):
            await log.append([record(f"key {i}", f"{topic} {i}", topic) for topic in TOPICS])
        await second.until(lambda: bool(second.owned))
        for i in range(40, 60):
            await log.append([record(f"key {i}", f"{topic} {i}", topic) for topic in TOPICS])
        wanted = {f"{topic} {i}" for i in range(60) for topic in TOPICS}
        async with asyncio.timeout(LIMIT_S), news:
            await news.wait_for(lambda: {r.value.decode() for r in (*one.records, *other.records)} == wanted)
        for reader in (one, other):
            values = [r.value for r in reader.records]
            assert len(values) == len(set(values))
    finally:
        await one.stop()
        await other.stop()
