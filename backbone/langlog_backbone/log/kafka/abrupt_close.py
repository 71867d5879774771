"""Ends aiokafka's clients in bounded time, whatever the broker does: what their own `stop` does not offer.

The one module that reads private members of aiokafka. `tests/packaging/test_private_names.py` lists them, and pyproject.toml bounds
the versions that have them.
"""

from __future__ import annotations

import asyncio
import contextlib

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import LeaveGroupRequest

from .reader import stop_client

logger = structlog.get_logger(__name__)

CLOSE_TIMEOUT_S = 5.0
LEAVE_S = 0.5
"""Seconds for leaving the group regularly. A member that waits for a rebalance cannot: it leaves through another connection."""


async def discard_producer(producer: AIOKafkaProducer) -> None:
    """Close without flushing: aiokafka's own `stop` sends the remaining records, without a time limit.

    Waiting appends fail.
    """
    producer._closed = True
    producer._message_accumulator.fail_all(KafkaError("the producer was discarded"))
    sender = producer._sender.sender_task
    if sender is not None:
        sender.cancel()
    with contextlib.suppress(KafkaError, OSError, TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await producer.client.close()
    if sender is not None:
        await asyncio.wait({sender}, timeout=CLOSE_TIMEOUT_S)
        sender.cancel()


def is_member(consumer: AIOKafkaConsumer) -> bool:
    """Return whether the consumer is a member of the group, as far as it knows."""
    return bool(consumer._coordinator.member_id)


async def leave_group(consumer: AIOKafkaConsumer) -> None:
    """Stop the client, and leave the group at once."""
    stopping = asyncio.create_task(stop_client(consumer))
    await asyncio.wait([stopping], timeout=LEAVE_S)
    if not stopping.done():
        coordinator = consumer._coordinator
        if coordinator.coordinator_id is not None and coordinator.member_id:
            # the broker reads no more requests from the connection that waits for its response to the join
            request = LeaveGroupRequest(coordinator.group_id, coordinator.member_id)
            with contextlib.suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await consumer._client.send(coordinator.coordinator_id, request)
        await asyncio.wait([stopping], timeout=LEAVE_S)
    if not stopping.done():
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)
        logger.warning("kafka.group_not_left", group=consumer._coordinator.group_id)
