"""The consumers of docs/how-to/consuming.md, run as they stand there against a broker with real runs."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from langgraph_sdk import get_client
from langlog_schemas import events as ev
from langlog_schemas.consumer import headers_of

from tests.e2e.conftest import PROJECT
from tests.stack.node_package import missing
from tests.stack.server import LiveServer, kafka_env

pytestmark = pytest.mark.kafka

ROOT = Path(__file__).parents[2]
LIMIT_S = 180.0
RUNS = 6


def block(name: str) -> str:
    """The code of the documentation that is called so."""
    text = (ROOT / "docs" / "how-to" / "consuming.md").read_text()
    results = re.search(rf"```\w+ title=\"{re.escape(name)}\"\n(.*?)```", text, re.DOTALL)
    assert results is not None, name
    return results[1]


class Ran(msgspec.Struct):
    bootstrap: str
    prefix: str
    runs: list[str]


@pytest.fixture(scope="module")
def ran(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """A log in which runs have ended, with some of its records in it twice."""
    env = kafka_env(kafka)
    result = Ran(kafka, env["LANGLOG_TOPIC_PREFIX"], [])
    with LiveServer(PROJECT, tmp_path_factory.mktemp("consuming"), env).up() as live:
        asyncio.run(some_runs(live.url, result.runs))
    asyncio.run(write_again(result))
    yield result


async def some_runs(url: str, runs: list[str]) -> None:
    async with get_client(url=url) as client:
        for _ in range(RUNS):
            thread = await client.threads.create()
            run = await client.runs.create(
                thread["thread_id"], "echo", input={"messages": [{"role": "user", "content": "hi"}]}
            )
            await client.runs.join(thread["thread_id"], run["run_id"])
            runs.append(run["run_id"])


async def write_again(ran: Ran) -> None:
    """Append every event of the topic once more, in order, like a former owner that continues for a moment."""
    topic = ran.prefix + ev.RUN_EVENTS
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=ran.bootstrap, enable_auto_commit=False)
    producer = AIOKafkaProducer(bootstrap_servers=ran.bootstrap)
    await consumer.start()
    await producer.start()
    try:
        partitions = list(consumer.assignment())
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning()
        left = {partition for partition in partitions if ends[partition]}
        while left:
            for partition, records in (await consumer.getmany(timeout_ms=1000)).items():
                for record in records:
                    if record.offset < ends[partition]:
                        await producer.send(
                            topic, record.value, record.key, partition=partition.partition, headers=list(record.headers)
                        )
                if records[-1].offset + 1 >= ends[partition]:
                    left.discard(partition)
    finally:
        await producer.stop()
        await consumer.stop()


async def seen_to_the_end(ran: Ran, state: Path) -> None:
    """Wait until the state file shows that all of the topic has been handled."""
    consumer = AIOKafkaConsumer(ran.prefix + ev.RUN_EVENTS, bootstrap_servers=ran.bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        result = await consumer.end_offsets(list(consumer.assignment()))
        ends = {str(partition.partition): end for partition, end in result.items() if end}
    finally:
        await consumer.stop()
    async with asyncio.timeout(LIMIT_S):
        while not state.exists() or msgspec.json.decode(state.read_bytes())["offsets"] != ends:
            await asyncio.sleep(0.05)  # the file has no other signal


async def test_the_python_consumer_tells_each_run_once_also_over_a_restart(ran: Ran, tmp_path: Path) -> None:
    script, state = tmp_path / "follow.py", tmp_path / "state.json"
    script.write_text(block("follow.py"))
    command = [sys.executable, str(script), ran.bootstrap, str(state), ran.prefix]
    printed: list[str] = []
    for _ in range(2):
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        try:
            assert process.stdout is not None
            if not printed:
                async with asyncio.timeout(LIMIT_S):
                    printed += [(await process.stdout.readline()).decode() for _ in range(RUNS)]
            await seen_to_the_end(ran, state)
        finally:
            process.kill()
            rest, _ = await process.communicate()
            printed += rest.decode().splitlines()
    assert sorted(line.split()[0] for line in printed) == sorted(ran.runs)
    assert {line.split()[1] for line in printed} == {"langlog.run.succeeded.v1"}


def test_the_kcat_consumer_tells_each_run_once(ran: Ran, tmp_path: Path) -> None:
    if shutil.which("kcat") is None:
        missing("kcat is not installed")
    script = tmp_path / "ended.sh"
    script.write_text(block("ended.sh"))
    done = subprocess.run(["sh", str(script), ran.bootstrap, ran.prefix], capture_output=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr.decode()
    printed = [line.split("\t") for line in done.stdout.decode(errors="replace").splitlines()]
    assert {type for type, _ in printed} == {"langlog.run.succeeded.v1"}
    bodies: list[dict[str, Any]] = [msgspec.json.decode(body) for _, body in printed]
    assert sorted(body["run_id"] for body in bodies) == sorted(ran.runs)


def test_headers_are_taken_as_kafka_gives_them() -> None:
    assert headers_of((("ce_type", b"langlog.run.succeeded.v1"), ("empty", None))) == {
        "ce_type": "langlog.run.succeeded.v1",
        "empty": "",
    }
