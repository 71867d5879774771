"""All of langlog in processes of its own, each of which a test may kill and start again."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import redis.asyncio as aioredis
from langlog_backbone.embedded.servers import EmbeddedPostgres, EmbeddedRedis
from langlog_backbone.log import Log, open_log
from langlog_backbone.process.environment import read_settings

from tests.loss.witness import Witness
from tests.stack.fixtures import discard
from tests.stack.server import SURROUNDINGS, Process, free_port, rebuild, verify

PROJECT = Path(__file__).parent / "project" / "langgraph.json"
LEASE_S = 4
"""Short, so that a dead worker is noticed quickly; renewed several times within it."""
SERVICES: dict[str, list[str]] = {
    "decider": ["executor", "--role", "decider"],
    "projector": ["projector"],
    "scheduler": ["scheduler"],
    "worker": ["executor", "--role", "worker"],
    "gateway": ["gateway"],
}
KINDS = [*SERVICES, "redis", "postgres"]
COMMITS_LOST = ("ALTER SYSTEM SET wal_writer_delay = '10s'", "ALTER SYSTEM SET wal_writer_flush_after = '1GB'")
"""With ``synchronous_commit=off``: a Postgres that is killed loses what it has committed in the last seconds, not in the last 0.2 s."""


class Cluster:
    def __init__(
        self, folder: Path, env: dict[str, str], redis_uri: str, witness: Witness, postgres: EmbeddedPostgres
    ) -> None:
        self.postgres = postgres
        self.counts = folder / "counts"
        self.counts.mkdir()
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.witness = witness
        self.folder = folder
        self._redis_uri = redis_uri
        self.projection = read_settings(env).projection
        self.redis: EmbeddedRedis
        self._env = env | {"PORT": str(port), "LANGLOG_TEST_COUNTS": str(self.counts)}
        self.processes = {name: self.process(name, args) for name, args in SERVICES.items()}

    def process(self, name: str, args: list[str], **env: str) -> Process:
        """Another process of this cluster, not started."""
        return Process(name, args, self.folder, self._env | env)

    def second_gateway(self) -> tuple[Process, str]:
        """Another gateway, started and stopped with the others, and its URL."""
        port = free_port()
        result = self.processes["second"] = self.process("second", SERVICES["gateway"], PORT=str(port))
        return result, f"http://127.0.0.1:{port}"

    async def start(self) -> None:
        """All at once: what each of them does meanwhile is mostly imports."""
        await asyncio.gather(*(asyncio.to_thread(process.start) for process in self.processes.values()))

    async def stop(self) -> None:
        await asyncio.gather(*(asyncio.to_thread(p.stop) for p in self.processes.values() if p.alive))

    def kill_all(self) -> None:
        for process in self.processes.values():
            process.kill()

    async def kill(self, kind: str) -> None:
        """SIGKILL one kind with its children and start it again, Postgres without its last commits; or remove everything from Redis."""
        if kind == "redis":
            async with aioredis.from_url(self._redis_uri) as client:
                await client.flushall()
            return
        if kind == "postgres":
            assert self.postgres.child is not None
            await self.postgres.child.kill()
            await self.postgres.start()
            return
        # in a thread: starting waits, and the load must go on meanwhile
        await asyncio.to_thread(self.processes[kind].kill)
        await asyncio.to_thread(self.processes[kind].start)

    def verify(self) -> None:
        """Fold the log anew and compare. Raises AssertionError with every difference."""
        verify(SURROUNDINGS | self._env)

    def executions(self, label: str) -> list[int]:
        """Numbers of the steps executed under the label, in order."""
        return [int(line) for line in (self.counts / label).read_text().split()]


async def lose_commits(postgres: EmbeddedPostgres) -> None:
    """Make Postgres lose its last commits when it is killed."""
    connection = await asyncpg.connect(postgres.uri)
    try:
        for statement in COMMITS_LOST:
            await connection.execute(statement)
        await connection.execute("SELECT pg_reload_conf()")
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def running_cluster(
    folder: Path,
    log_env: dict[str, str],
    arrange: Callable[[Cluster], object] | None = None,
    postgres_folder: Path | None = None,
) -> AsyncIterator[Cluster]:
    """Postgres, Redis, every service, and a witness who reads the log along. ``arrange``: called, and awaited if it wants to be, before
    they start. ``postgres_folder``: where the data of Postgres is, if not in ``folder``."""
    env = {
        "LOG_URI": f"sqlite://{folder / 'log.sqlite'}",
        "LANGLOG_DATA_DIR": str(folder),
        "LANGLOG_PROJECT": str(PROJECT),
        "LANGLOG_LEASE_SECS": str(LEASE_S),
        "LANGLOG_SWEEP_SECS": "1",
        "N_JOBS_PER_WORKER": "16",
        "BG_JOB_MAX_RETRIES": "5",
        **log_env,
        "LANGLOG_GROUP_SESSION_SECS": "2",
    }
    async with contextlib.AsyncExitStack() as stack:
        postgres, redis = EmbeddedPostgres(postgres_folder or folder), EmbeddedRedis(folder)
        stack.push_async_callback(discard, postgres)
        stack.push_async_callback(redis.stop)
        await asyncio.gather(postgres.start(), redis.start())
        env |= {"DATABASE_URI": postgres.uri, "REDIS_URI": redis.uri}
        log: Log = open_log(read_settings(env))
        await log.start()
        stack.push_async_callback(log.stop)
        witness = Witness()
        await lose_commits(postgres)
        cluster = Cluster(folder, env, redis.uri, witness, postgres)
        cluster.postgres, cluster.redis = postgres, redis
        await stack.enter_async_context(witness.following(log))
        if arrange is not None:
            arranged = arrange(cluster)
            if inspect.isawaitable(arranged):
                await arranged
        stack.callback(cluster.kill_all)
        await cluster.start()
        yield cluster
        await asyncio.to_thread(verify, SURROUNDINGS | env)
        await asyncio.to_thread(rebuild, SURROUNDINGS | env)
        await cluster.stop()
