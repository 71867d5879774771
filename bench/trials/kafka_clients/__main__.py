"""``python -m bench.trials.kafka_clients``: the same work through both Kafka clients, against a broker of its own.

Needs `pip install confluent-kafka`. ``loads``: a record appended with ``acks=all`` and its arrival at a consumer that is assigned all
partitions of the topic, alone and with 32 in flight; each pass is a process of its own, passes of the clients come in turns, figures are
medians of the passes. ``batches``: whether records that are appended together stand in one batch of the partition. ``groups``: time
until a first member has all partitions, until a second one has half, and until that one has all after the first was killed or has left.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench.trials.kafka_clients.member import HEARTBEAT_S, SESSION_S
from bench.trials.kafka_clients.one_pass import TOGETHER
from tests.stack.kafka_broker import KafkaBroker

CLIENTS = ("aiokafka", "confluent-asyncio", "confluent-threads")
GROUPS = (("aiokafka", "classic"), ("confluent-asyncio", "classic"), ("confluent-asyncio", "consumer"))
BROKER = {
    "group.consumer.session.timeout.ms": str(int(SESSION_S * 1000)),
    "group.consumer.min.session.timeout.ms": "500",
    "group.consumer.heartbeat.interval.ms": str(int(HEARTBEAT_S * 1000)),
    "group.consumer.min.heartbeat.interval.ms": "100",
}
"""The broker's settings of KIP-848, where it sets what members set in the classic protocol."""
FIGURES = ("rate", "ack_p50", "arrival_p50", "arrival_p99", "client_cpu", "broker_cpu")
PASS_LIMIT_S = 120
PARTITIONS_OF_GROUP = 32
_BATCH = struct.Struct(">qi")
_LAST_DELTA = struct.Struct(">i")
_HEAD_BYTES = 12


async def make_topic(bootstrap: str, partitions: int) -> str:
    """Create a topic of that many partitions, and return its name."""
    topic = f"trial-{partitions}-{uuid.uuid4().hex[:8]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, partitions, 1)])
    finally:
        await admin.close()
    return topic


