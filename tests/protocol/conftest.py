"""Langlog in processes of its own with two gateways, so that one may go while the other is there."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
import redis.asyncio as aioredis

from tests.loss.cluster import Cluster, running_cluster
from tests.protocol.following import Thread
from tests.stack.releases import TRANSFORMERS
from tests.stack.server import Process, kafka_env

PROJECT = Path(__file__).parent / "project" / ("langgraph.json" if TRANSFORMERS else "without_transformers.json")
BUFFER_FRAMES = 300
MAX_SUBSCRIPTIONS = 4
MAX_MESSAGE_BYTES = 20_000
LEASES = "langlog:leases"
LIMIT_S = 180.0
"""A stream, whatever else the machine does."""


class Pair:
    """The cluster, and its second gateway."""

    def __init__(self, cluster: Cluster, second: Process, second_url: str) -> None:
        self.cluster = cluster
        self.second = second
        self.second_url = second_url

    async def lose_worker(self) -> None:
        """SIGKILL to the worker and another one started; the dead one's lease is over at once."""
        async with aioredis.from_url(self.cluster._redis_uri) as redis:
            while not (dead := await redis.zrange(LEASES, 0, -1)):
                await asyncio.sleep(0.05)  # after a wipe it is there with the next renewal
            await self.cluster.kill("worker")
            await redis.zadd(LEASES, dict.fromkeys(dead, 0), xx=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Events of a thread are tested on both logs; tests of sockets do not depend on the log."""
    if "log_env" in metafunc.fixturenames:
        both = metafunc.module.__name__.endswith(("test_following", "test_transformers"))
        kinds = ["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)] if both else ["sqlite"]
        metafunc.parametrize("log_env", kinds, indirect=True, scope="package")


@pytest.fixture(scope="package")
def log_env(request: pytest.FixtureRequest) -> dict[str, str]:
    return kafka_env(request.getfixturevalue("kafka")) if request.param == "kafka" else {}


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def pair(log_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    env = {
        **log_env,
        "LANGLOG_PROJECT": str(PROJECT),
        "LANGLOG_STREAM_BUFFER_FRAMES": str(BUFFER_FRAMES),
        "LANGLOG_MAX_SUBSCRIPTIONS": str(MAX_SUBSCRIPTIONS),
        "LANGLOG_MAX_SOCKET_MESSAGE_BYTES": str(MAX_MESSAGE_BYTES),
        "LANGLOG_LEASE_SECS": "15",
    }
    pairs: list[Pair] = []
    folder = tmp_path_factory.mktemp("protocol")
    async with running_cluster(folder, env, lambda found: pairs.append(Pair(found, *found.second_gateway()))):
        yield pairs[0]


@pytest_asyncio.fixture(loop_scope="session")
async def http(pair: Pair) -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=LIMIT_S)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


@pytest.fixture
def thread(http: aiohttp.ClientSession, pair: Pair) -> Thread:
    return Thread(http, pair.cluster.url, str(uuid.uuid4()))
