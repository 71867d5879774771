"""Topics and brokers that langlog accepts at the start."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from langlog_backbone.log import LogFault, LogUnavailable, NewRecord, RecordTooLarge, open_log
from langlog_backbone.log.kafka.client import topic_options
from langlog_backbone.log.kafka.kafka_log import TOPICS
from langlog_backbone.log.kafka.topics import _check
from langlog_backbone.process.settings import Settings

from tests.log.conftest import OpenLog, record

pytestmark = pytest.mark.kafka

STRONG = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "min.insync.replicas": "2",
    "unclean.leader.election.enable": "false",
    "max.message.bytes": "1048588",
}
PRODUCTION = Settings(production=True, replication_factor=3, partitions=4, max_record_bytes=900_000)


@pytest.fixture(params=["kafka"])
def log_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def make_topic(settings: Settings, name: str, partitions: int, config: dict[str, str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.log_uri.removeprefix("kafka://"))
    await admin.start()
    try:
        await admin.create_topics([NewTopic(settings.topic_prefix + name, partitions, 1, topic_configs=config)])
    finally:
        await admin.close()


def described(partitions: int = 4, replicas: int = 3) -> list[dict[str, Any]]:
    return [{"partition": p, "leader": 1, "replicas": list(range(replicas))} for p in range(partitions)]


async def test_topics_are_made_with_all_settings_and_found_again(settings: Settings, open_started: OpenLog) -> None:
    await open_started(settings)
    again = await open_started(settings)
    for topic in TOPICS:
        await again.append([record("a", "x", topic)])
        assert sum(await again.end_offsets(topic)) == 1


async def test_another_partition_count_is_refused(settings: Settings) -> None:
    await make_topic(settings, "run-events", 3, {})
    with pytest.raises(LogFault, match="run-events has 3 partitions, which cannot be changed"):
        await open_log(settings).start()


async def test_a_topic_that_refuses_the_largest_record_is_refused(settings: Settings) -> None:
    await make_topic(settings, "commands", settings.partitions, {"max.message.bytes": "100000"})
    with pytest.raises(LogFault, match=r"commands has max\.message\.bytes=100000"):
        await open_log(settings).start()


async def test_topics_of_an_earlier_version_keep_their_limit_which_is_then_the_logs(settings: Settings) -> None:
    earlier = msgspec.structs.replace(settings, max_record_bytes=16_000_000)
    await make_topic(earlier, "commands", settings.partitions, topic_options(earlier, 1))
    log = open_log(settings)
    await log.start()
    try:
        assert log.max_record_bytes == 16_000_000
        record = NewRecord("commands", "a", bytes(16_000_000), {})
        assert len(await log.append([record])) == 1
        with pytest.raises(RecordTooLarge, match="the limit is 16000000"):
            await log.append([record._replace(value=bytes(16_000_001))])
    finally:
        await log.stop()
    with pytest.raises(LogFault, match="LANGLOG_MAX_RECORD_BYTES=20000000 needs 20148588"):
        await open_log(msgspec.structs.replace(settings, max_record_bytes=20_000_000)).start()


async def test_production_needs_three_replicas_before_anything_is_made(settings: Settings) -> None:
    with pytest.raises(LogFault, match="LANGLOG_REPLICATION_FACTOR of at least 3"):
        await open_log(msgspec.structs.replace(settings, production=True)).start()


async def test_too_few_brokers_for_the_replication_factor_is_a_fault(settings: Settings) -> None:
    with pytest.raises(LogFault, match="too few brokers"):
        await open_log(msgspec.structs.replace(settings, replication_factor=3)).start()


async def test_production_refuses_a_topic_that_forgets(make_log_settings: Callable[..., Settings]) -> None:
    settings = make_log_settings(replication_factor=3, production=True, max_record_bytes=900_000)
    for topic in TOPICS:
        await make_topic(settings, topic, settings.partitions, {"retention.ms": "604800000"})
    with pytest.raises(LogFault, match=r"could lose records: retention\.ms=604800000, replication factor 1"):
        await open_log(settings).start()


def test_production_takes_a_strong_topic() -> None:
    _check("commands", described(), STRONG, PRODUCTION)


@pytest.mark.parametrize(
    "weaker",
    [
        {"min.insync.replicas": "1"},
        {"retention.ms": "604800000"},
        {"retention.bytes": "1000000000"},
        {"cleanup.policy": "compact"},
        {"unclean.leader.election.enable": "true"},
    ],
)
def test_production_refuses_each_weaker_setting(weaker: dict[str, str]) -> None:
    (name,) = weaker
    with pytest.raises(LogFault, match=name):
        _check("commands", described(), STRONG | weaker, PRODUCTION)


def test_production_refuses_a_topic_with_too_few_replicas() -> None:
    with pytest.raises(LogFault, match="replication factor 2"):
        _check("commands", described(replicas=2), STRONG, PRODUCTION)


def test_without_production_a_weak_topic_is_only_said() -> None:
    _check(
        "commands",
        described(replicas=1),
        STRONG | {"retention.ms": "1000"},
        msgspec.structs.replace(PRODUCTION, production=False),
    )


async def test_nobody_at_the_address_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langlog_backbone.log.kafka.kafka_log.CONNECT_TIMEOUT_S", 3600.0)
    with pytest.raises(LogUnavailable, match="Kafka cannot be reached") as refused:
        await open_log(Settings(log_uri="kafka://127.0.0.1:1")).start()
    assert "\n" not in str(refused.value)


async def test_somebody_who_does_not_answer_is_given_up_after_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langlog_backbone.log.kafka.kafka_log.CONNECT_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(LogUnavailable, match="Kafka cannot be reached"):
            await open_log(Settings(log_uri=f"kafka://127.0.0.1:{silent.getsockname()[1]}")).start()
