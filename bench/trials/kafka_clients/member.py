"""One member of a group in a process of its own: prints a line of JSON with the monotonic clock whenever its partitions change.

A line on its standard input makes it leave the group in order.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from typing import Any

import uvloop

SESSION_S = 6.0
HEARTBEAT_S = 0.25


def report(**figures: object) -> None:
    print(json.dumps({"at": time.monotonic(), **figures}), flush=True)


async def _until_input() -> None:
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def aiokafka(args: argparse.Namespace) -> None:
    from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
    from aiokafka import TopicPartition as KafkaPartition
    from langlog_backbone.log.kafka.client import consumer_options
    from langlog_backbone.process.settings import Settings

    class Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
        async def on_partitions_revoked(self, revoked: list[KafkaPartition]) -> None:
            pass

        async def on_partitions_assigned(self, assigned: list[KafkaPartition]) -> None:
            report(owned=len(assigned))

    options = consumer_options(Settings()) | {
        "group_id": args.group,
        "auto_offset_reset": "earliest",
        "session_timeout_ms": int(SESSION_S * 1000),
        "heartbeat_interval_ms": int(HEARTBEAT_S * 1000),
        "rebalance_timeout_ms": int(SESSION_S * 1000),
    }
    consumer = AIOKafkaConsumer(bootstrap_servers=args.bootstrap, **options)
    report(begins=True)
    consumer.subscribe([args.topic], listener=Listener())
    await consumer.start()

    async def read() -> None:
        while True:
            await consumer.getmany(timeout_ms=1000)

    reading = asyncio.create_task(read())
    await _until_input()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    report(leaves=True)
    await consumer.stop()


async def confluent(args: argparse.Namespace) -> None:
    from confluent_kafka.aio import AIOConsumer

    from bench.trials.kafka_clients.librdkafka import consumer_options

    options = consumer_options(args.bootstrap, args.group) | {"auto.offset.reset": "earliest"}
    if args.protocol == "consumer":
        # session, heartbeats and assignment are the broker's
        options |= {"group.protocol": "consumer", "group.remote.assignor": "range"}
    else:
        options |= {
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": int(SESSION_S * 1000),
            "heartbeat.interval.ms": int(HEARTBEAT_S * 1000),
        }
    owned: set[int] = set()

    async def assigned(consumer: AIOConsumer, partitions: list[Any]) -> None:
        owned.update(each.partition for each in partitions)
        await consumer.incremental_assign(partitions)
        report(owned=len(owned))

    async def revoked(consumer: AIOConsumer, partitions: list[Any]) -> None:
        owned.difference_update(each.partition for each in partitions)
        await consumer.incremental_unassign(partitions)
        report(owned=len(owned))

    consumer = AIOConsumer(options, max_workers=4)
    report(begins=True)
    await consumer.subscribe([args.topic], on_assign=assigned, on_revoke=revoked)

    async def read() -> None:
        while True:
            await consumer.poll(0.2)

    reading = asyncio.create_task(read())
    await _until_input()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    report(leaves=True)
    await consumer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("client", choices=["aiokafka", "confluent-asyncio"])
    parser.add_argument("protocol", choices=["classic", "consumer"])
    parser.add_argument("bootstrap")
    parser.add_argument("topic")
    parser.add_argument("group")
    args = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(aiokafka(args) if args.client == "aiokafka" else confluent(args))


if __name__ == "__main__":
    main()
