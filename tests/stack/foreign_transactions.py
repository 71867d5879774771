"""Transactions of other producers on Kafka. Each ends in a mark of the broker, which takes an offset and is no record of anyone."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer

MARK = 1
"""Number of offsets that the end of a transaction takes in each partition."""


async def transaction(
    bootstrap: str,
    topic: str,
    partition: int,
    values: Sequence[bytes],
    *,
    commits: bool = True,
    key: bytes = b"foreign",
) -> int:
    """Append records in a transaction, and commit or abort it. Return the offset of its mark, which is there then."""
    name = f"foreign-{uuid.uuid4()}"
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=name) as producer:
        await producer.begin_transaction()
        placed = [await producer.send_and_wait(topic, value, key, partition) for value in values]
        await (producer.commit_transaction() if commits else producer.abort_transaction())
    # the broker answers before it has written the mark, and lets nobody begin under the same name until it has
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=name):
        pass
    return int(placed[-1].offset) + MARK
