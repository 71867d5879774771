"""Postgres and Redis misbehave under load: no process ends, and whatever was acknowledged ends exactly once, with the right output."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.history.workload import workload
from tests.loss.cluster import SERVICES, Cluster, running_cluster
from tests.loss.test_loss import END_LIMIT_S, Run, check, create
from tests.outage import faults
from tests.outage.eventually import eventually
from tests.outage.faults import Fault
from tests.stack.server import kafka_env

THREADS = 12
RUNS_PER_THREAD = 2
BUSY = 4
"""Runs that are over when the fault comes: others are under way by then."""

POSTGRES: list[Fault] = [
    faults.restarted,
    faults.terminated,
    faults.read_only,
    faults.full_disk,
    faults.broken_index,
    faults.tables_changed,
    faults.turned_away,
]
REDIS: list[Fault] = [
    faults.out_of_memory,
    faults.demoted,
    faults.cannot_save,
    faults.killed,
    faults.of_another_kind,
]
SILENT: list[Fault] = [faults.terminated, faults.flushed]
"""Faults that are over before every loop has met them."""

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module", params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def log_env(request: pytest.FixtureRequest) -> dict[str, str]:
    return kafka_env(request.getfixturevalue("kafka")) if request.param == "kafka" else {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(log_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path_factory.mktemp("outage"), log_env) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def http(cluster: Cluster) -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=END_LIMIT_S)
    async with aiohttp.ClientSession(base_url=cluster.url, timeout=timeout) as session:
        yield session


async def load(http: aiohttp.ClientSession) -> list[Run]:
    """Runs on threads of their own, each thread's one after the other; all acknowledged."""

    async def one() -> list[Run]:
        thread = str(uuid.uuid4())
        return [await create(http, thread, f"{thread}-{n}") for n in range(RUNS_PER_THREAD)]

    return [run for runs in await asyncio.gather(*(one() for _ in range(THREADS))) for run in runs]


def broker_log(cluster: Cluster, dependency: str) -> int:
    """Return how often a loop of any process has logged that the server is unavailable."""

    def wanted(event: dict[str, Any]) -> bool:
        return event.get("event") == "dependency.unavailable" and event.get("dependency") == dependency

    return sum(process.count(wanted) for process in cluster.processes.values())


def deaths(cluster: Cluster) -> dict[str, int]:
    """Processes that have ended, and children of theirs that had to be started again."""
    ended = {name: 1 for name in SERVICES if not cluster.processes[name].alive}
    died = {
        name: count
        for name in SERVICES
        if (count := cluster.processes[name].count(lambda event: event.get("event") == "worker.died"))
    }
    return ended | died


@pytest.mark.parametrize("fault", [*POSTGRES, *REDIS, faults.flushed], ids=lambda fault: fault.__name__)
async def test_an_outage_under_load_loses_nothing_and_ends_nothing(
    cluster: Cluster, http: aiohttp.ClientSession, fault: Fault
) -> None:
    witness = cluster.witness
    dependency = "postgres" if fault in POSTGRES else "redis"
    before, said = len(witness.finals), broker_log(cluster, dependency)

    async def met() -> bool:
        return broker_log(cluster, dependency) > said

    async with workload([cluster.url]) as clients:
        async with clients.going():
            loading = asyncio.create_task(load(http))
            await witness.until(lambda: len(witness.finals) >= before + BUSY)
            async with fault(cluster):
                more = asyncio.create_task(load(http))
                if fault not in SILENT:
                    await eventually(met)
            runs = [*await loading, *await more]
        clients.check()
    await check(http, cluster, runs)
    assert deaths(cluster) == {}
    await asyncio.to_thread(cluster.verify)
