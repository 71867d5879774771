"""Positions of consumer groups: read for any group, committed for a group without members.

One client of its own serves all queries of the process. One whose query got no answer is replaced, for the reason that `offsets` gives:
otherwise a coordinator that has vanished would take every further query, also once another broker coordinates the group.

Concurrency: belongs to the event loop of its log; queries share the client. Death: nothing has to be given back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import BrokerResponseError, KafkaError

from ..port import LogUnavailable, Positions, TopicPartition
from .offsets import QUERY_TIMEOUT_S
from .reader import STOP_TIMEOUT_S, stop_client

logger = structlog.get_logger(__name__)

T = TypeVar("T")

GROUPS_AT_ONCE = 16
"""Maximum number of groups whose positions are queried at the same time."""
ANSWER_S = 3.0
"""Seconds for the positions of one group, after which another connection is tried."""
RETRY_PAUSE_S = 0.1


class GroupPositions:
    """``admin``: makes a client that is not started; ``member``: makes a consumer of a group, by its stored name; ``is_open``: whether
    the log is open."""

    def __init__(
        self,
        admin: Callable[[], AIOKafkaAdminClient],
        member: Callable[[str], AIOKafkaConsumer],
        topics: Sequence[str],
        prefix: str,
        is_open: Callable[[], bool],
    ) -> None:
        self._make, self._member, self._topics, self._prefix = admin, member, topics, prefix
        self._is_open = is_open
        self._admin: AIOKafkaAdminClient | None = None
        self._starting = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def commit_alone(self, group: str, positions: Mapping[TopicPartition, int]) -> bool:
        """Commit from outside the group, which Kafka allows while it has no members."""
        known = await self.committed(group, positions)
        offsets = {
            KafkaPartition(self._stored(partition[0]), partition[1]): offset
            for partition, offset in positions.items()
            if offset > known.get(partition, -1)
        }
        if not offsets:
            return True
        consumer = self._member(self._stored(group))
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_S):
                await consumer.start()
                consumer.assign(list(offsets))
                await consumer.commit(offsets)
        except (KafkaError, OSError, TimeoutError):
            return False
        finally:
            await stop_client(consumer)
        return True

    async def committed(self, group: str, partitions: Collection[TopicPartition]) -> Positions:
        wanted = {KafkaPartition(self._stored(topic), p): (topic, p) for topic, p in partitions}
        if not wanted:
            return {}

        async def query(admin: AIOKafkaAdminClient) -> Any:
            async with asyncio.timeout(ANSWER_S):
                return await admin.list_consumer_group_offsets(self._stored(group), partitions=list(wanted))

        offsets = await self._answered(query, QUERY_TIMEOUT_S)
        return {
            wanted[partition]: entry.offset
            for partition, entry in offsets.items()
            if entry.offset >= 0 and partition in wanted
        }

    async def all(self) -> dict[str, Positions]:
        topics = {self._stored(topic): topic for topic in self._topics}
        limit = asyncio.Semaphore(GROUPS_AT_ONCE)

        async def of_group(group: str) -> Positions:
            async def query(admin: AIOKafkaAdminClient) -> Any:
                async with asyncio.timeout(ANSWER_S):
                    return await admin.list_consumer_group_offsets(group)

            async with limit:
                offsets = await self._answered(query, QUERY_TIMEOUT_S)
            return {
                (topics[partition.topic], partition.partition): entry.offset
                for partition, entry in offsets.items()
                if partition.topic in topics and entry.offset >= 0
            }

        async def names(admin: AIOKafkaAdminClient) -> list[str]:
            async with asyncio.timeout(ANSWER_S):
                return [name for name, _ in await admin.list_consumer_groups()]

        groups = await self._answered(names, QUERY_TIMEOUT_S)
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_S):
                by_group = await asyncio.gather(*map(of_group, groups))
        except TimeoutError:
            raise LogUnavailable("Kafka did not answer for the positions of groups: no answer") from None
        named = zip(groups, by_group, strict=True)
        return {group.removeprefix(self._prefix): positions for group, positions in named if positions}

    async def stop(self) -> None:
        if self._admin is not None:
            self._discard(self._admin)
        await asyncio.gather(*self._closing)

    async def _answered(self, query: Callable[[AIOKafkaAdminClient], Awaitable[T]], limit_s: float) -> T:
        """Return the answer to a query, which is repeated while it may succeed. Raises LogUnavailable."""
        failure: Exception | None = None
        try:
            async with asyncio.timeout(limit_s):
                while True:
                    try:
                        return await self._once(query)
                    except KafkaError as error:  # the coordinator moves, or loads what it knows
                        if not error.retriable:
                            raise
                        failure = error
                    except (OSError, TimeoutError) as error:
                        failure = error
                    await asyncio.sleep(RETRY_PAUSE_S)  # nothing signals that there is a coordinator
        except (KafkaError, OSError, TimeoutError) as error:
            reason = str(failure or "") or str(error) or "no answer"
            raise LogUnavailable(f"Kafka did not answer for the positions of groups: {reason}") from None

    async def _once(self, query: Callable[[AIOKafkaAdminClient], Awaitable[T]]) -> T:
        admin = await self._started()
        try:
            return await query(admin)
        except BrokerResponseError:
            raise  # this is an answer
        except BaseException:
            self._discard(admin)
            raise

    async def _started(self) -> AIOKafkaAdminClient:
        async with self._starting:
            if not self._is_open():
                raise LogUnavailable("the log is not open")
            if self._admin is None:
                admin = self._admin = self._make()
                try:
                    async with asyncio.timeout(ANSWER_S):
                        await admin.start()
                except BaseException:
                    self._discard(admin)
                    raise
            return self._admin

    def _discard(self, admin: AIOKafkaAdminClient) -> None:
        """Close the client in the background: the next query must not wait for it."""
        if self._admin is admin:
            self._admin = None
            closing = asyncio.create_task(close_admin(admin), name="kafka-close-admin")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _stored(self, name: str) -> str:
        return self._prefix + name


async def close_admin(admin: AIOKafkaAdminClient) -> None:
    """Close the client in bounded time: aiokafka waits for what a broker that has vanished would still have to take."""
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await admin.close()
    except (KafkaError, OSError, TimeoutError) as error:
        logger.debug("kafka.close_failed", error=str(error))
