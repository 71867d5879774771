"""Configuration of aiokafka and langlog's topics: a change here is a change of what langlog guarantees."""

from __future__ import annotations

import logging

import pytest
from langlog_backbone.log.kafka.client import (
    BrokerLogFilter,
    consumer_options,
    make_consumer,
    make_member,
    make_producer,
    member_options,
    producer_options,
    topic_options,
)
from langlog_backbone.log.kafka.kafka_log import TOPICS
from langlog_backbone.log.kafka.sharing import Sharing
from langlog_backbone.process.settings import Settings
from langlog_backbone.time.sources import replaced
from structlog.testing import CapturingLogger

from tests.stack.sources import SteppedClock

SETTINGS = Settings(max_record_bytes=900_000)


def test_a_send_is_acknowledged_by_all_in_sync_replicas_and_never_doubled_by_a_retry() -> None:
    options = producer_options(SETTINGS)
    assert options["acks"] == "all"
    assert options["enable_idempotence"] is True


def test_batches_form_by_themselves_and_fit_the_topics_limit() -> None:
    options = producer_options(SETTINGS)
    assert options["linger_ms"] == 0
    assert options["max_batch_size"] < int(topic_options(SETTINGS, 3)["max.message.bytes"])
    assert options["max_request_size"] > SETTINGS.max_record_bytes
    assert "transactional_id" not in options


def test_the_largest_record_fits_request_topic_and_fetch_whatever_its_setting() -> None:
    for limit in (100_000, 900_000, 16_000_000, 80_000_000):
        settings = Settings(max_record_bytes=limit)
        topic = int(topic_options(settings, 3)["max.message.bytes"])
        assert limit < producer_options(settings)["max_request_size"] <= topic
        assert producer_options(settings)["max_batch_size"] < topic
        assert consumer_options(settings)["max_partition_fetch_bytes"] > topic


def test_positions_are_ours_nothing_is_committed_or_reset_by_itself() -> None:
    for options in (consumer_options(SETTINGS), member_options(SETTINGS, "g", Sharing())):
        assert options["enable_auto_commit"] is False
        assert options["auto_offset_reset"] == "none"


def test_a_fetch_takes_the_largest_record() -> None:
    options = consumer_options(SETTINGS)
    assert options["max_partition_fetch_bytes"] > int(topic_options(SETTINGS, 3)["max.message.bytes"])


def test_partition_n_of_every_topic_goes_to_the_same_member() -> None:
    options = member_options(Settings(group_session_s=6.0), "g", Sharing())
    (sharing,) = options["partition_assignment_strategy"]
    assert sharing.name == "range"
    assert options["session_timeout_ms"] == 6_000
    assert options["heartbeat_interval_ms"] <= 6_000 / 3


@pytest.mark.parametrize(("replication", "in_sync"), [(1, "1"), (2, "1"), (3, "2"), (5, "2")])
def test_topics_keep_everything_for_ever(replication: int, in_sync: str) -> None:
    assert topic_options(SETTINGS, replication) == {
        "cleanup.policy": "delete",
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "max.message.bytes": "1048588",
        "min.insync.replicas": in_sync,
        "unclean.leader.election.enable": "false",
    }


def test_the_topics_are_those_of_the_design() -> None:
    assert sorted(TOPICS) == [
        "assistant-events",
        "commands",
        "cron-events",
        "dead-letters",
        "graph-events",
        "run-events",
        "snapshots",
        "store-events",
    ]


async def test_the_installed_aiokafka_takes_these_options() -> None:
    producer = make_producer("127.0.0.1:1", SETTINGS)
    await producer.stop()
    for consumer in (make_consumer("127.0.0.1:1", SETTINGS), make_member("127.0.0.1:1", SETTINGS, "g", Sharing())):
        await consumer.stop()


def test_aiokafkas_complaints_are_heard_once_a_change_of_state(monkeypatch: pytest.MonkeyPatch) -> None:
    from langlog_backbone.log.kafka import client as kafka_client

    heard = CapturingLogger()
    monkeypatch.setattr(kafka_client, "logger", heard)
    clock = SteppedClock()
    with replaced(clock=clock):
        broker_log = BrokerLogFilter()
        said = logging.LogRecord("aiokafka.conn", logging.ERROR, "", 0, "no broker", None, None)
        broker_log.recovered()
        for _ in range(500):
            broker_log.emit(said)
            clock.sleep(0.01)
            broker_log.recovered()
        clock.sleep(2)
        for _ in range(5):
            broker_log.recovered()
        broker_log.emit(said)
    assert [call.args[0] for call in heard.calls] == ["kafka.failing", "kafka.recovered", "kafka.failing"]
