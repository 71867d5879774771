"""Topics that an operator deletes, or deletes and makes again, while a process uses them: it notices, says so, and waits without asking
brokers again and again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import AIOKafkaClient
from langlog_backbone.log import AppendUnknown, Log, LogFault, LogReader, LogUnavailable
from langlog_backbone.log.kafka.client import topic_options
from langlog_backbone.log.kafka.topics import watch
from langlog_backbone.process.settings import Settings

from tests.log.conftest import LIMIT_S, RecordedAssignment, record, stopped_after, take
from tests.outage.eventually import eventually

pytestmark = pytest.mark.kafka
TOPICS = ("commands", "run-events")
LOOKS = 5
"""Looks at the topics during which requests are counted."""
REQUESTS_A_LOOK = 4
"""Maximum number of updates of metadata between two looks. Before, aiokafka made some hundred a second."""


@pytest.fixture(params=["kafka"])
def log_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_S", 0.2)
    monkeypatch.setattr(watch, "CONFIRM_S", 0.05)


@pytest.fixture
async def admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=settings.log_uri.removeprefix("kafka://"))
    await client.start()
    yield client
    await client.close()


@pytest.fixture
def updates(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows by one with each update of metadata that a client of this process asks for."""
    asked: list[None] = []
    update = AIOKafkaClient.force_metadata_update

    def counted(self: AIOKafkaClient) -> Any:
        asked.append(None)
        return update(self)

    monkeypatch.setattr(AIOKafkaClient, "force_metadata_update", counted)
    return asked


def opened(log: Log, how: str, assignment: RecordedAssignment | None = None) -> LogReader:
    return log.reader(TOPICS) if how == "reader" else log.member("g", TOPICS, assignment or RecordedAssignment())


async def delete(admin: AIOKafkaAdminClient, settings: Settings, topic: str) -> None:
    """Returns once brokers no longer list the topic."""
    await admin.delete_topics([settings.topic_prefix + topic])

    async def gone() -> bool:
        return settings.topic_prefix + topic not in await admin.list_topics()

    await eventually(gone)


async def make(admin: AIOKafkaAdminClient, settings: Settings, topic: str) -> None:
    options = topic_options(settings, 1)

    async def made() -> bool:
        response = await admin.create_topics(
            [NewTopic(settings.topic_prefix + topic, settings.partitions, 1, topic_configs=options)]
        )
        return bool(response.topic_errors[0][1] == 0)

    await eventually(made)  # a broker may still delete what had the name


async def until_unusable(log: Log, words: str) -> str:
    async def said() -> bool:
        return words in (log.unusable() or "")

    await eventually(said)
    return log.unusable() or ""


async def until_usable(log: Log) -> None:
    async def well() -> bool:
        return log.unusable() is None

    await eventually(well)


async def looks(log: Any, count: int) -> None:
    """Wait until the log has looked at its topics so often."""
    until = log.topics.looks + count

    async def looked() -> bool:
        return bool(log.topics.looks >= until)

    await eventually(looked)


@pytest.mark.parametrize("how", ["reader", "member"])
async def test_a_reader_of_a_topic_that_is_gone_waits_and_asks_for_no_metadata(
    log: Log, settings: Settings, admin: AIOKafkaAdminClient, updates: list[None], how: str
) -> None:
    await log.append([record("a", "1", "run-events")])
    assignment = RecordedAssignment()
    async with stopped_after(opened(log, how, assignment)) as reader:
        await take(reader, 1)
        reading = asyncio.create_task(reader.read())
        await delete(admin, settings, "run-events")
        reason = await until_unusable(log, "was deleted")
        assert settings.topic_prefix + "run-events" in reason
        with pytest.raises(LogUnavailable, match="was deleted"):
            await log.check()
        with pytest.raises(LogUnavailable, match="was deleted"):
            await log.append([record("a", "2", "run-events")])
        await log.append([record("a", "3", "commands")])
        if how == "member":
            await assignment.until(lambda: not assignment.owned)
        await looks(log, LOOKS)  # a client ends in the time that a look or two take
        updates.clear()
        await looks(log, LOOKS)
        assert len(updates) <= LOOKS * REQUESTS_A_LOOK
        assert not reading.done()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


