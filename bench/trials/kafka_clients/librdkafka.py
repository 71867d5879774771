"""confluent-kafka in two ways: its own asyncio clients, and its plain clients with a thread each beside the event loop.

The asyncio clients call the plain ones in a pool of threads. `AIOProducer` refuses headers, which every record of the log has, so it is
measured without; and it serves acknowledgements only when something calls `poll`, so a task does.

Concurrency: a client belongs to the event loop that started it; what its threads find is handed over to that loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from typing import Any

from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.aio import AIOConsumer, AIOProducer

from bench.trials.kafka_clients.clients import READ_RECORDS, Headers

WAIT_S = 1.0


def producer_options(bootstrap: str) -> dict[str, Any]:
    """Return what `langlog_backbone.log.kafka.client.producer_options` asks of aiokafka."""
    return {
        "bootstrap.servers": bootstrap,
        "acks": "all",
        "enable.idempotence": True,
        "linger.ms": 0,
        "socket.nagle.disable": True,
    }


def consumer_options(bootstrap: str, group: str) -> dict[str, Any]:
    """Return what `langlog_backbone.log.kafka.client.consumer_options` asks of aiokafka. A group's name is required."""
    return {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_uncommitted",
        "check.crcs": True,
        "fetch.min.bytes": 1,
        "fetch.wait.max.ms": 500,
        "socket.nagle.disable": True,
    }


def _from_start(topic: str, partitions: int) -> list[TopicPartition]:
    return [TopicPartition(topic, number, 0) for number in range(partitions)]


def _values(messages: Sequence[Message]) -> list[bytes]:
    values: list[bytes] = []
    for message in messages:
        if message.error() is not None:
            raise RuntimeError(str(message.error()))
        value = message.value()
        assert isinstance(value, bytes)
        values.append(value)
    return values


class ConfluentAsyncio:
    """`confluent_kafka.aio`."""

    async def start(self, bootstrap: str, topic: str, partitions: int) -> None:
        self._topic = topic
        self._producer = AIOProducer(producer_options(bootstrap), batch_size=1, buffer_timeout=0)
        self._consumer = AIOConsumer(consumer_options(bootstrap, "unused"), max_workers=2)
        await self._consumer.assign(_from_start(topic, partitions))
        self._polling = asyncio.create_task(self._poll())

    async def _poll(self) -> None:
        while True:
            await self._producer.poll(WAIT_S)

    async def append(self, partition: int, records: Sequence[bytes], headers: Headers) -> None:
        sent = [await self._producer.produce(self._topic, value, value[:36], partition=partition) for value in records]
        for each in sent:
            await each

    async def read(self) -> list[bytes]:
        # `consume` waits for all that it was asked for, or for the time that it was given: `poll` returns with the first
        first = await self._consumer.poll(WAIT_S)
        if first is None:
            return []
        return _values([first, *await self._consumer.consume(READ_RECORDS, 0)])

    async def stop(self) -> None:
        self._polling.cancel()
        await asyncio.gather(self._polling, return_exceptions=True)
        await self._producer.close()
        await self._consumer.close()


class ConfluentThreads:
    """Plain clients: a thread that serves acknowledgements, a thread that reads."""

    async def start(self, bootstrap: str, topic: str, partitions: int) -> None:
        self._topic = topic
        self._loop = asyncio.get_running_loop()
        self._producer = Producer(producer_options(bootstrap))
        self._consumer = Consumer(consumer_options(bootstrap, "unused"))
        self._consumer.assign(_from_start(topic, partitions))
        self._arrived: asyncio.Queue[list[bytes]] = asyncio.Queue()
        self._going = True
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._acknowledge, self._fetch)]
        for thread in self._threads:
            thread.start()

    def _acknowledge(self) -> None:
        while self._going:
            self._producer.poll(WAIT_S)

    def _fetch(self) -> None:
        while self._going:
            first = self._consumer.poll(WAIT_S)
            if first is not None:
                values = _values([first, *self._consumer.consume(READ_RECORDS, 0)])
                self._loop.call_soon_threadsafe(self._arrived.put_nowait, values)

    async def append(self, partition: int, records: Sequence[bytes], headers: Headers) -> None:
        acknowledged: list[asyncio.Future[None]] = []
        for value in records:
            done: asyncio.Future[None] = self._loop.create_future()
            acknowledged.append(done)

            def report(error: object, message: Message, done: asyncio.Future[None] = done) -> None:
                self._loop.call_soon_threadsafe(_settle, done, error)

            self._producer.produce(self._topic, value, value[:36], partition, on_delivery=report, headers=list(headers))
        for each in acknowledged:
            await each

    async def read(self) -> list[bytes]:
        return await self._arrived.get()

    async def stop(self) -> None:
        self._going = False
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        await asyncio.to_thread(self._producer.flush, WAIT_S)
        with contextlib.suppress(RuntimeError):
            await asyncio.to_thread(self._consumer.close)


def _settle(done: asyncio.Future[None], error: object) -> None:
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(RuntimeError(str(error)))
