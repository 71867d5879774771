"""The topics on Kafka: created where missing, refused where they could lose or reorder records.

Runs once at start; several processes may start at once. Existing topics are not changed: if they accept smaller records
than langlog would write by default, their limit is the log's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    InvalidReplicationFactorError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)

from ...process.settings import MAX_RECORD_BYTES, Settings
from ..port import LogFault, LogUnavailable
from .client import ENVELOPE_BYTES, message_bytes, topic_options

logger = structlog.get_logger(__name__)

PRODUCTION_REPLICATION = 3
PRODUCTION_IN_SYNC = 2
FORMER_RECORD_BYTES = 16_000_000
"""`Settings.max_record_bytes` by default in earlier versions: topics created then accept no more."""
LEADER_TIMEOUT_S = 30.0
"""Maximum seconds for which partitions of a topic may be without leaders at start."""
LEADER_PAUSE_S = 0.05
"""Seconds between two checks of the leaders, for which Kafka has no event."""


async def prepare_topics(admin: AIOKafkaAdminClient, topics: Sequence[str], settings: Settings) -> int:
    """Wait until all partitions have leaders; return the maximum record size of the topics, in bytes. Raises LogFault,
    LogUnavailable (leaders missing), KafkaError."""
    if settings.production and settings.replication_factor < PRODUCTION_REPLICATION:
        raise LogFault(
            f"LANGLOG_PRODUCTION needs LANGLOG_REPLICATION_FACTOR of at least {PRODUCTION_REPLICATION}, "
            f"not {settings.replication_factor}"
        )
    existing = await _describe(admin, topics)
    missing = [topic for topic in topics if topic not in existing]
    if missing:
        await _make(admin, missing, settings)
    described = await _wait_for_leaders(admin, topics)
    configs = await _configs(admin, topics)
    for topic in topics:
        _check(topic, described[topic], configs.get(topic, {}), settings)
    limits = {topic: int(configs.get(topic, {}).get("max.message.bytes", message_bytes(settings))) for topic in topics}
    smallest = min(limits, key=lambda topic: limits[topic])
    limit = min(settings.max_record_bytes, limits[smallest] - ENVELOPE_BYTES)
    if limit < settings.max_record_bytes:
        logger.warning(
            "kafka.records_limited",
            topic=smallest,
            max_message_bytes=limits[smallest],
            max_record_bytes=limit,
            hint=f"raise max.message.bytes of all topics to {message_bytes(settings)} for larger requests",
        )
    return limit


async def _make(admin: AIOKafkaAdminClient, topics: Sequence[str], settings: Settings) -> None:
    options = topic_options(settings, settings.replication_factor)
    response = await admin.create_topics(
        [NewTopic(topic, settings.partitions, settings.replication_factor, topic_configs=options) for topic in topics]
    )
    for topic, code, *words in response.topic_errors:
        error = for_code(code)
        if error is InvalidReplicationFactorError:
            raise LogFault(
                f"topic {topic}: the cluster has too few brokers for LANGLOG_REPLICATION_FACTOR={settings.replication_factor}"
            )
        if code != 0 and error is not TopicAlreadyExistsError:
            raise LogFault(f"topic {topic} cannot be made: {words[0] if words and words[0] else error.__name__}")
    logger.info("kafka.topics_made", topics=len(topics), partitions=settings.partitions)


async def _describe(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    by_topic: dict[str, list[dict[str, Any]]] = {}
    for topic in await admin.describe_topics(list(topics)):
        error = for_code(topic["error_code"])
        if error is UnknownTopicOrPartitionError:
            continue
        if topic["error_code"] != 0 and not error.retriable:
            raise LogFault(f"topic {topic['topic']} cannot be used: {error.__name__}")
        by_topic[topic["topic"]] = topic["partitions"]
    return by_topic


async def _wait_for_leaders(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    deadline = asyncio.get_running_loop().time() + LEADER_TIMEOUT_S
    while True:
        described = await _describe(admin, topics)
        if all(described.get(topic) and all(p["leader"] >= 0 for p in described[topic]) for topic in topics):
            return described
        if asyncio.get_running_loop().time() > deadline:
            without = [
                topic for topic in topics if not described.get(topic) or any(p["leader"] < 0 for p in described[topic])
            ]
            raise LogUnavailable(f"Kafka has no leaders for partitions of {', '.join(without)}")
        await asyncio.sleep(LEADER_PAUSE_S)


async def _configs(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> dict[str, dict[str, str]]:
    responses = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics])
    by_topic: dict[str, dict[str, str]] = {}
    for response in responses:
        for code, words, _, name, entries, *_ in response.resources:
            if code != 0:
                raise LogFault(f"topic {name}: its settings cannot be read: {words or for_code(code).__name__}")
            by_topic[name] = {entry[0]: entry[1] for entry in entries}
    return by_topic


def _check(topic: str, partitions: Sequence[Mapping[str, Any]], config: Mapping[str, str], settings: Settings) -> None:
    if len(partitions) != settings.partitions:
        raise LogFault(
            f"topic {topic} has {len(partitions)} partitions, which cannot be changed: "
            f"LANGLOG_PARTITIONS is {settings.partitions}"
        )
    needed = message_bytes(settings)
    if (
        settings.max_record_bytes == MAX_RECORD_BYTES
    ):  # not an operator's choice: topics of earlier versions are accepted unchanged
        needed = FORMER_RECORD_BYTES + ENVELOPE_BYTES
    if int(config.get("max.message.bytes", needed)) < needed:
        raise LogFault(
            f"topic {topic} has max.message.bytes={config['max.message.bytes']}; "
            f"LANGLOG_MAX_RECORD_BYTES={settings.max_record_bytes} needs {message_bytes(settings)}"
        )
    weak = [f"{name}={config.get(name)}" for name in ("retention.ms", "retention.bytes") if config.get(name) != "-1"]
    if config.get("cleanup.policy") != "delete":
        weak.append(f"cleanup.policy={config.get('cleanup.policy')}")
    if settings.production:
        replicas = min(len(partition["replicas"]) for partition in partitions)
        if replicas < PRODUCTION_REPLICATION:
            weak.append(f"replication factor {replicas}")
        if int(config.get("min.insync.replicas", "1")) < PRODUCTION_IN_SYNC:
            weak.append(f"min.insync.replicas={config.get('min.insync.replicas')}")
        if config.get("unclean.leader.election.enable") == "true":
            weak.append("unclean.leader.election.enable=true")
    if not weak:
        return
    if settings.production:
        raise LogFault(f"topic {topic} could lose records: {', '.join(weak)}")
    logger.warning("kafka.topic_weak", topic=topic, settings=weak)
