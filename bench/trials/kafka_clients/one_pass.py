"""One pass of one client in a process of its own: prints its figures as one line of JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
import uuid
from typing import NamedTuple

import psutil
import uvloop

from bench.trials.kafka_clients.clients import Aiokafka, Client

HEADERS = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"17-204-1"),
    ("ce_type", b"run.started.v1"),
    ("ce_source", b"/langlog/worker"),
    ("ce_time", b"2026-11-30T11:00:00.000000Z"),
    ("ce_subject", b"0193c4d2-4a8e-7c1e-9d1f-5a0c5b2d7e11"),
    ("ce_attempt", b"1"),
    ("content-type", b"application/json"),
]
VALUE_BYTES = 600
WARM_UP = 400
CALLERS = 32
TOGETHER = 4
"""Records of one append, as of a decision with several events."""


class Spent(NamedTuple):
    """CPU seconds."""

    client: float
    broker: float


def client_of(name: str) -> Client:
    """Return a client by name. Raises ModuleNotFoundError if confluent-kafka is not installed."""
    if name == "aiokafka":
        return Aiokafka()
    from bench.trials.kafka_clients.librdkafka import ConfluentAsyncio, ConfluentThreads

    return ConfluentAsyncio() if name == "confluent-asyncio" else ConfluentThreads()


class Load:
    """Appends records and waits for each of them twice: for its acknowledgement, and for its arrival at the consumer."""

    def __init__(self, client: Client, partitions: int, broker: psutil.Process) -> None:
        self._client = client
        self._partitions = partitions
        self._broker = broker
        self._expected: dict[bytes, asyncio.Future[float]] = {}
        self._number = 0

    async def follow(self) -> None:
        """Read until cancelled."""
        while True:
            for value in await self._client.read():
                arrival = self._expected.pop(value[:36], None)
                if arrival is not None and not arrival.done():
                    arrival.set_result(time.perf_counter())

    async def one(self, acknowledged: list[float], arrived: list[float]) -> None:
        key = str(uuid.uuid4()).encode()
        self._number += 1
        arrival = self._expected[key] = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        value = key + os.urandom(VALUE_BYTES - len(key))
        await self._client.append(self._number * 7 % self._partitions, [value], HEADERS)
        acknowledged.append(time.perf_counter() - began)
        arrived.append(await arrival - began)

    def _spent(self) -> Spent:
        own, broker = os.times(), self._broker.cpu_times()
        return Spent(own.user + own.system, broker.user + broker.system)

    async def measure(self, count: int, callers: int) -> dict[str, float]:
        """Return milliseconds, and milliseconds of CPU for each record, of ``count`` records from callers in closed loops."""
        acknowledged: list[float] = []
        arrived: list[float] = []

        async def caller() -> None:
            for _ in range(count // callers):
                await self.one(acknowledged, arrived)

        before, began = self._spent(), time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(callers)))
        took, after = time.perf_counter() - began, self._spent()
        done = len(arrived)
        return {
            "rate": done / took,
            "ack_p50": statistics.median(acknowledged) * 1000,
            "arrival_p50": statistics.median(arrived) * 1000,
            "arrival_p99": sorted(arrived)[int(done * 0.99)] * 1000,
            "client_cpu": (after.client - before.client) * 1000 / done,
            "broker_cpu": (after.broker - before.broker) * 1000 / done,
        }


async def loads(args: argparse.Namespace) -> dict[str, object]:
    client = client_of(args.client)
    await client.start(args.bootstrap, args.topic, args.partitions)
    load = Load(client, args.partitions, psutil.Process(args.broker))
    following = asyncio.create_task(load.follow())
    await load.measure(WARM_UP, 8)
    figures: dict[str, object] = {
        "alone": await load.measure(args.alone, 1),
        "together": await load.measure(args.together, CALLERS),
        "load": os.getloadavg()[0],
    }
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await client.stop()
    return figures


async def batches(args: argparse.Namespace) -> dict[str, object]:
    """Append several records at a time, one append after the other."""
    client = client_of(args.client)
    await client.start(args.bootstrap, args.topic, args.partitions)
    for _ in range(args.alone):
        await client.append(0, [str(uuid.uuid4()).encode() + os.urandom(300) for _ in range(TOGETHER)], HEADERS)
    await client.stop()
    return {"appends": args.alone}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["loads", "batches"])
    parser.add_argument("client")
    parser.add_argument("bootstrap")
    parser.add_argument("topic")
    parser.add_argument("--partitions", type=int, default=1)
    parser.add_argument("--broker", type=int, default=0, help="its process id")
    parser.add_argument("--alone", type=int, default=300)
    parser.add_argument("--together", type=int, default=3200)
    args = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(loads(args) if args.kind == "loads" else batches(args))), flush=True)


if __name__ == "__main__":
    main()
