"""Two of each service, each of which reaches Postgres, Redis and the broker through a network of its own that may be cut."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
import psutil
import pytest
from langlog_backbone.embedded import servers as embedded
from langlog_backbone.embedded.servers import EmbeddedPostgres, EmbeddedRedis

from tests.faults.disk import SlowDisk, SmallDisk, library, small_disk
from tests.faults.proxy import Cut, Proxy
from tests.loss.cluster import SERVICES, Cluster, running_cluster
from tests.outage.eventually import eventually
from tests.stack import moved_clock
from tests.stack.fixtures import make_broker, make_kafka_cluster
from tests.stack.kafka_broker import KafkaBroker, Link, listeners_for
from tests.stack.server import free_port, kafka_env

DOUBLED = ("gateway", "decider", "projector", "worker")
"""Services of which there are two: while one is stopped or cut off, the other goes on."""
SERVERS = ("postgres", "redis", "kafka")
LOGS = ("sqlite", "kafka")
DISK_MB = {"sqlite": {"log": 96, "postgres": 400}, "kafka": {"log": 256, "postgres": 400}}
"""Room for what the tests of one rig write."""
SHORT = {"LANGLOG_APPEND_DEADLINE_SECS": "6", "LANGLOG_REPLY_TIMEOUT_SECS": "8", "BG_JOB_MAX_RETRIES": "20"}
"""Deadlines that a fault may outlast."""
FEW_CONNECTIONS = {"LANGGRAPH_POSTGRES_POOL_MAX_SIZE": "6"}
"""Of each process: with two of each service, the pools together must stay below the 100 of the embedded Postgres."""

START_LIMIT_S = 300.0
"""For a process that a supervisor starts beside all others, while faults come and go: longer than one start may take."""


@dataclass
class Rig:
    log: str
    cluster: Cluster
    urls: list[str]
    """Of both gateways."""
    brokers: dict[str, KafkaBroker]
    """Of its log: ``kafka``, or ``kafka-1`` and so on; none where that is embedded."""
    proxies: dict[tuple[str, str], Proxy] = field(default_factory=dict)
    """(process, server) -> what is between them."""
    links: dict[tuple[str, str], list[Proxy]] = field(default_factory=dict)
    """(broker, other broker) -> what the one reaches the other's broker and controller through; none where there is one broker."""
    small_disks: dict[str, SmallDisk | None] = field(default_factory=dict)
    """``log`` and ``postgres``: their disks; None where nothing may be mounted."""
    slow_disks: dict[str, SlowDisk] = field(default_factory=dict)
    """``log`` and ``postgres``; empty without a compiler."""

    def parts(self) -> list[str]:
        """Return the names of the processes and servers that a test may stop or kill."""
        return [*self.cluster.processes, "postgres", "redis", *self.brokers]

    def doubles(self) -> set[str]:
        """The second process of each service that has two."""
        return {name for name in self.cluster.processes if name.startswith("second-")}

    def servers(self) -> dict[str, EmbeddedPostgres | EmbeddedRedis | KafkaBroker]:
        return {"postgres": self.cluster.postgres, "redis": self.cluster.redis, **self.brokers}

    def pids(self, part: str) -> list[int]:
        """Of one process of a service with its children, or of a server with all of its processes."""
        if part in self.cluster.processes:
            parent = self.cluster.processes[part].pid
        else:
            child = self.servers()[part].child
            assert child is not None
            parent = child.pid
        root = psutil.Process(parent)
        return [parent, *(child.pid for child in root.children(recursive=True))]

    @contextlib.contextmanager
    def stopped(self, part: str) -> Iterator[None]:
        """SIGSTOP, and SIGCONT at the end."""
        stopped = [psutil.Process(pid) for pid in self.pids(part)]
        for process in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in stopped:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGCONT)

    @contextlib.asynccontextmanager
    async def cut_apart(self, pairs: Sequence[tuple[str, str]], how: Cut) -> AsyncIterator[None]:
        """The network between the brokers of each pair is cut, both ways; clients reach all of them."""
        async with contextlib.AsyncExitStack() as cuts:
            for one, other in pairs:
                for proxy in (*self.links[one, other], *self.links[other, one]):
                    await cuts.enter_async_context(proxy.cut(how))
            yield

    def alone(self, broker: str) -> list[tuple[str, str]]:
        """The pairs of a broker and each other one."""
        return [(broker, other) for other in self.brokers if other != broker]

    @contextlib.asynccontextmanager
    async def supervised_servers(self) -> AsyncIterator[None]:
        """A block in which servers that end, or have ended, are started again: one whose disk was full may end only after there is room."""
        over = asyncio.Event()

        async def supervise(server: EmbeddedPostgres | EmbeddedRedis | KafkaBroker) -> None:
            while server.child is not None:
                waits = [asyncio.create_task(server.child.wait_exit()), asyncio.create_task(over.wait())]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                ended = waits[0].done()
                for wait in waits:
                    wait.cancel()
                await asyncio.gather(*waits, return_exceptions=True)
                if not ended:
                    return
                await server.start()

        supervisors = [asyncio.create_task(supervise(server)) for server in self.servers().values()]
        try:
            yield
        finally:
            over.set()
            await asyncio.gather(*supervisors)

    def checkpoint(self) -> None:
        """Postgres writes all that it has to its disk."""

        async def checkpoint() -> None:
            connection = await asyncpg.connect(self.cluster.postgres.uri)
            await connection.execute("CHECKPOINT")
            await connection.close()

        asyncio.run(checkpoint())

    async def killed(self, part: str) -> None:
        """SIGKILL to a part with its children, and its start: Postgres has lost its last commits, and Redis everything."""
        if part in self.cluster.processes:
            await asyncio.to_thread(self.cluster.processes[part].kill)
            await self.supervised(part)
            return
        server = self.servers()[part]
        assert server.child is not None
        await server.child.kill()
        await server.start()

    async def all_killed(self) -> None:
        """SIGKILL to every process and server, and their start, servers first."""
        servers = list(self.servers().values())
        children = [server.child for server in servers if server.child is not None]
        assert len(children) == len(servers)
        processes = self.cluster.processes
        await asyncio.gather(
            *(asyncio.to_thread(process.kill) for process in processes.values()), *(child.kill() for child in children)
        )
        await asyncio.gather(*(server.start() for server in servers))
        await asyncio.gather(*(self.supervised(name) for name in processes))

    async def supervised(self, name: str) -> None:
        """Start a process as a supervisor does: again while it ends at once because a server is away."""

        async def started() -> bool:
            try:
                await asyncio.to_thread(self.cluster.processes[name].start)
            except RuntimeError:
                return False
            return True

        await eventually(started, START_LIMIT_S)

    def clock(self, process: str) -> Path:
        """The file with the seconds by which the clock of a process is moved."""
        return self.cluster.counts.parent / f"{process}.clock"

    def deaths(self) -> list[str]:
        """Processes that have ended, and those of which a child had to be started again."""
        ended = [name for name, process in self.cluster.processes.items() if not process.alive]
        return ended + [
            f"{name}: child"
            for name, process in self.cluster.processes.items()
            if process.count(lambda said: said.get("event") == "worker.died")
        ]


