"""One server per log for all regressions: two slots in one worker process, few database connections.

It has Postgres and Redis of its own that the tests look into, and a folder in which its graphs leave notes and look for gates.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langlog_backbone.embedded.servers import EmbeddedPostgres, EmbeddedRedis
from redis import Redis

from tests.stack.server import LiveServer, kafka_env

PROJECT = Path(__file__).parent / "project" / "langgraph.json"
SLOTS = 2
CONNECTIONS = 2
"""Postgres connections of each process."""
LIMIT_S = 120.0
LOOK_S = 0.05
LEASES = "langlog:leases"


class Server:
    """The server under test, its gates and its database."""

    def __init__(self, live: LiveServer, gates: Path, database_uri: str, redis_uri: str) -> None:
        self.live = live
        self.url = live.url
        self.database_uri = database_uri
        self._gates = gates
        self._redis_uri = redis_uri
        self._dead: set[bytes] = set()

    async def entered(self, gate: str, times: int = 1) -> None:
        """Returns once the node behind the gate has been executed that often."""
        async with asyncio.timeout(LIMIT_S):
            while self.executions(gate) < times:
                await asyncio.sleep(LOOK_S)  # the node is in another process, which tells only by the file

    def executions(self, gate: str) -> int:
        file = self._gates / f"{gate}.entered"
        return len(file.read_text()) if file.exists() else 0

    def open(self, gate: str) -> None:
        (self._gates / gate).touch()

    def kill_worker(self) -> None:
        """SIGKILL to the process that runs graphs; its parent starts another one. Until `end_leases` it may be alive."""
        with Redis.from_url(self._redis_uri) as redis:
            self._dead |= set(redis.zrange(LEASES, 0, -1))  # type: ignore[arg-type]
        for worker in self.live.workers():
            worker.kill()

    def end_leases(self) -> None:
        """Expire the leases of killed workers."""
        with Redis.from_url(self._redis_uri) as redis:
            redis.zadd(LEASES, dict.fromkeys(self._dead, 0), xx=True)
        self._dead.clear()


@pytest.fixture(scope="package", params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp(f"regressions-{request.param}")
    gates = folder / "gates"
    gates.mkdir()
    own, redis = EmbeddedPostgres(folder), EmbeddedRedis(folder)
    with asyncio.Runner() as runner:
        runner.run(own.start())
        runner.run(redis.start())
        env = {
            "DATABASE_URI": own.uri,
            "REDIS_URI": redis.uri,
            "LANGGRAPH_POSTGRES_POOL_MAX_SIZE": str(CONNECTIONS),
            "N_JOBS_PER_WORKER": str(SLOTS),
            "LANGLOG_LEASE_SECS": "30",
            "LANGLOG_SWEEP_SECS": "1",
            "LANGLOG_TEST_GATES": str(gates),
        }
        if request.param == "kafka":
            env |= kafka_env(request.getfixturevalue("kafka"))
        with LiveServer(PROJECT, folder, env).up() as live:
            yield Server(live, gates, own.uri, redis.uri)
        runner.run(redis.stop())
        runner.run(own.stop())


@pytest.fixture
async def client(server: Server) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=server.url) as opened:
        yield opened


@pytest.fixture
async def thread(client: LangGraphClient) -> str:
    made: Any = await client.threads.create()
    thread_id: str = made["thread_id"]
    return thread_id
