"""Langlog in processes of its own, so that gateways can be restarted and Redis wiped under open streams."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from tests.loss.cluster import Cluster, running_cluster
from tests.streams.reading import Client

PROJECT = Path(__file__).parent / "project" / "langgraph.json"
BUFFER_FRAMES = 500


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    env = {
        "LANGLOG_PROJECT": str(PROJECT),
        "LANGLOG_STREAM_BUFFER_FRAMES": str(BUFFER_FRAMES),
        "LANGLOG_LEASE_SECS": "15",
    }
    async with running_cluster(tmp_path_factory.mktemp("streams"), env) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def http(cluster: Cluster) -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=180)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(cluster.url, timeout=timeout, connector=connector) as session:
        yield session


@pytest.fixture
def client(http: aiohttp.ClientSession) -> Client:
    return Client(http, str(uuid.uuid4()))
