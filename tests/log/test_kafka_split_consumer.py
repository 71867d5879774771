"""Readers of several topics on Kafka fetch the busy one apart from the others."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import KafkaConnectionError
from langlog_backbone.log import Log
from langlog_backbone.log.kafka.client import make_consumer
from langlog_backbone.log.kafka.split_consumer import SplitConsumer
from langlog_backbone.process.settings import Settings

from tests.log.conftest import LIMIT_S, Following, RecordedAssignment, record, stopped_after, take

pytestmark = pytest.mark.kafka
TOPICS = ("run-events", "assistant-events", "store-events")
CONSUMERS_TASKS = {"Fetcher._fetch_requests_routine", "GroupCoordinator._heartbeat_routine"}
"""Of aiokafka; the producer has none of them."""


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


async def test_partitions_that_are_lost_and_come_back_at_once_are_read(settings: Settings, log: Log) -> None:
    """A group may take partitions back before the client has begun to fetch them."""
    (position,) = await log.append([record("a", "1")])
    topic = settings.topic_prefix + "commands"
    partition = KafkaPartition(topic, position.partition)
    consumer = SplitConsumer(lambda: make_consumer(settings.log_uri.removeprefix("kafka://"), settings), [topic], [])
    await consumer.start()
    try:
        await consumer.assign([partition])
        consumer.seek(partition, 0)
        await consumer.assign([])
        async with asyncio.timeout(LIMIT_S):
            await consumer.end_offsets([partition])  # the client's own tasks have had their turn
            await consumer.assign([partition])
            consumer.seek(partition, 0)
            fetched = await consumer.getmany(timeout_ms=int(LIMIT_S * 1000), max_records=1)
        assert [found.value for found in fetched[partition]] == [b"1"]
    finally:
        await consumer.stop()


@pytest.mark.parametrize("in_group", [False, True])
async def test_a_client_that_fetches_no_more_is_replaced(log: Log, *, in_group: bool) -> None:
    reader = log.member("g", TOPICS, RecordedAssignment()) if in_group else log.reader(TOPICS)
    news = asyncio.Condition()
    following = Following(reader, news)
    try:
        await log.append([record("a", topic, topic) for topic in TOPICS])
        await following.until(len(TOPICS))
        for part in reader._consumer._parts:  # type: ignore[attr-defined]  # a member's consumer is split
            part.consumer._fetcher._fetch_task.cancel()  # aiokafka takes it for the end, and does not tell
        await log.append([record("a", f"again {topic}", topic) for topic in TOPICS])
        async with asyncio.timeout(LIMIT_S), news:
            wanted = {f"again {topic}".encode() for topic in TOPICS}
            await news.wait_for(lambda: wanted <= {r.value for r in following.records})
    finally:
        await following.stop()


async def test_partitions_are_read_though_the_client_that_asked_for_their_starts_cannot_go_on(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[SplitConsumer] = []
    ask = SplitConsumer.beginning_offsets

    async def fail_the_first(consumer: SplitConsumer, partitions: Any) -> Any:
        asked.append(consumer)
        if consumer is asked[0]:
            raise KafkaConnectionError("no answer")
        return await ask(consumer, partitions)

    monkeypatch.setattr(SplitConsumer, "beginning_offsets", fail_the_first)
    await log.append([record("a", "1", "run-events")])
    async with stopped_after(log.member("g", TOPICS, RecordedAssignment())) as reader:
        assert [r.value for r in await take(reader, 1)] == [b"1"]


async def test_a_member_whose_group_does_not_answer_leaves_no_task_behind(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait_for_an_answer(coordinator: Any) -> None:
        await asyncio.get_running_loop().create_future()

    def under_way() -> set[str]:
        return {task.get_coro().__qualname__ for task in asyncio.all_tasks()} & CONSUMERS_TASKS  # type: ignore[union-attr]  # coroutines have names

    following = Following(log.member("g", TOPICS, RecordedAssignment()))
    await log.append([record("a", "1", "run-events")])
    await following.until(1)
    assert under_way() == CONSUMERS_TASKS
    monkeypatch.setattr(GroupCoordinator, "_maybe_leave_group", wait_for_an_answer)
    await following.stop()
    assert under_way() == set()


async def test_a_reader_whose_fetch_pauses_after_an_error_stops(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    pausing = asyncio.Event()
    send = AIOKafkaClient.send

    async def lose_connection(client: Any, node: Any, request: Any, **more: Any) -> Any:
        if type(request).__name__ != "FetchRequest":
            return await send(client, node, request, **more)
        pausing.set()
        raise KafkaConnectionError("connection lost")

    reader = log.reader(TOPICS)
    following = Following(reader)
    await log.append([record("a", "1", "run-events")])
    await following.until(1)
    for part in reader._consumer._parts:  # type: ignore[attr-defined]  # a member's consumer is split
        part.consumer._fetcher._retry_backoff = LIMIT_S
    monkeypatch.setattr(AIOKafkaClient, "send", lose_connection)
    async with asyncio.timeout(LIMIT_S):
        await pausing.wait()
        await following.stop()