async def child(module: str, *words: object) -> dict[str, Any]:
    """Run one process to its end and return the figures of its last line."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"bench.trials.kafka_clients.{module}", *map(str, words), stdout=subprocess.PIPE
    )
    async with asyncio.timeout(PASS_LIMIT_S):
        output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{words} ended with {process.returncode}")
    figures: dict[str, Any] = json.loads(output.splitlines()[-1])
    return figures


async def loads(args: argparse.Namespace, broker: KafkaBroker) -> None:
    assert broker.child is not None
    for partitions in args.partitions:
        passes: dict[str, list[dict[str, Any]]] = {client: [] for client in args.clients}
        for turn in range(args.turns):
            for client in args.clients if turn % 2 else args.clients[::-1]:
                topic = await make_topic(broker.bootstrap, partitions)
                words = (
                    "--partitions",
                    partitions,
                    "--broker",
                    broker.child.pid,
                    "--together",
                    args.together,
                    "--alone",
                    args.alone,
                )
                passes[client].append(await child("one_pass", "loads", client, broker.bootstrap, topic, *words))
        for kind in ("alone", "together"):
            for client, each in passes.items():
                middle = {name: statistics.median(one[kind][name] for one in each) for name in FIGURES}
                total = sorted(one[kind]["client_cpu"] + one[kind]["broker_cpu"] for one in each)
                print(
                    f"{partitions:4} partitions, {kind:8} {client:18} {middle['rate']:6.0f}/s  ack p50 {middle['ack_p50']:6.2f} ms  "
                    f"arrival p50 {middle['arrival_p50']:6.2f} p99 {middle['arrival_p99']:6.2f} ms  "
                    f"CPU client {middle['client_cpu']:.3f} broker {middle['broker_cpu']:.3f} ms  both {total[0]:.3f} to {total[-1]:.3f}  "
                    f"load {min(one['load'] for one in each):.1f} to {max(one['load'] for one in each):.1f}",
                    flush=True,
                )


def stored_batches(folder: Path) -> Iterator[tuple[int, int]]:
    """Yield first and last offset of each batch in a partition's segments. Source: Kafka's record batch, magic 2 (KIP-98)."""
    for segment in sorted(folder.glob("*.log")):
        data, at = segment.read_bytes(), 0
        while at + _HEAD_BYTES < len(data):
            first, length = _BATCH.unpack_from(data, at)
            (delta,) = _LAST_DELTA.unpack_from(data, at + _HEAD_BYTES + 4 + 1 + 4 + 2)
            yield first, first + delta
            at += _HEAD_BYTES + length


async def batches(args: argparse.Namespace, broker: KafkaBroker, data: Path) -> None:
    for client in args.clients:
        topic = await make_topic(broker.bootstrap, 1)
        words = ("--alone", args.appends)
        await child("one_pass", "batches", client, broker.bootstrap, topic, *words)
        parts = list(stored_batches(data / f"{topic}-0"))
        records = parts[-1][1] + 1
        divided = {first // TOGETHER for first, _ in parts if first % TOGETHER}
        print(
            f"{client:18} {records} records of {args.appends} appends in {len(parts)} batches; appends divided among batches: {len(divided)}",
            flush=True,
        )


class Member:
    """A member in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, *words: object) -> Member:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.trials.kafka_clients.member", *map(str, words)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return cls(process)

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> float:
        """Return the time of the first line from now on that fulfils the condition."""
        assert self._process.stdout is not None
        async with asyncio.timeout(PASS_LIMIT_S):
            while line := await self._process.stdout.readline():
                figures: dict[str, Any] = json.loads(line)
                if wanted(figures):
                    return float(figures["at"])
        raise RuntimeError("the member has ended")

    async def kill(self) -> float:
        self._process.kill()
        killed = time.monotonic()
        await self._process.wait()
        return killed

    async def leave(self) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        left = await self.until(lambda line: "leaves" in line)
        await self._process.wait()
        return left

    async def end(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


def owns(count: int) -> Callable[[dict[str, Any]], bool]:
    return lambda line: line.get("owned") == count


async def one_group(client: str, protocol: str, bootstrap: str, *, kill: bool) -> dict[str, float]:
    """Return the seconds until a member alone has all, until a second has half, and until that has all again."""
    topic, group = await make_topic(bootstrap, PARTITIONS_OF_GROUP), uuid.uuid4().hex
    words = (client, protocol, bootstrap, topic, group)
    first, second = await Member.start(*words), None
    try:
        began = await first.until(lambda line: "begins" in line)
        joined = await first.until(owns(PARTITIONS_OF_GROUP)) - began
        second = await Member.start(*words)
        began = await second.until(lambda line: "begins" in line)
        shared = await second.until(owns(PARTITIONS_OF_GROUP // 2)) - began
        ended = await (first.kill() if kill else first.leave())
        taken = await second.until(owns(PARTITIONS_OF_GROUP)) - ended
    finally:
        for member in (first, second):
            if member is not None:
                await member.end()
    return {"first joined": joined, "second has half": shared, "after kill -9" if kill else "after leaving": taken}


async def groups(args: argparse.Namespace, broker: KafkaBroker) -> None:
    seen: dict[tuple[str, str], dict[str, list[float]]] = {each: {} for each in GROUPS}
    for turn in range(args.turns):
        for client, protocol in GROUPS if turn % 2 else GROUPS[::-1]:
            for kill in (True, False):
                for name, seconds in (await one_group(client, protocol, broker.bootstrap, kill=kill)).items():
                    seen[client, protocol].setdefault(name, []).append(seconds)
    for (client, protocol), each in seen.items():
        words = ", ".join(
            f"{name} {statistics.median(s):.2f} s ({min(s):.2f} to {max(s):.2f})" for name, s in each.items()
        )
        print(f"{client:18} group.protocol={protocol:8} {words}  load {os.getloadavg()[0]:.1f}", flush=True)


async def measure(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="langlog-kafka-clients-") as folder:
        broker = KafkaBroker(Path(folder), BROKER)
        await broker.start()
        try:
            if "loads" in args.what:
                await loads(args, broker)
            if "batches" in args.what:
                await batches(args, broker, Path(folder) / "data")
            if "groups" in args.what:
                await groups(args, broker)
        finally:
            await broker.stop()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.trials.kafka_clients", description=__doc__)
    parser.add_argument("what", nargs="*", default=["loads", "batches", "groups"])
    parser.add_argument("--clients", nargs="+", choices=CLIENTS, default=list(CLIENTS))
    parser.add_argument("--partitions", nargs="+", type=int, default=[16, 32, 128])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--alone", type=int, default=1000, help="records one after the other")
    parser.add_argument("--together", type=int, default=6400, help="records with 32 in flight")
    parser.add_argument("--appends", type=int, default=500, help="of several records each")
    args = parser.parse_args()
    try:
        import confluent_kafka
    except ModuleNotFoundError:
        parser.error("confluent-kafka is not installed: pip install confluent-kafka")
    print(f"confluent-kafka {confluent_kafka.version()}, librdkafka {confluent_kafka.libversion()[0]}", flush=True)
    asyncio.run(measure(args))
    return 0


if __name__ == "__main__":
    sys.exit(main())
