"""Queries for the offsets of a topic's partitions on the Kafka log: their ends, their starts, and at a moment.

One consumer without a group serves all queries of the process, one after the other. One whose query failed is replaced: aiokafka closes a
connection to a machine that has vanished after its own time limit, which is longer than a query's. Concurrency: belongs to the event loop
that queries first. Death: the next query of another process opens its own consumer; nothing has to be given back.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import KafkaError

from ..port import LogUnavailable
from .reader import stop_client

QUERY_TIMEOUT_S = 10.0
"""Seconds for one query."""

Query = Callable[[AIOKafkaConsumer, Sequence[KafkaPartition]], Awaitable[Mapping[KafkaPartition, int]]]


class OffsetQueries:
    """``make``: a consumer that is not started; ``partitions``: per topic. All methods raise LogUnavailable."""

    def __init__(self, make: Callable[[], AIOKafkaConsumer], partitions: int) -> None:
        self._make = make
        self._partitions = partitions
        self._consumer: AIOKafkaConsumer | None = None
        self._lock = asyncio.Lock()
        self._stopping: set[asyncio.Task[None]] = set()

    async def end(self, topic: str) -> list[int]:
        """Return the offset after the last record of each partition of a topic, by its name on Kafka."""
        return await self._offsets(topic, lambda consumer, partitions: consumer.end_offsets(partitions))

    async def start(self, topic: str) -> list[int]:
        """Return the offset of the first record of each partition that was not cut."""
        return await self._offsets(topic, lambda consumer, partitions: consumer.beginning_offsets(partitions))

    async def at(self, topic: str, moment: datetime) -> list[int]:
        """Return the offset of the first record of each partition at or after the moment, or the end of the partition."""
        at_ms = math.ceil(moment.timestamp() * 1000)

        async def find(consumer: AIOKafkaConsumer, partitions: Sequence[KafkaPartition]) -> dict[KafkaPartition, int]:
            ends = await consumer.end_offsets(partitions)
            by_time = await consumer.offsets_for_times(dict.fromkeys(partitions, at_ms))
            return {
                partition: ends[partition] if by_time.get(partition) is None else by_time[partition].offset
                for partition in partitions
            }

        return await self._offsets(topic, find)

    async def stop(self) -> None:
        self._discard()
        await asyncio.gather(*self._stopping, return_exceptions=True)

    def _discard(self) -> None:
        """Stop the consumer in the background: the next query must not wait for it."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            stopping = asyncio.create_task(stop_client(consumer), name="kafka-stop-offsets")
            self._stopping.add(stopping)
            stopping.add_done_callback(self._stopping.discard)

    async def _offsets(self, topic: str, query: Query) -> list[int]:
        partitions = [KafkaPartition(topic, p) for p in range(self._partitions)]
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_S):
                async with self._lock:
                    try:
                        if self._consumer is None:
                            self._consumer = self._make()
                            await self._consumer.start()
                        offsets = await query(self._consumer, partitions)
                    except BaseException:
                        self._discard()
                        raise
        except (KafkaError, OSError, TimeoutError) as error:
            raise LogUnavailable(f"Kafka did not answer for offsets of {topic}: {str(error) or 'no answer'}") from None
        return [offsets[partition] for partition in partitions]
