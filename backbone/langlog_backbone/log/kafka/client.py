"""aiokafka, configured in one place (``tests/log/test_kafka_configuration.py`` holds it), and its log reduced to one line per
change of state.

Concurrency: clients belong to the event loop that makes them.
"""

from __future__ import annotations

import logging
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from ...process.settings import Settings
from ...time.sources import monotonic
from ..port import LogFault
from .foreign_batches import Consumer
from .security import security_options
from .sharing import Sharing

logger = structlog.get_logger(__name__)

CONNECT_TIMEOUT_S = 5.0
"""Seconds to connect to a broker."""
ENVELOPE_BYTES = 148_588
"""Bytes for key, headers and framing above `Settings.max_record_bytes` in a topic's ``max.message.bytes``."""
FETCH_WAIT_MS = 500
"""Milliseconds after which a fetch without records is answered; records that arrive meanwhile are sent at once."""
FETCH_BYTES = 16_000_000
"""Maximum bytes of one fetch over all partitions; a larger first record is still returned."""
REQUEST_TIMEOUT_S = 30.0
HEARTBEAT_MS = 250
"""Milliseconds between heartbeats. A member learns of a rebalance with its next one: a partition without an owner waits for this."""
NEVER_MS = 2**31 - 1
COMPRESSIONS = ("none", "gzip", "lz4", "zstd")
QUIET_S = 1.0
"""Seconds without a further error after which a success means recovery."""


def batch_bytes(settings: Settings) -> int:
    """Return the maximum bytes of a batch: the limit of a topic. A batch is appended atomically, so the events of one command
    are never appended in part."""
    return settings.max_record_bytes + ENVELOPE_BYTES // 2


def compression_type(settings: Settings) -> str | None:
    """Return the compression type for aiokafka's producer. Raises LogFault for an unknown one."""
    chosen = settings.kafka_compression.lower()
    if chosen not in COMPRESSIONS:
        raise LogFault(
            f"LANGLOG_KAFKA_COMPRESSION must be one of {', '.join(COMPRESSIONS)}, not {settings.kafka_compression!r}"
        )
    return None if chosen == "none" else chosen


def producer_options(settings: Settings) -> dict[str, Any]:
    """Return the options of the producer. Raises LogFault for invalid settings."""
    return {
        "acks": "all",
        "enable_idempotence": True,
        # what gathers while a request is under way is the next batch
        "linger_ms": 0,
        "max_batch_size": batch_bytes(settings),
        # of a whole batch, which mostly is what one command led to (KIP-110 for zstd)
        "compression_type": compression_type(settings),
        "max_request_size": settings.max_record_bytes + ENVELOPE_BYTES,
        "request_timeout_ms": int(min(REQUEST_TIMEOUT_S, settings.append_deadline_s) * 1000),
        "client_id": "langlog",
    }


def consumer_options(settings: Settings) -> dict[str, Any]:
    """Return the options of readers without a group."""
    return {
        "group_id": None,
        "enable_auto_commit": False,
        # a position that is not there any more is a fault, not a reason to skip or repeat silently
        "auto_offset_reset": "none",
        "isolation_level": "read_uncommitted",
        "check_crcs": True,
        "fetch_min_bytes": 1,
        "fetch_max_wait_ms": FETCH_WAIT_MS,
        "fetch_max_bytes": FETCH_BYTES,
        "max_partition_fetch_bytes": settings.max_record_bytes + 2 * ENVELOPE_BYTES,
        "request_timeout_ms": int(REQUEST_TIMEOUT_S * 1000),
        "client_id": "langlog",
    }


def member_options(settings: Settings, group: str, sharing: Sharing) -> dict[str, Any]:
    """Return the options of the client that is in a group. It fetches nothing (`member`)."""
    session_ms = int(settings.group_session_s * 1000)
    return consumer_options(settings) | {
        "group_id": group,
        # partition n of every topic is assigned to the same member
        "partition_assignment_strategy": (sharing,),
        "session_timeout_ms": session_ms,
        "heartbeat_interval_ms": max(100, min(HEARTBEAT_MS, session_ms // 6)),
        "rebalance_timeout_ms": session_ms,
        # it never fetches: that is no reason to leave the group
        "max_poll_interval_ms": NEVER_MS,
    }


def message_bytes(settings: Settings) -> int:
    """Return the batch size that a topic must accept, in bytes."""
    return settings.max_record_bytes + ENVELOPE_BYTES


def topic_options(settings: Settings, replication: int) -> dict[str, str]:
    """Return the settings of topics that langlog creates. Kafka's default retention would delete records after seven days."""
    return {
        "cleanup.policy": "delete",
        # the broker's time: one clock for a partition, and no record is refused for the time that its sender believes in
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "max.message.bytes": str(message_bytes(settings)),
        "min.insync.replicas": "2" if replication >= 3 else "1",
        "unclean.leader.election.enable": "false",
    }


def make_producer(bootstrap: str, settings: Settings) -> AIOKafkaProducer:
    return AIOKafkaProducer(bootstrap_servers=bootstrap, **producer_options(settings), **security_options(settings))


def make_consumer(bootstrap: str, settings: Settings) -> AIOKafkaConsumer:
    return Consumer(bootstrap_servers=bootstrap, **consumer_options(settings), **security_options(settings))


def make_member(bootstrap: str, settings: Settings, group: str, sharing: Sharing) -> AIOKafkaConsumer:
    options = member_options(settings, group, sharing) | security_options(settings)
    return Consumer(bootstrap_servers=bootstrap, **options)


def make_admin(bootstrap: str, settings: Settings) -> AIOKafkaAdminClient:
    return AIOKafkaAdminClient(
        bootstrap_servers=bootstrap,
        client_id="langlog",
        request_timeout_ms=int(REQUEST_TIMEOUT_S * 1000),
        **security_options(settings),
    )


class BrokerLogFilter(logging.Handler):
    """Filters aiokafka's log, which has hundreds of retries a second while a broker is unavailable: the first of them becomes one event."""

    def __init__(self) -> None:
        super().__init__(level=logging.WARNING)
        self._last: float | None = None

    def emit(self, record: logging.LogRecord) -> None:
        first = self._last is None
        self._last = monotonic()
        if first:
            logger.warning("kafka.failing", said=record.getMessage())

    def recovered(self) -> None:
        """Record a successful call."""
        if self._last is not None and monotonic() - self._last > QUIET_S:
            self._last = None
            logger.info("kafka.recovered")


broker_log = BrokerLogFilter()


def filter_broker_log() -> None:
    """Route aiokafka's `logging` records here only."""
    source = logging.getLogger("aiokafka")
    if broker_log not in source.handlers:
        source.handlers = [broker_log]
        source.propagate = False
        source.setLevel(logging.WARNING)
