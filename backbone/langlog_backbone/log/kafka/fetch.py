"""Single records of the Kafka log by their offsets: one consumer that is assigned the requested partition.

Kafka cannot fetch a set of offsets: close ones are read in sequence and others dropped, distant ones are sought.

Concurrency: one fetch at a time; others wait. Belongs to the event loop of the log.
Death: a consumer that failed, or whose fetch was cancelled, is discarded and the next fetch creates another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import KafkaError

from ..port import LogUnavailable, Record
from .reader import decode_record, stop_client

GAP_RECORDS = 200
"""Number of records between two wanted ones below which both are read in one sequence."""
READ_RECORDS = 500
FETCH_TIMEOUT_S = 20.0
"""Seconds for one fetch."""
WAIT_MS = 1_000
"""Milliseconds of aiokafka's wait for existing records; repeated until the deadline."""


class KafkaFetcher:
    """``make``: a consumer that is not started; ``partitions``: per topic."""

    def __init__(self, make: Callable[[], AIOKafkaConsumer], partitions: int) -> None:
        self._make, self._partitions = make, partitions
        self._consumer: AIOKafkaConsumer | None = None
        self._turn = asyncio.Lock()
        self._stopping: set[asyncio.Task[None]] = set()

    async def fetch(self, topic: str, partition: KafkaPartition, offsets: Collection[int]) -> list[Record]:
        """Fetch records, as `port.Log.fetch`; ``topic`` is the name in the returned records. Raises LogUnavailable."""
        wanted = sorted(set(offsets))
        if not wanted:
            return []
        done = False
        async with self._turn:
            try:
                async with asyncio.timeout(FETCH_TIMEOUT_S):
                    records = await self._fetch(topic, partition, wanted)
                done = True
                return records
            except (KafkaError, OSError, TimeoutError) as error:
                raise LogUnavailable(
                    f"Kafka did not answer for records of {topic}: {str(error) or 'no answer'}"
                ) from None
            finally:
                if not done:
                    self._discard()

    async def stop(self) -> None:
        self._discard()
        await asyncio.gather(*self._stopping, return_exceptions=True)

    def _discard(self) -> None:
        """Stop the consumer in the background: the next fetch must not wait for it."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            stopping = asyncio.create_task(stop_client(consumer))
            self._stopping.add(stopping)
            stopping.add_done_callback(self._stopping.discard)

    async def _fetch(self, topic: str, partition: KafkaPartition, wanted: list[int]) -> list[Record]:
        if self._consumer is None:
            self._consumer = self._make()
            await self._consumer.start()
        consumer = self._consumer
        consumer.assign([partition])
        first = (await consumer.beginning_offsets([partition]))[partition]
        end = (await consumer.end_offsets([partition]))[partition]
        records: list[Record] = []
        for group in _groups([offset for offset in wanted if first <= offset < end]):
            records += await self._read(consumer, topic, partition, group)
        consumer.unsubscribe()  # so that it fetches nothing between calls
        return records

    async def _read(
        self, consumer: AIOKafkaConsumer, topic: str, partition: KafkaPartition, group: list[int]
    ) -> list[Record]:
        records: list[Record] = []
        wanted, last = set(group), group[-1]
        consumer.seek(partition, group[0])
        while True:
            fetched = await consumer.getmany(partition, timeout_ms=WAIT_MS, max_records=READ_RECORDS)
            for record in fetched.get(partition, ()):
                if record.offset in wanted:
                    records.append(decode_record(topic, partition.partition, record, self._partitions))
                if record.offset >= last:
                    return records


def _groups(wanted: list[int]) -> list[list[int]]:
    groups: list[list[int]] = []
    for offset in wanted:
        if groups and offset - groups[-1][-1] <= GAP_RECORDS:
            groups[-1].append(offset)
        else:
            groups.append([offset])
    return groups
