"""Reads all records of a log between positions in bounded memory, in a reader's order or in the order of their times.

An embedded log searches by time, assuming that records were written in the order of time. So records are written into one
in that order: records of Kafka's partitions are merged by it.

Concurrency: one reader at a time. Death: nothing is kept.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Mapping, Sequence

from ..log import Log, LogUnavailable, Positions, Record, TopicPartition
from ..log.kafka.copy_target import sent_ms
from ..log.kafka.kafka_log import TOPICS
from .digests import Gap, gap

TOPICS_COPIED = TOPICS
"""All topics of a log."""
STALLED_S = 120.0
"""Seconds after which records that the log should hold and that have not arrived count as missing."""
BATCH_RECORDS = 1_000
BATCH_BYTES = 8_000_000
MERGED_BYTES = 64_000_000
"""Approximate maximum bytes that a merge holds of all partitions."""
PAGE_RECORDS = 2_000
FIRST_PAGE_RECORDS = 16
"""Number of records of a page until the size of a partition's records is known."""


async def starts_of(log: Log, topics: Sequence[str] = TOPICS_COPIED) -> Positions:
    """Return the start of every partition. Raises LogUnavailable."""
    return {(topic, part): offset for topic in topics for part, offset in enumerate(await log.start_offsets(topic))}


async def ends_of(log: Log, topics: Sequence[str] = TOPICS_COPIED) -> Positions:
    """Return the end of every partition. Raises LogUnavailable."""
    return {(topic, part): offset for topic in topics for part, offset in enumerate(await log.end_offsets(topic))}


def count(starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> int:
    """Return the number of records between the positions."""
    return sum(max(0, end - starts.get(partition, 0)) for partition, end in ends.items())


async def between(
    log: Log, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int], *, by_time: bool = False
) -> AsyncIterator[list[Record]]:
    """Yield records from ``starts`` on and below ``ends``, each partition in offset order. ``by_time``: and all of them by their times.

    Raises Gap, LogFault (the log was cut meanwhile), LogUnavailable.
    """
    records = _merged(log, starts, ends) if by_time and log.name != "sqlite" else _as_read(log, starts, ends)
    async for batch in records:
        yield batch


async def _as_read(
    log: Log, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
) -> AsyncIterator[list[Record]]:
    left = count(starts, ends)
    if not left:
        return
    topics = sorted({topic for (topic, part), end in ends.items() if end > starts.get((topic, part), 0)})
    following = {partition: starts.get(partition, 0) for partition in ends}
    reader = log.reader(
        topics, {partition: offset for partition, offset in following.items() if partition[0] in topics}
    )
    try:
        while left:
            try:
                async with asyncio.timeout(STALLED_S):
                    read = await reader.read(BATCH_RECORDS)
            except TimeoutError:
                raise _stalled(log, following, ends) from None
            wanted = [r for r in read if following[r.topic, r.partition] <= r.offset < ends[r.topic, r.partition]]
            for record in wanted:
                partition = record.topic, record.partition
                if record.offset != following[partition]:
                    raise Gap(gap(record.topic, record.partition, following[partition]))
                following[partition] += 1
            left -= len(wanted)
            if wanted:
                yield wanted
    finally:
        await reader.stop()


def _stalled(log: Log, following: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> Exception:
    for partition, end in sorted(ends.items()):
        if following[partition] < end and log.name != "sqlite":
            return Gap(
                f"{partition[0]}/{partition[1]} ends at offset {end}, but no record at {following[partition]} or later came within "
                f"{STALLED_S:g} s: positions cannot be kept in another log without it"
            )
    return LogUnavailable(f"the log could not be read for {STALLED_S:g} s")


class _Page:
    """The next records of one partition."""

    def __init__(self, partition: TopicPartition, start: int, end: int) -> None:
        self.partition, self.at, self.end = partition, start, end
        self.records: list[Record] = []
        self.taken = 0
        self.size = FIRST_PAGE_RECORDS
        self.time = 0

    async def fill(self, log: Log, limit_bytes: int) -> bool:
        """Read the next page if needed; return whether there is a record. Raises Gap, LogUnavailable."""
        if self.taken < len(self.records):
            return True
        if self.at >= self.end:
            return False
        topic, part = self.partition
        wanted = range(self.at, min(self.end, self.at + self.size))
        self.records, self.taken = await log.fetch(topic, part, wanted), 0
        if [record.offset for record in self.records] != list(wanted):
            raise Gap(gap(topic, part, next(at for at in wanted if at not in {r.offset for r in self.records})))
        self.at += len(self.records)
        mean = sum(len(record.value) + 500 for record in self.records) // len(self.records)
        self.size = max(1, min(PAGE_RECORDS, limit_bytes // mean))
        return True

    @property
    def next_time(self) -> int:
        """Return the time of the next record, never before that of an earlier one: the order of a partition is not changed."""
        return max(self.time, sent_ms(self.records[self.taken].headers))

    def take(self) -> Record:
        self.time = self.next_time
        self.taken += 1
        return self.records[self.taken - 1]


async def _merged(
    log: Log, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
) -> AsyncIterator[list[Record]]:
    pages = [_Page(partition, starts.get(partition, 0), end) for partition, end in sorted(ends.items())]
    pages = [page for page in pages if page.at < page.end]
    limit = MERGED_BYTES // max(1, len(pages))
    heap = [(page.next_time, n) for n, page in enumerate(pages) if await page.fill(log, limit)]
    heapq.heapify(heap)
    batch: list[Record] = []
    size = 0
    while heap:
        _, n = heap[0]
        record = pages[n].take()
        batch.append(record)
        size += len(record.value)
        if await pages[n].fill(log, limit):
            heapq.heapreplace(heap, (pages[n].next_time, n))
        else:
            heapq.heappop(heap)
        if len(batch) >= BATCH_RECORDS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


async def first_difference(one: Log, other: Log, partition: TopicPartition, start: int, end: int) -> int:
    """Return the offset of the first record that differs; ``end`` if none does. Raises LogUnavailable."""
    topic, part = partition
    for begin in range(start, end, FIRST_PAGE_RECORDS):
        wanted = range(begin, min(end, begin + FIRST_PAGE_RECORDS))
        ours = {record.offset: record for record in await one.fetch(topic, part, wanted)}
        theirs = {record.offset: record for record in await other.fetch(topic, part, wanted)}
        for offset in wanted:
            if ours.get(offset) != theirs.get(offset):
                return offset
    return end
