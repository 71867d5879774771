"""Queries for offsets on Kafka: a broker that has vanished closes no connection, and aiokafka waits for it longer than a query may take."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import TopicPartition as KafkaPartition
from langlog_backbone.log import LogUnavailable
from langlog_backbone.log.kafka.offsets import OffsetQueries

from tests.stack.sources import in_virtual_time


class Consumer:
    """One whose broker may be gone."""

    def __init__(self, *, gone: bool) -> None:
        self._gone = gone
        self.stopped = asyncio.Event()

    async def start(self) -> None:
        await asyncio.sleep(0)

    async def end_offsets(self, partitions: Sequence[KafkaPartition]) -> dict[KafkaPartition, int]:
        if self._gone:
            await asyncio.Event().wait()
        return dict.fromkeys(partitions, 7)

    async def stop(self) -> None:
        self.stopped.set()


@in_virtual_time
async def test_after_a_query_without_an_answer_the_next_one_goes_out_on_another_connection() -> None:
    made = [Consumer(gone=True), Consumer(gone=False)]
    left: list[Any] = list(made)
    queries = OffsetQueries(lambda: left.pop(0), partitions=2)
    with pytest.raises(LogUnavailable):
        await queries.end("topic")
    assert await queries.end("topic") == [7, 7]
    await made[0].stopped.wait()
    assert await queries.end("topic") == [7, 7]
    assert not left
    await queries.stop()
    assert made[1].stopped.is_set()
