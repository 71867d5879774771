"""Readers of the Kafka log: alone on all partitions, or as a member of a group.

A member's listener only notes that partitions came or went and holds the new ones still (paused); `read` then tells the
`Assignment`, seeks to what it wants and lets them flow. A rebalance takes every partition away and gives anew: in between
another member may have had it.

Concurrency: one `read` at a time, on the event loop of the log.
Death: a silent member's partitions move after `Settings.group_session_s`; a stopped one's at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
)

from .kafka_client import complaints
from .port import Assignment, LogFault, Record, TopicPartition

logger = structlog.get_logger(__name__)

WAIT_MS = 60_000
"""aiokafka's wait has an end; then it is asked again."""
RETRY_PAUSE_S = 0.2
"""Before a broken client is made anew."""

Fetched = dict[KafkaPartition, list[Any]]


def decode_record(topic: str, partition: int, record: Any) -> Record:
    """What aiokafka gave, as ours."""
    return Record(
        topic,
        partition,
        record.offset,
        (record.key or b"").decode(),
        record.value or b"",
        {name: value.decode() for name, value in record.headers},
    )


class KafkaReader:
    """Implements `port.LogReader` for all partitions of some topics. ``names``: topic on Kafka -> as asked for."""

    def __init__(
        self,
        make: Callable[[], AIOKafkaConsumer],
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
        """Offsets that `seek` asked for, until the record at each arrives: what was fetched before is not wanted."""
        self._consumer: AIOKafkaConsumer | None = None

    async def read(self, max_records: int = 1000) -> list[Record]:
        while True:
            await self._settle()
            try:
                if self._consumer is None:
                    await self._connect()
                fetched = await self._fetch(max_records)
            except (OffsetOutOfRangeError, NoOffsetForPartitionError) as error:
                raise LogFault(
                    f"a position to go on from is not in the log (it was cut, see docs/retention.md?): {error}"
                ) from None
            except (TopicAuthorizationFailedError, GroupAuthorizationFailedError) as error:
                raise LogFault(f"Kafka does not let langlog read: {error}") from None
            except (KafkaError, OSError) as error:
                logger.warning("kafka.reader_failed", error=str(error))
                await self._disconnect()
                await asyncio.sleep(RETRY_PAUSE_S)  # nothing signals that the broker is back
                continue
            records = self._decode(fetched)
            if records:
                complaints.well()
                return records

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        for (topic, number), offset in positions.items():
            partition = KafkaPartition(self._stored.get(topic, ""), number)
            if partition not in self._next:
                continue
            self._next[partition] = self._sought[partition] = offset
            if self._consumer is not None:
                # not ours at this moment: whoever gets it next is told where to begin
                with contextlib.suppress(IllegalStateError):
                    self._consumer.seek(partition, offset)

    async def stop(self) -> None:
        await self._disconnect()

    async def _settle(self) -> None:
        """Before each fetch."""

    async def _connect(self) -> None:
        consumer = self._make()
        try:
            await consumer.start()
            consumer.assign(list(self._next))
            self._sought.clear()
            self._next = await _from_the_beginning(consumer, self._next)
            for partition, offset in self._next.items():
                consumer.seek(partition, offset)
        except BaseException:
            await _stop(consumer)
            raise
        self._consumer = consumer

    async def _disconnect(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await _stop(consumer)

    async def _fetch(self, max_records: int) -> Fetched:
        assert self._consumer is not None
        fetched: Fetched = await self._consumer.getmany(timeout_ms=WAIT_MS, max_records=max_records)
        return fetched

    def _decode(self, fetched: Fetched) -> list[Record]:
        records: list[Record] = []
        for partition, found in fetched.items():
            if partition not in self._next or not found:
                continue
            if partition in self._sought:
                if found[0].offset != self._sought[partition]:
                    continue
                del self._sought[partition]
            topic, number = self._names[partition.topic], partition.partition
            records += [decode_record(topic, number, record) for record in found]
            self._next[partition] = found[-1].offset + 1
        return records


class KafkaMember(KafkaReader):
    """Implements `port.LogReader` for the partitions that the group gives."""

    def __init__(
        self,
        make: Callable[[], AIOKafkaConsumer],
        group: str,
        names: Mapping[str, str],
        partitions: int,
        assignment: Assignment,
    ) -> None:
        super().__init__(make, names, partitions, {})
        self.group = group
        self._assignment = assignment
        self._next = {}
        self._owned: set[KafkaPartition] = set()
        self._given: set[KafkaPartition] | None = None
        """What the last rebalance gave, not yet told; None when there is nothing to tell."""
        self._changed: asyncio.Future[None] | None = None
        self._fetching: asyncio.Task[Fetched] | None = None

    @property
    def joined(self) -> bool:
        return self._consumer is not None

    async def commit(self, positions: Mapping[TopicPartition, int]) -> Collection[TopicPartition]:
        """Which of them are ours and were taken by Kafka."""
        consumer = self._consumer
        if consumer is None:
            return ()
        owned = {
            lane: KafkaPartition(self._stored[lane[0]], lane[1])
            for lane in positions
            if lane[0] in self._stored and KafkaPartition(self._stored[lane[0]], lane[1]) in self._owned
        }
        if not owned:
            return ()
        try:
            await consumer.commit({partition: positions[lane] for lane, partition in owned.items()})
        except (KafkaError, IllegalStateError):
            return ()
        return owned.keys()

    async def _connect(self) -> None:
        consumer = self._make()
        try:
            await consumer.start()
            consumer.subscribe(list(self._names), listener=_Listener(self, consumer))
        except BaseException:
            await _stop(consumer)
            raise
        self._consumer = consumer

    async def _disconnect(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            with contextlib.suppress(asyncio.CancelledError, KafkaError):
                await self._fetching
            self._fetching = None
        await super()._disconnect()
        # told at the next read, if there is one
        self._given = set()

    def note(self, consumer: AIOKafkaConsumer, given: Collection[KafkaPartition]) -> None:
        """From the listener: this is all that we have now."""
        if self._consumer is not None and consumer is not self._consumer:
            return
        self._given = set(given)
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    async def _fetch(self, max_records: int) -> Fetched:
        assert self._consumer is not None
        if self._given is not None:
            return {}
        if self._fetching is None:
            fetched: Fetched = await self._consumer.getmany(max_records=max_records)
            if fetched:
                return self._still_owned(fetched)
            self._fetching = asyncio.create_task(self._consumer.getmany(timeout_ms=WAIT_MS, max_records=max_records))
        if self._given is None:
            self._changed = asyncio.get_running_loop().create_future()
            waiting: set[asyncio.Future[Any]] = {self._fetching, self._changed}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            self._changed = None
        if not self._fetching.done():
            return {}
        done, self._fetching = self._fetching, None
        return self._still_owned(done.result())

    def _still_owned(self, fetched: Fetched) -> Fetched:
        if self._given is None:
            return fetched
        # a rebalance came in between: what it took away is somebody else's, and what stays is read again from where
        # the assignment says
        return {}

    async def _settle(self) -> None:
        """Revoke, assign, and let the new ones flow; again if things changed meanwhile, or if it was interrupted."""
        while self._given is not None and self._consumer is not None:
            given, self._given = self._given, None
            try:
                await self._tell(self._consumer, given)
            except BaseException:
                if not self._changed_again():
                    self._given = given
                raise

    async def _tell(self, consumer: AIOKafkaConsumer, given: set[KafkaPartition]) -> None:
        if self._owned:
            gone = [self._lane(partition) for partition in sorted(self._owned)]
            self._owned = set()
            self._next = {}
            self._sought.clear()
            await self._assignment.revoked(gone)
        if not given:
            return
        lanes = {self._lane(partition): partition for partition in sorted(given)}
        start = await self._assignment.assigned(list(lanes))
        self._owned = given
        wanted = {partition: start.get(lane, 0) for lane, partition in lanes.items()}
        while True:
            try:
                self._next = await _from_the_beginning(consumer, wanted)
                break
            except KafkaError as error:
                logger.warning("kafka.reader_failed", error=str(error))
                await asyncio.sleep(RETRY_PAUSE_S)  # nothing signals that the broker is back
        if self._changed_again():
            return
        # when they are taken away this moment, the listener will say so
        with contextlib.suppress(IllegalStateError):
            for partition, offset in self._next.items():
                consumer.seek(partition, offset)
            consumer.resume(*self._next)

    def _changed_again(self) -> bool:
        return self._given is not None

    def _lane(self, partition: KafkaPartition) -> TopicPartition:
        return self._names[partition.topic], partition.partition


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, member: KafkaMember, consumer: AIOKafkaConsumer) -> None:
        self._member = member
        self._consumer = consumer

    def on_partitions_revoked(self, revoked: Collection[KafkaPartition]) -> None:
        self._member.note(self._consumer, ())

    def on_partitions_assigned(self, assigned: Collection[KafkaPartition]) -> None:
        for partition in assigned:
            # a position, so that aiokafka looks for none by itself
            self._consumer.seek(partition, 0)
        if assigned:
            self._consumer.pause(*assigned)
        self._member.note(self._consumer, assigned)


async def _from_the_beginning(
    consumer: AIOKafkaConsumer, wanted: Mapping[KafkaPartition, int]
) -> dict[KafkaPartition, int]:
    """Positions, 0 being where the partition begins now that it may have been cut. Raises KafkaError."""
    first = [partition for partition, offset in wanted.items() if offset == 0]
    begins = await consumer.beginning_offsets(first) if first else {}
    return {partition: begins.get(partition, offset) for partition, offset in wanted.items()}


async def _stop(consumer: AIOKafkaConsumer) -> None:
    try:
        await consumer.stop()
    except (KafkaError, OSError) as error:
        logger.debug("kafka.stop_failed", error=str(error))
