"""The work that both Kafka clients have to do for the log, and how aiokafka does it: append a record, read what has arrived.

Concurrency: a client belongs to the event loop that started it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from langlog_backbone.log.kafka.client import make_consumer, make_producer
from langlog_backbone.process.settings import Settings

Headers = Sequence[tuple[str, bytes]]
WAIT_MS = 1000
READ_RECORDS = 500


class Client(Protocol):
    async def start(self, bootstrap: str, topic: str, partitions: int) -> None:
        """Connect a producer, and a consumer that is assigned all partitions of a topic that is empty."""
        ...

    async def append(self, partition: int, records: Sequence[bytes], headers: Headers) -> None:
        """Send records to a partition and wait for all acknowledgements (``acks=all``, idempotent, no linger)."""
        ...

    async def read(self) -> list[bytes]:
        """Return the values that have arrived; may return none."""
        ...

    async def stop(self) -> None: ...


class Aiokafka:
    """With the options of the Kafka log."""

    _producer: AIOKafkaProducer
    _consumer: AIOKafkaConsumer

    async def start(self, bootstrap: str, topic: str, partitions: int) -> None:
        self._topic = topic
        self._producer = make_producer(bootstrap, Settings())
        self._consumer = make_consumer(bootstrap, Settings())
        await self._producer.start()
        await self._producer.partitions_for(topic)
        await self._consumer.start()
        assigned = [KafkaPartition(topic, number) for number in range(partitions)]
        self._consumer.assign(assigned)
        for partition in assigned:
            self._consumer.seek(partition, 0)

    async def append(self, partition: int, records: Sequence[bytes], headers: Headers) -> None:
        sent: list[asyncio.Future[Any]] = [
            await self._producer.send(self._topic, value, value[:36], partition, headers=headers) for value in records
        ]
        for each in sent:
            await each

    async def read(self) -> list[bytes]:
        fetched = await self._consumer.getmany(timeout_ms=WAIT_MS, max_records=READ_RECORDS)
        return [record.value for records in fetched.values() for record in records]

    async def stop(self) -> None:
        await self._producer.stop()
        await self._consumer.stop()
