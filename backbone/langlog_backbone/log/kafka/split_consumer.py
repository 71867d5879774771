"""Two consumers as one: one for the topics that nearly all records come from, another for the rest.

A fetch lists every partition of its consumer, and the consumer and the broker go through all of them, with records or without
(aiokafka has no incremental fetches, KIP-227). With topics apart, a fetch that brings a run's records lists those of one topic instead of
all; the other consumer's fetch waits at the broker meanwhile.

Concurrency: one `getmany` at a time, on the event loop that it was made on. A cancelled one loses nothing: what a consumer has fetched is
returned by the next, or fetched again after `assign` and `seek`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition

Fetched = dict[KafkaPartition, list[Any]]


class SplitConsumer:
    """``make``: a consumer without a group; ``topics``: all topics to be read, ``busy``: those to be read apart from the others."""

    def __init__(self, make: Callable[[], AIOKafkaConsumer], topics: Collection[str], busy: Collection[str]) -> None:
        apart = set(topics) & set(busy)
        self._parts = [_Part(make(), part) for part in (apart, set(topics) - apart) if part]

    async def start(self) -> None:
        """Connect. Raises KafkaError; then it has to be stopped."""
        for outcome in await asyncio.gather(*(part.consumer.start() for part in self._parts), return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def stop(self) -> None:
        for part in self._parts:
            await part.interrupt()
        await asyncio.gather(*(part.consumer.stop() for part in self._parts))

    async def assign(self, partitions: Collection[KafkaPartition]) -> None:
        """Read these partitions instead of the present ones. The caller seeks each of them before the loop runs again: otherwise aiokafka
        looks up a committed position, which a consumer without a group does not have."""
        for part in self._parts:
            await part.interrupt()
        for part in self._parts:
            part.assigned = [partition for partition in partitions if partition.topic in part.topics]
            # none, too: `unsubscribe` right after an `assign` ends aiokafka's fetching for good, and its error is not raised
            part.consumer.assign(part.assigned)

    def seek(self, partition: KafkaPartition, offset: int) -> None:
        """Continue at the offset. Raises IllegalStateError if the partition is not assigned."""
        for part in self._parts:
            if partition.topic in part.topics:
                part.consumer.seek(partition, offset)

    async def beginning_offsets(self, partitions: Sequence[KafkaPartition]) -> dict[KafkaPartition, int]:
        begins: dict[KafkaPartition, int] = await self._parts[0].consumer.beginning_offsets(partitions)
        return begins

    async def end_offsets(self, partitions: Sequence[KafkaPartition]) -> dict[KafkaPartition, int]:
        ends: dict[KafkaPartition, int] = await self._parts[0].consumer.end_offsets(partitions)
        return ends

    async def getmany(self, *, timeout_ms: int = 0, max_records: int) -> Fetched:
        """Return records of one of the consumers, in turn; nothing if neither has any within the time."""
        parts = [part for part in self._parts if part.assigned]
        if len(parts) == 1:
            return await parts[0].read(timeout_ms, max_records)
        while True:
            for part in parts:
                if fetched := await part.ready(max_records):
                    self._parts.append(self._parts.pop(self._parts.index(part)))
                    return fetched
            if not timeout_ms:
                return {}
            readings = [part.begin(timeout_ms, max_records) for part in parts]
            done, _ = await asyncio.wait(readings, return_when=asyncio.FIRST_COMPLETED)
            if all(
                not reading.cancelled() and reading.exception() is None and not reading.result() for reading in done
            ):
                return {}


class _Part:
    """A consumer, and a read of it that goes on beside reads of the other one."""

    def __init__(self, consumer: AIOKafkaConsumer, topics: Collection[str]) -> None:
        self.consumer = consumer
        self.topics = topics
        self.assigned: list[KafkaPartition] = []
        self._reading: asyncio.Task[Fetched] | None = None

    async def read(self, timeout_ms: int, max_records: int) -> Fetched:
        fetched: Fetched = await self.consumer.getmany(timeout_ms=timeout_ms, max_records=max_records)
        return fetched

    async def ready(self, max_records: int) -> Fetched:
        """Return the records that are there. Raises what the read ended with."""
        reading = self._reading
        if reading is None:
            return await self.read(0, max_records)
        if not reading.done():
            return {}
        self._reading = None
        return reading.result()

    def begin(self, timeout_ms: int, max_records: int) -> asyncio.Task[Fetched]:
        """Return the read under way, or start one."""
        if self._reading is None:
            self._reading = asyncio.create_task(self.read(timeout_ms, max_records))
        return self._reading

    async def interrupt(self) -> None:
        reading, self._reading = self._reading, None
        await end_read(reading)


async def end_read(reading: asyncio.Task[Fetched] | None) -> None:
    """Cancel a read and wait for its end; a cancellation of the caller propagates."""
    if reading is not None:
        reading.cancel()
        await asyncio.wait([reading])
        if not reading.cancelled():
            reading.exception()  # seen: the client is stopped anyway, or reports it again
