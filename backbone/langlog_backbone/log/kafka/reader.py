"""A reader of the Kafka log, alone on all partitions of some topics. The member of a group is in `member`.

Concurrency: one `read` at a time, on the event loop of the log.
Death: nothing is kept that would have to be given back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
)
from langlog_schemas import envelope

from ..partitioner import key_in
from ..port import LogFault, Record, TopicPartition
from .client import broker_log
from .foreign_batches import NoRecord
from .split_consumer import Fetched, SplitConsumer

logger = structlog.get_logger(__name__)

WAIT_MS = 60_000
"""Milliseconds of one wait of aiokafka; then it is repeated."""
RETRY_PAUSE_S = 0.2
"""Seconds before a broken client is replaced."""
STOP_TIMEOUT_S = 5.0
"""Seconds for a client to stop regularly."""


def decode_record(topic: str, partition: int, record: Any, partitions: int) -> Record:
    """Convert a record of aiokafka. What is no text in a record of another producer is replaced (U+FFFD), so that decider and projector
    make it a dead letter, like any record that they cannot handle. An offset without a record becomes one that they pass over."""
    if isinstance(record, NoRecord):
        return Record(topic, partition, record.offset, key_in(partition, partitions), b"", {envelope.GAP: "1"})
    try:
        key = (record.key or b"").decode()
        headers = {name: value.decode() for name, value in record.headers}
    except (UnicodeDecodeError, AttributeError):  # a header may have no value
        key = (record.key or b"").decode(errors="replace")
        headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    return Record(topic, partition, record.offset, key, record.value or b"", headers)


class KafkaReader:
    """Implements `port.LogReader` for all partitions of some topics. ``make``: a consumer of them that is not started; ``names``: topic on
    Kafka -> the caller's name for it."""

    def __init__(
        self,
        make: Callable[[], SplitConsumer],
        names: Mapping[str, str],
        partitions: int,
        start: Mapping[TopicPartition, int],
    ) -> None:
        self._make = make
        self._names = names
        self._stored = {topic: stored for stored, topic in names.items()}
        self._partitions = partitions
        self._next: dict[KafkaPartition, int] = {
            KafkaPartition(stored, p): start.get((topic, p), 0)
            for stored, topic in names.items()
            for p in range(partitions)
        }
        self._sought: dict[KafkaPartition, int] = {}
        """Offsets requested by `seek`, until the record at each arrives: records fetched before are dropped."""
        self._consumer: SplitConsumer | None = None

    async def read(self, max_records: int = 1000) -> list[Record]:
        while True:
            await self._settle()
            try:
                await self._connected()
                fetched = await self._fetch(max_records)
            except (OffsetOutOfRangeError, NoOffsetForPartitionError) as error:
                raise LogFault(await self._not_held(error)) from None
            except (TopicAuthorizationFailedError, GroupAuthorizationFailedError) as error:
                raise LogFault(f"Kafka does not let langlog read: {error}") from None
            except (KafkaError, OSError) as error:
                logger.warning("kafka.reader_failed", error=str(error))
                await self._disconnect()
                await asyncio.sleep(RETRY_PAUSE_S)  # nothing signals that the broker is back
                continue
            records = self._decode(fetched)
            if records:
                broker_log.recovered()
                return records

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        for (topic, number), offset in positions.items():
            partition = KafkaPartition(self._stored.get(topic, ""), number)
            if partition not in self._next:
                continue
            self._next[partition] = self._sought[partition] = offset
            if self._consumer is not None:
                # not ours at this moment: its next owner gets the position to begin at
                with contextlib.suppress(IllegalStateError):
                    self._consumer.seek(partition, offset)

    async def stop(self) -> None:
        await self._disconnect()

    async def _not_held(self, error: KafkaError) -> str:
        """Return the text for a position that the log does not hold, with what it holds as far as brokers answer."""
        wanted = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        for partition, offset in wanted.items():
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    assert self._consumer is not None
                    end = (await self._consumer.end_offsets([partition]))[partition]
                if offset > end:
                    return (
                        f"{partition.topic}/{partition.partition} ends at offset {end}, and langlog is at {offset}: the topic was deleted "
                        "and made again, or has lost its end. Restore the log (docs/how-to/backup.md); if this is the log to go by, run "
                        "`langlog rebuild --from-scratch`"
                    )
        return f"the log no longer holds the position to read from (was it cut? see docs/how-to/retention.md): {error}"

    async def _settle(self) -> None:
        """Apply changes before each fetch."""

    async def _connected(self) -> None:
        if self._consumer is None:
            await self._connect()

    def alone(self) -> bool:
        return True

    async def _connect(self) -> None:
        consumer = self._make()
        try:
            await consumer.start()
            self._sought.clear()
            self._next = await from_the_beginning(consumer, self._next)
            await consumer.assign(list(self._next))
            for partition, offset in self._next.items():
                consumer.seek(partition, offset)
        except BaseException:
            await stop_client(consumer)
            raise
        self._consumer = consumer

    async def _disconnect(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stop_client(consumer)

    async def _fetch(self, max_records: int) -> Fetched:
        assert self._consumer is not None
        return await self._consumer.getmany(timeout_ms=WAIT_MS, max_records=max_records)

    def _decode(self, fetched: Fetched) -> list[Record]:
        records: list[Record] = []
        for partition, fetched_records in fetched.items():
            if partition not in self._next or not fetched_records:
                continue
            if partition in self._sought:
                if fetched_records[0].offset != self._sought[partition]:
                    continue
                del self._sought[partition]
            topic, number = self._names[partition.topic], partition.partition
            records += [decode_record(topic, number, record, self._partitions) for record in fetched_records]
            self._next[partition] = fetched_records[-1].offset + 1
        return records


async def from_the_beginning(
    consumer: SplitConsumer, wanted: Mapping[KafkaPartition, int]
) -> dict[KafkaPartition, int]:
    """Return positions with 0 replaced by the partition's start, since it may have been cut. Raises KafkaError."""
    first = [partition for partition, offset in wanted.items() if offset == 0]
    begins = await consumer.beginning_offsets(first) if first else {}
    return {partition: begins.get(partition, offset) for partition, offset in wanted.items()}


async def stop_client(consumer: AIOKafkaConsumer | SplitConsumer) -> None:
    """Stop the client in bounded time.

    aiokafka's fetch task suppresses its own cancellation while it waits for a fetch of partitions that were just revoked, and
    `stop` then waits for that task without end. The deadline cancels the task once more, and `stop` continues.
    """
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await consumer.stop()
    except (KafkaError, OSError, TimeoutError) as error:
        logger.debug("kafka.stop_failed", error=str(error))
