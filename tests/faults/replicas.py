"""The brokers that hold each partition in full, as brokers themselves say: waited for around faults of a cluster."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError, RequestTimedOutError
from langlog_backbone.log.kafka.kafka_log import TOPICS

from tests.faults.rig import Rig
from tests.outage.eventually import eventually

InSync = Callable[[], Awaitable[list[set[str]]]]
"""Returns the brokers in sync of each partition, or nothing where the broker that is asked cannot be reached. Which broker says so is
chance, and one that hears no other says what it knew."""


@contextlib.asynccontextmanager
async def in_sync(rig: Rig) -> AsyncIterator[InSync]:
    prefix = rig.cluster.processes["decider"].env["LANGLOG_TOPIC_PREFIX"]
    bootstrap = ",".join(broker.bootstrap for broker in rig.brokers.values())
    names = dict(enumerate(rig.brokers, 1))
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()

    async def look() -> list[set[str]]:
        try:
            described = await admin.describe_topics([prefix + topic for topic in TOPICS])
        except (KafkaConnectionError, NodeNotReadyError, RequestTimedOutError):
            return []
        return [{names[node] for node in partition["isr"]} for topic in described for partition in topic["partitions"]]

    try:
        yield look
    finally:
        await admin.close()


async def replicated(rig: Rig) -> None:
    """Returns when each partition is whole on all brokers."""
    async with in_sync(rig) as look:

        async def whole() -> bool:
            partitions = await look()
            return bool(partitions) and all(held_by == set(rig.brokers) for held_by in partitions)

        await eventually(whole)


async def left_out(look: InSync, brokers: Collection[str]) -> None:
    """Returns when a broker is in sync with no partition; of two, when they are not both in sync with each partition."""

    async def gone() -> bool:
        missing = [not held_by.issuperset(brokers) for held_by in await look()]
        return bool(missing) and (all(missing) if len(brokers) == 1 else any(missing))

    await eventually(gone)
