"""Processes that must stop: no longer than the step under way needs, whatever is unavailable; their runs continue at
once."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import psutil
import pytest
import pytest_asyncio
from langlog_backbone.embedded.servers import EmbeddedPostgres, EmbeddedRedis
from langlog_schemas import events

from tests.loss.cluster import SERVICES, Cluster, running_cluster
from tests.loss.test_loss import END_LIMIT_S, check, create, until_step
from tests.stack.ends import await_ends
from tests.stack.fixtures import make_broker
from tests.stack.kafka_broker import KafkaBroker
from tests.stack.server import Process, kafka_env

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

LONG_S = 3_600.0
"""Seconds longer than any test: drains, leases and sweeps are made this long to show that nothing waits for them."""
QUEUED = 24
"""Runs beyond the 16 that a worker has at once."""


@pytest.fixture(scope="module", params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def log(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture
def log_env(log: str, request: pytest.FixtureRequest) -> dict[str, str]:
    return kafka_env(request.getfixturevalue("kafka")) if log == "kafka" else {}


class Stoppable(NamedTuple):
    cluster: Cluster
    broker: KafkaBroker | None
    """Broker of its log, if that is on Kafka; used by no other test."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stoppable(log: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stoppable]:
    """A cluster whose servers a test may take away, all of them."""
    folder = tmp_path_factory.mktemp("stoppable")
    async with contextlib.AsyncExitStack() as stack:
        broker = None
        env = {"LANGLOG_DRAIN_SECS": "1", "LANGLOG_STOP_SECS": "6"}
        if log == "kafka":
            broker = make_broker(folder / "kafka")
            stack.push_async_callback(broker.stop)
            await broker.start()
            env |= kafka_env(broker.bootstrap)
        yield Stoppable(await stack.enter_async_context(running_cluster(folder, env)), broker)


def client(cluster: Cluster) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(base_url=cluster.url, timeout=aiohttp.ClientTimeout(total=END_LIMIT_S))


async def ended(process: Process) -> int:
    """Its exit code, once it has ended."""
    return await asyncio.to_thread(process.wait, END_LIMIT_S)


async def test_a_worker_ends_with_the_step_under_way_and_its_runs_go_on_elsewhere(
    log_env: dict[str, str], tmp_path: Path
) -> None:
    """The queue is full, and neither the time for draining nor a lease nor a sweep is waited for: each is longer than the test."""
    long = {
        "LANGLOG_DRAIN_SECS": str(LONG_S),
        "LANGLOG_LEASE_SECS": str(LONG_S),
        "LANGLOG_SWEEP_SECS": str(LONG_S),
    }

    def second(cluster: Cluster) -> None:
        cluster.processes["other"] = cluster.process("other", SERVICES["worker"])

    async with running_cluster(tmp_path, log_env | long, second) as cluster, client(cluster) as http:
        loading = asyncio.gather(
            *(create(http, str(uuid.uuid4()), f"run-{n}", hold=2, hold_seconds=3.0) for n in range(16))
        )
        runs = list(await loading)
        runs += await asyncio.gather(*(create(http, str(uuid.uuid4()), f"queued-{n}") for n in range(QUEUED)))
        worker = cluster.processes["worker"]
        # runs are created, dispatched and claimed while it stops
        more = asyncio.gather(*(create(http, str(uuid.uuid4()), f"late-{n}") for n in range(QUEUED)))
        worker.ask_to_stop()
        assert await ended(worker) == 0
        runs += await more
        witness = cluster.witness
        await witness.until(lambda: all(run.run in witness.finals for run in runs), END_LIMIT_S)
        for run in runs:
            assert [event.TYPE for event in witness.finals[run.run]] == [events.RunSucceeded.TYPE]
            assert cluster.executions(run.label) == [1, 2, 3, 4, 5], "no step is done twice"
        assert {event.crashes for run in runs for event in witness.dispatched[run.run]} == {0}
        assert all(event.reason in ("ready", "drained") for run in runs for event in witness.dispatched[run.run])

        # the other one is told twice, in the middle of a step that does not end
        held = await until_step(http, str(uuid.uuid4()), "held", 2, hold=2, hold_seconds=LONG_S)
        other = cluster.processes["other"]
        children = other.children()
        other.ask_to_stop()
        await asyncio.to_thread(other.wait_for, lambda said: said.get("event") == "stopping")
        other.ask_to_stop(signal.SIGINT)
        assert await ended(other) == 1
        await asyncio.to_thread(await_ends, [child.pid for child in children])
        assert held.run not in witness.finals


@pytest.mark.parametrize("fault", ["killed", "silent"])
async def test_services_end_while_the_servers_are_unavailable(stoppable: Stoppable, fault: str) -> None:
    """They end before the servers come back, with runs in the middle of steps, and go on afterwards."""
    cluster, broker = stoppable
    async with client(cluster) as http:
        labels = [f"{fault}-{n}" for n in range(3)]
        held = {"hold": 2, "hold_seconds": END_LIMIT_S}
        runs = [await until_step(http, str(uuid.uuid4()), label, 2, **held) for label in labels]
        async with unavailable(cluster, broker, silent=fault == "silent"):
            for process in cluster.processes.values():
                process.ask_to_stop()
            await asyncio.gather(*(ended(process) for process in cluster.processes.values()))
        await cluster.start()
        await check(http, cluster, runs)


@contextlib.asynccontextmanager
async def unavailable(cluster: Cluster, broker: KafkaBroker | None, *, silent: bool) -> AsyncIterator[None]:
    """Make all servers unreachable, or accept connections without responses, during the block."""
    servers: list[EmbeddedPostgres | EmbeddedRedis | KafkaBroker] = [cluster.postgres, cluster.redis]
    servers += [] if broker is None else [broker]
    if not silent:
        await asyncio.gather(*(server.child.kill() for server in servers if server.child is not None))
        yield
        await asyncio.gather(*(server.start() for server in servers))
        return
    stopped: list[psutil.Process] = []
    try:
        for parent in [psutil.Process(server.child.pid) for server in servers if server.child is not None]:
            parent.suspend()
            stopped.append(parent)
            for child in parent.children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):  # Postgres' own processes come and go
                    child.suspend()
                    stopped.append(child)
        yield
    finally:
        for process in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
