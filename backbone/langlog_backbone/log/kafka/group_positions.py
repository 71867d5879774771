"""Positions of consumer groups: read for any group, committed for a group without members.

Concurrency: belongs to the event loop of its log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from ..port import LogUnavailable, Positions, TopicPartition
from .offsets import QUERY_TIMEOUT_S

GROUPS_AT_ONCE = 16
"""Maximum number of groups whose positions are queried at the same time."""
RETRY_PAUSE_S = 0.1


class GroupPositions:
    """``admin``: the log's client, or None while the log is not open; ``member``: makes a consumer of a group, by its stored name."""

    def __init__(
        self,
        admin: Callable[[], AIOKafkaAdminClient | None],
        member: Callable[[str], AIOKafkaConsumer],
        topics: Sequence[str],
        prefix: str,
    ) -> None:
        self._admin, self._member, self._topics, self._prefix = admin, member, topics, prefix

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
            await consumer.stop()
        return True

    async def committed(self, group: str, partitions: Collection[TopicPartition]) -> Positions:
        wanted = {KafkaPartition(self._stored(topic), p): (topic, p) for topic, p in partitions}
        if not wanted:
            return {}
        failure: Exception | None = None
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_S):
                while True:
                    try:
                        offsets = await self._open_admin().list_consumer_group_offsets(
                            self._stored(group), partitions=list(wanted)
                        )
                    except KafkaError as error:
                        # the coordinator moves, or loads what it knows
                        failure = error
                        await asyncio.sleep(RETRY_PAUSE_S)
                        continue
                    return {
                        wanted[partition]: entry.offset
                        for partition, entry in offsets.items()
                        if entry.offset >= 0 and partition in wanted
                    }
        except (OSError, TimeoutError):
            raise LogUnavailable(
                f"Kafka did not answer for the positions of groups: {failure or 'no answer'}"
            ) from None

    async def all(self) -> dict[str, Positions]:
        topics = {self._stored(topic): topic for topic in self._topics}
        limit = asyncio.Semaphore(GROUPS_AT_ONCE)
        failure: Exception | None = None

        async def offsets_of(admin: AIOKafkaAdminClient, group: str) -> Any:
            nonlocal failure
            while True:
                try:
                    return await admin.list_consumer_group_offsets(group)
                except KafkaError as error:
                    if not error.retriable:
                        raise
                    failure = error  # as above
                    await asyncio.sleep(RETRY_PAUSE_S)  # nothing signals that the coordinator has moved

        async def of_group(admin: AIOKafkaAdminClient, group: str) -> Positions:
            async with limit:
                offsets = await offsets_of(admin, group)
            return {
                (topics[partition.topic], partition.partition): entry.offset
                for partition, entry in offsets.items()
                if partition.topic in topics and entry.offset >= 0
            }

        admin = self._open_admin()
        try:
            async with asyncio.timeout(2 * QUERY_TIMEOUT_S):
                groups = [name for name, _ in await admin.list_consumer_groups()]
                by_group = await asyncio.gather(*(of_group(admin, group) for group in groups))
        except (KafkaError, OSError, TimeoutError) as error:
            raise LogUnavailable(
                f"Kafka did not answer for the positions of groups: {failure or error or 'no answer'}"
            ) from None
        named = zip(groups, by_group, strict=True)
        return {group.removeprefix(self._prefix): positions for group, positions in named if positions}

    def _open_admin(self) -> AIOKafkaAdminClient:
        admin = self._admin()
        if admin is None:
            raise LogUnavailable("the log is not open")
        return admin

    def _stored(self, name: str) -> str:
        return self._prefix + name
