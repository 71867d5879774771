"""A member of a group on the Kafka log: reads the partitions that the group assigns to it.

One client is in the group and never fetches; others fetch and are in no group (`split_consumer`). So partitions that stay with the member are read
during a rebalance. The listener of the first only records assignments and revocations; `read` then reports to the `Assignment`, joins
again if it
has released something (`sharing`), and fetches what it owns now.

A member that the group has expelled (it was silent for too long) owns nothing until it is assigned partitions again: another one may have
had them in between.

Concurrency: one `read` at a time, on the event loop of the log.
Death: a silent member's partitions move after `Settings.group_session_s`; a stopped one's at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import IllegalStateError, KafkaError

from ..port import Assignment, TopicPartition
from .abrupt_close import is_member, leave_group
from .reader import RETRY_PAUSE_S, WAIT_MS, KafkaReader, from_the_beginning, stop_client
from .sharing import Assigned, Sharing
from .split_consumer import Fetched, SplitConsumer, end_read

logger = structlog.get_logger(__name__)


class KafkaMember(KafkaReader):
    """Implements `port.LogReader` for the partitions that the group assigns. ``make``: a client without a group;
    ``join``: one in the group, with that assignor."""

    def __init__(
        self,
        make: Callable[[], SplitConsumer],
        join: Callable[[Sharing], AIOKafkaConsumer],
        group: str,
        names: Mapping[str, str],
        partitions: int,
        assignment: Assignment,
    ) -> None:
        super().__init__(make, names, partitions, {})
        self.group = group
        self._join = join
        self._assignment = assignment
        self._next = {}
        self._owned: set[KafkaPartition] = set()
        self._claimed: set[KafkaPartition] = set()
        """Owned partitions, and those that were assigned since and may be owned any moment."""
        self._given: set[KafkaPartition] | None = None
        """The partitions of the last rebalance, not reported yet; None when there is nothing to report."""
        self._lost = False
        """Whether the owned partitions may have been another member's meanwhile."""
        self._sharing = Sharing()
        self._membership: AIOKafkaConsumer | None = None
        self._member_id = ""
        self._changed: asyncio.Future[None] | None = None
        self._fetching: asyncio.Task[Fetched] | None = None
        self._watching: asyncio.Task[Fetched] | None = None
        """A read on the client in the group, which only raises its errors."""

    @property
    def joined(self) -> bool:
        return self._membership is not None

    def alone(self) -> bool:
        return self._sharing.given.members <= 1

    async def commit(self, positions: Mapping[TopicPartition, int]) -> Collection[TopicPartition]:
        """Return those partitions that are owned and whose commit Kafka accepted."""
        membership = self._membership
        if membership is None:
            return ()
        owned = {
            topic_partition: KafkaPartition(self._stored[topic_partition[0]], topic_partition[1])
            for topic_partition in positions
            if topic_partition[0] in self._stored
            and KafkaPartition(self._stored[topic_partition[0]], topic_partition[1]) in self._owned
        }
        if not owned:
            return ()
        try:
            await membership.commit(
                {partition: positions[topic_partition] for topic_partition, partition in owned.items()}
            )
        except (KafkaError, IllegalStateError):
            return ()
        return owned.keys()

    # from the listener

    def note_assigned(self, membership: AIOKafkaConsumer, given: Collection[KafkaPartition]) -> None:
        """Record the complete new assignment."""
        if membership is not self._membership:
            return
        made_for = self._sharing.given.member
        if made_for != self._member_id:
            self._lost = True
            self._member_id = made_for
        if not made_for:
            self._lost = True  # the leader is of an earlier version: whatever stays may have been another's
        self._given = set(given)
        self._claim(self._claimed | self._given)
        self._wake()

    def note_lost(self, membership: AIOKafkaConsumer) -> None:
        """Record that the group has expelled this member."""
        if membership is not self._membership:
            return
        self._lost = True
        self._given = set()
        self._claim(set())
        self._wake()

    def _claim(self, partitions: set[KafkaPartition]) -> None:
        self._claimed = partitions
        self._sharing.owned = {partition.partition for partition in partitions}

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    # reading

    async def _connect(self) -> None:
        self._sharing.given = Assigned()
        membership = self._join(self._sharing)
        try:
            await membership.start()
        except BaseException:
            await stop_client(membership)
            raise
        self._membership = membership
        self._subscribe(membership)

    def _subscribe(self, membership: AIOKafkaConsumer) -> None:
        """Join the group; again: report the partitions that were released."""
        membership.subscribe(list(self._names), listener=_Listener(self, membership))

    async def _connected(self) -> None:
        if self._membership is None:
            await self._connect()

    async def _disconnect(self) -> None:
        for task in (self._fetching, self._watching):
            await end_read(task)
        self._fetching = self._watching = None
        membership, self._membership = self._membership, None
        if membership is not None:
            await leave_group(membership)
        await super()._disconnect()
        # reported at the next read, if there is one
        self._given = set()
        self._lost = True
        self._claim(set())

    async def _fetch(self, max_records: int) -> Fetched:
        assert self._membership is not None
        if self._given is not None:
            return {}
        if self._watching is None:
            self._watching = asyncio.create_task(self._membership.getmany(timeout_ms=WAIT_MS))
        if self._owned and self._fetching is None:
            assert self._consumer is not None
            fetched = await self._consumer.getmany(max_records=max_records)
            if fetched:
                return self._still_owned(fetched)
            self._fetching = asyncio.create_task(self._consumer.getmany(timeout_ms=WAIT_MS, max_records=max_records))
        if self._given is None:
            self._changed = asyncio.get_running_loop().create_future()
            waiting: set[asyncio.Future[Any]] = {self._watching, self._changed}
            if self._fetching is not None:
                waiting.add(self._fetching)
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            self._changed = None
        if self._watching.done():
            watched, self._watching = self._watching, None
            watched.result()
        if self._fetching is None or not self._fetching.done():
            return {}
        done, self._fetching = self._fetching, None
        return self._still_owned(done.result())

    def _still_owned(self, fetched: Fetched) -> Fetched:
        """Return all fetched records, also during a rebalance: until this member releases partitions, no other has them."""
        return {} if self._lost else fetched

    async def _settle(self) -> None:
        """Revoke, assign, and fetch what is owned; again if things changed meanwhile, or if it was interrupted."""
        while self._given is not None:
            given, self._given = self._given, None
            lost, self._lost = self._lost, False
            try:
                await self._notify(given, lost=lost)
            except BaseException:
                if not self._changed_again():
                    self._given = given
                raise

    async def _notify(self, given: set[KafkaPartition], *, lost: bool) -> None:
        gone = set(self._owned) if lost else self._owned - given
        if gone:
            self._owned -= gone
            for partition in gone:
                self._next.pop(partition, None)
                self._sought.pop(partition, None)
            await self._assignment.revoked([self._topic_partition(partition) for partition in sorted(gone)])
        if self._membership is None:
            return
        over = self._claimed - given
        if over and not self._changed_again():
            self._claim(set(given))
            self._subscribe(self._membership)
        fresh = {self._topic_partition(partition): partition for partition in sorted(given - self._owned)}
        start: Mapping[TopicPartition, int] = {}
        if fresh:
            start = await self._assignment.assigned(list(fresh))
        if fresh or gone or (self._owned and self._consumer is None):
            await self._flow({partition: start.get(topic_partition, 0) for topic_partition, partition in fresh.items()})

    async def _flow(self, fresh: Mapping[KafkaPartition, int]) -> None:
        """Fetch the owned partitions and these, from these offsets."""
        await end_read(self._fetching)
        self._fetching = None
        while True:
            try:
                if self._consumer is None:
                    consumer = self._make()
                    try:
                        await consumer.start()
                    except BaseException:
                        await stop_client(consumer)
                        raise
                    self._consumer = consumer
                begin = await from_the_beginning(self._consumer, fresh)
                break
            except (KafkaError, OSError) as error:
                logger.warning("kafka.reader_failed", error=str(error))
                await super()._disconnect()  # it may be the client that cannot go on
                await asyncio.sleep(RETRY_PAUSE_S)  # nothing signals that the broker is back
        self._next |= begin
        self._owned |= fresh.keys()
        await self._consumer.assign(list(self._next))
        for partition, offset in self._next.items():
            self._consumer.seek(partition, offset)

    def _changed_again(self) -> bool:
        return self._given is not None

    def _topic_partition(self, partition: KafkaPartition) -> TopicPartition:
        return self._names[partition.topic], partition.partition


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, member: KafkaMember, membership: AIOKafkaConsumer) -> None:
        self._member = member
        self._membership = membership

    def on_partitions_revoked(self, revoked: Collection[KafkaPartition]) -> None:
        """Called before each join: aiokafka has no other signal that the group has expelled this member."""
        if not is_member(self._membership):
            self._member.note_lost(self._membership)

    def on_partitions_assigned(self, assigned: Collection[KafkaPartition]) -> None:
        for partition in assigned:
            # a position, so that aiokafka does not look up one itself
            self._membership.seek(partition, 0)
        if assigned:
            self._membership.pause(*assigned)
        self._member.note_assigned(self._membership, assigned)