@contextlib.asynccontextmanager
async def running_rig(
    log: str,
    folder: Path,
    *,
    brokers: int = 1,
    doubled: Sequence[str] = DOUBLED,
    small: bool = True,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[Rig]:
    """``brokers``: one, or three with three replicas. ``small``: whether disks are. ``env``: variables of all services."""
    names = [*SERVICES, *(f"second-{name}" for name in doubled)]
    async with contextlib.AsyncExitStack() as stack:
        disks = {name: small_disk(folder / name, size if small else None) for name, size in DISK_MB[log].items()}
        for disk in filter(None, disks.values()):
            stack.callback(disk.unmount)
        preloaded = library(folder)
        slow = {name: SlowDisk(folder, name, preloaded) for name in disks} if preloaded else {}
        if slow:
            changed = pytest.MonkeyPatch()
            stack.callback(changed.undo)
            changed.setattr(embedded, "_POSTGRES_ENV", embedded._POSTGRES_ENV | slow["postgres"].env)
        variables, servers = {"LOG_URI": f"sqlite://{folder / 'log' / 'log.sqlite'}"}, {}
        proxies: dict[tuple[str, str], Proxy] = {}
        links: dict[tuple[str, str], list[Proxy]] = {}

        async def unlink() -> None:
            await asyncio.gather(*(proxy.stop() for pair in links.values() for proxy in pair))

        if log == "kafka":
            servers = _brokers(folder / "log", brokers, names, proxies, links)
            stack.push_async_callback(unlink)
            await asyncio.gather(*(proxy.start() for pair in links.values() for proxy in pair))
            for broker in servers.values():
                broker.env |= slow["log"].env if slow else {}
                stack.push_async_callback(broker.stop)
                broker.begin()
            await asyncio.gather(*(broker.ready() for broker in servers.values()))
            variables = kafka_env(",".join(broker.bootstrap for broker in servers.values()))
            variables["LANGLOG_REPLICATION_FACTOR"] = str(brokers)
        urls: list[str] = []

        async def arrange(cluster: Cluster) -> None:
            urls.append(cluster.url)
            for name in doubled:
                _second(cluster, name, urls)
            for name, process in cluster.processes.items():
                proxies[name, "postgres"] = Proxy(_socket_of_postgres(cluster.postgres.uri))
                proxies[name, "redis"] = Proxy(Path(unquote(urlsplit(cluster.redis.uri).path)))
                process.env["DATABASE_URI"] = (
                    f"postgresql://langlog@127.0.0.1:{proxies[name, 'postgres'].port}/postgres?sslmode=disable"
                )
                process.env["REDIS_URI"] = f"redis://127.0.0.1:{proxies[name, 'redis'].port}"
                if servers:
                    process.env["LOG_URI"] = "kafka://" + ",".join(
                        f"127.0.0.1:{proxies[name, server].port}" for server in servers
                    )
                clock = cluster.counts.parent / f"{name}.clock"
                clock.write_text("0")
                process.env["LANGLOG_TEST_CLOCK"] = str(clock)
                process.env["PYTHONPATH"] = moved_clock.FOLDER
                if slow and not servers:
                    process.env.update(slow["log"].env)
            await asyncio.gather(*(proxy.start() for proxy in proxies.values()))

        async def close() -> None:
            await asyncio.gather(*(proxy.stop() for proxy in proxies.values()))

        stack.push_async_callback(close)
        variables |= SHORT | FEW_CONNECTIONS | dict(env or {})
        opened = running_cluster(folder, variables, arrange, folder / "postgres")
        yield Rig(log, await stack.enter_async_context(opened), urls, servers, proxies, links, disks, slow)


def _brokers(
    folder: Path,
    count: int,
    names: Sequence[str],
    proxies: dict[tuple[str, str], Proxy],
    links: dict[tuple[str, str], list[Proxy]],
) -> dict[str, KafkaBroker]:
    """Not started. Each process, and each broker, reaches each broker at a listener of its own, by a proxy that is added."""
    servers = ["kafka"] if count == 1 else [f"kafka-{n}" for n in range(1, count + 1)]
    ports = {server: {_listener(name): free_port() for name in names} for server in servers}
    if count == 1:
        brokers = {"kafka": make_broker(folder, listeners=ports["kafka"])}
    else:
        nodes = dict(enumerate(servers, 1))
        between = {(a, b): Link(free_port(), free_port()) for a in nodes for b in nodes if a != b}
        made = make_kafka_cluster(folder, [ports[server] for server in servers], between).brokers
        brokers = {server: made[node] for node, server in nodes.items()}
        for (a, b), own in between.items():
            heard_at = (made[b].ports[name] for name in listeners_for(a))
            links[nodes[a], nodes[b]] = [Proxy(there, here) for there, here in zip(heard_at, own, strict=True)]
    for server, broker in brokers.items():
        for name in names:
            proxies[name, server] = Proxy(broker.ports[_listener(name)], ports[server][_listener(name)])
    return brokers


def _second(cluster: Cluster, name: str, urls: list[str]) -> None:
    if name == "gateway":
        process, url = cluster.second_gateway()
        cluster.processes.pop("second")
        urls.append(url)
    else:
        process = cluster.process(f"second-{name}", SERVICES[name])
    cluster.processes[f"second-{name}"] = process


def _listener(process: str) -> str:
    return process.upper().replace("-", "")


def _socket_of_postgres(uri: str) -> Path:
    return Path(parse_qs(urlsplit(uri).query)["host"][0]) / ".s.PGSQL.5432"