@pytest.mark.parametrize("how", ["reader", "member"])
async def test_a_topic_that_was_made_again_is_a_fault_though_it_has_grown_beyond_the_position(
    log: Log, settings: Settings, admin: AIOKafkaAdminClient, how: str
) -> None:
    (position,) = await log.append([record("a", "1")])
    async with stopped_after(opened(log, how)) as reader:
        await take(reader, 1)
        await delete(admin, settings, "commands")
        await make(admin, settings, "commands")
        await _append_foreign(settings, position.partition, ["2", "3", "4"])
        # whichever comes first: the look at the topic, or a fetch beyond the end that it had for a moment
        with pytest.raises(LogFault, match=r"(commands|the topic) was deleted and made again"):
            async with asyncio.timeout(LIMIT_S):
                while True:
                    await reader.read()
    reason = await until_unusable(log, "made again")
    assert "End this process" in reason
    with pytest.raises(LogUnavailable, match="made again"):
        await log.append([record("a", "5")])


async def test_a_topic_that_is_made_again_is_used_where_nothing_stands_on_its_records(
    settings: Settings, admin: AIOKafkaAdminClient
) -> None:
    asked: list[str] = []

    async def judge(topic: str) -> str | None:
        asked.append(topic)
        return None

    log = await _judged(settings, judge)
    try:
        async with stopped_after(opened(log, "member")) as reader:
            reading = asyncio.create_task(reader.read())
            await delete(admin, settings, "run-events")
            await until_unusable(log, "was deleted")
            await make(admin, settings, "run-events")
            await until_usable(log)
            assert asked == ["run-events"]
            await log.append([record("a", "1", "run-events")])
            (read,) = await asyncio.wait_for(reading, LIMIT_S)
            assert (read.topic, read.offset, read.value) == ("run-events", 0, b"1")
    finally:
        await log.stop()


async def test_a_topic_that_is_made_again_with_other_settings_is_not_used(
    settings: Settings, admin: AIOKafkaAdminClient
) -> None:
    async def judge(topic: str) -> str | None:
        return None

    log = await _judged(settings, judge)
    try:
        await delete(admin, settings, "run-events")
        await until_unusable(log, "was deleted")
        await admin.create_topics([NewTopic(settings.topic_prefix + "run-events", settings.partitions + 1, 1)])
        await until_unusable(log, f"has {settings.partitions + 1} partitions")
    finally:
        await log.stop()


async def test_a_judge_that_cannot_answer_yet_is_asked_again(settings: Settings, admin: AIOKafkaAdminClient) -> None:
    answers: list[Exception | None] = [OSError("no route"), OSError("no route"), None]

    async def judge(topic: str) -> str | None:
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        return None

    log = await _judged(settings, judge)
    try:
        await delete(admin, settings, "run-events")
        await make(admin, settings, "run-events")
        await until_unusable(log, "made again")
        await until_usable(log)
        assert answers == []
    finally:
        await log.stop()


async def test_an_append_below_what_its_partition_had_reached_is_not_acknowledged(
    settings: Settings, admin: AIOKafkaAdminClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The topic is made again between two looks at it."""
    monkeypatch.setattr(watch, "LOOK_S", 3600.0)

    async def judge(topic: str) -> str | None:
        return "something rests on it"

    log = await _judged(settings, judge)
    try:
        for n in range(3):
            await log.append([record("a", f"{n}")])
        await delete(admin, settings, "commands")
        await make(admin, settings, "commands")

        async def refused() -> bool:
            try:
                await log.append([record("a", "3")])
            except AppendUnknown as error:  # others: no broker knows the topic for a moment
                return "had reached 3 before: the topic was made again" in str(error)
            return False

        await eventually(refused)
        await until_unusable(log, "something rests on it")
    finally:
        await log.stop()


async def _judged(settings: Settings, judge: Any) -> Log:
    from langlog_backbone.log import open_log

    log = open_log(settings, judge)
    await log.start()
    return log


async def _append_foreign(settings: Settings, partition: int, values: Sequence[str]) -> None:
    from aiokafka import AIOKafkaProducer

    producer = AIOKafkaProducer(bootstrap_servers=settings.log_uri.removeprefix("kafka://"))
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(
                settings.topic_prefix + "commands", value.encode(), b"a", partition, headers=[("ce_id", value.encode())]
            )
    finally:
        await producer.stop()
