"""A real Kafka broker from Apache's own jars, in KRaft mode on one node: started, killed and started again by tests.

The jars come by Maven once and stay in a cache folder. Settings are chosen for failure tests: a killed broker may register
again after 3 seconds, and group sessions may be as short as one.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from langlog_backbone.embedded.child import Child

from tests.stack.server import free_port

POM = Path(__file__).with_name("pom.xml")
LOG4J = Path(__file__).with_name("log4j2.properties")
JAVA = ("-Xms128m", "-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")
SHARED = {"broker.session.timeout.ms": "60000", "broker.heartbeat.interval.ms": "2000"}
"""Settings of a broker that no test kills: a machine that holds it up for seconds does not make it leave its own cluster."""
READY = b"Kafka Server started"
TERMINATED = 143
"""Exit code of Java that has ended in order, after SIGTERM."""
ARCHIVE_LIMIT_S = 120
FETCH_TIMEOUT_S = 300


class KafkaMissing(Exception):
    """Why there can be no broker here."""


def jars() -> Path:
    """The folder with the broker's jars, fetched if need be. Raises KafkaMissing."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise KafkaMissing(f"{program} is not on the path")
    digest = hashlib.sha256(POM.read_bytes()).hexdigest()[:12]
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "langlog"
    folder = root / f"kafka-{digest}"
    if not folder.exists():
        draft = root / f"kafka-{digest}.{os.getpid()}"
        draft.mkdir(parents=True)
        got = subprocess.run(
            [
                *("mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"),
                *("-DincludeScope=runtime", f"-DoutputDirectory={draft}"),
            ],
            capture_output=True,
            text=True,
            timeout=FETCH_TIMEOUT_S,
        )
        if got.returncode != 0 or not any(draft.glob("kafka_*.jar")):
            shutil.rmtree(draft, ignore_errors=True)
            raise KafkaMissing(f"mvn could not fetch the jars: {(got.stdout + got.stderr).strip()[-500:]}")
        try:
            draft.rename(folder)
        except OSError:
            # another session was faster
            shutil.rmtree(draft, ignore_errors=True)
    return folder


def class_archive(java: str, jars: Path) -> Path:
    """The file with the broker's classes, parsed and verified: a third of the work of each start. It is of one Java and one set of jars.

    Source: JEP 350, "Dynamic CDS Archives".
    """
    program = Path(java).resolve()
    digest = hashlib.sha256(f"{program} {program.stat().st_mtime_ns} {' '.join(JAVA)}".encode()).hexdigest()[:12]
    return jars.with_name(f"{jars.name}-{digest}.jsa")


class Membership(NamedTuple):
    """Of a broker in a cluster of several."""

    node: int
    controllers: Mapping[int, int]
    """Node -> port of its controller, as this broker reaches it. Its own is not among them where it is heard at ``heard_at``."""
    cluster_id: str
    heard_at: Mapping[int, Link] = {}
    """Other node -> the ports at which it reaches this broker, which listens for each node apart. Empty: for all of them at once."""


class Link(NamedTuple):
    """The ports at which one node reaches another."""

    broker: int
    controller: int


def listeners_for(node: int) -> tuple[str, str]:
    """Return the names of the listeners at which other nodes hear this one: their brokers, and their controllers."""
    return f"BROKER{node}", f"CONTROLLER{node}"


class KafkaBroker:
    """One broker with its data in ``folder``. ``settings`` add to or replace the broker's properties; ``scram``: users and
    their passwords, known from the start; ``listeners``: names of further listeners and the port of this machine that each names as
    its own, at which something forwards to the port in ``ports``; ``membership``: of a cluster of several brokers."""

    def __init__(
        self,
        folder: Path,
        settings: dict[str, str] | None = None,
        scram: dict[str, str] | None = None,
        listeners: Mapping[str, int] | None = None,
        membership: Membership | None = None,
    ) -> None:
        self._scram = scram or {}
        self._membership = membership
        advertised = self._listening(dict(listeners or {}), membership)
        java = shutil.which("java")
        self._jars = jars()
        assert java is not None
        self._program = java
        self._archive = class_archive(java, self._jars)
        self._archives = settings is SHARED
        """Whether this broker writes the archive if it is missing: a broker that lives long has loaded all classes."""
        self._draft: Path | None = None
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        apart = membership is not None and bool(membership.heard_at)
        controller = membership.controllers.get(membership.node) if membership else free_port()
        heard = [membership.node, *membership.heard_at] if membership else []
        self.bootstrap = f"127.0.0.1:{self.port}"
        self._config = folder / "server.properties"
        properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "listeners": f"PLAINTEXT://{self.bootstrap}"
            + ("" if apart else f",CONTROLLER://127.0.0.1:{controller}")
            + "".join(f",{name}://127.0.0.1:{port}" for name, port in self.ports.items()),
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}"
            + "".join(f",{name}://127.0.0.1:{port}" for name, port in advertised.items()),
            "controller.listener.names": ",".join(listeners_for(node)[1] for node in heard) if apart else "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"
            + "".join(f",{name}:PLAINTEXT" for name in self.ports),
            "inter.broker.listener.name": listeners_for(heard[0])[0] if apart else "PLAINTEXT",
            **(
                {"node.id": str(membership.node), "controller.quorum.voters": self._voters(membership)}
                if membership
                else {"controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}"}
            ),
            "log.dirs": str(folder / "data"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "share.coordinator.state.topic.num.partitions": "1",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "500",
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            "log.index.size.max.bytes": "1048576",
            "log.segment.delete.delay.ms": "1000",
            **(settings or {}),
        }
        self._config.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        self.child: Child | None = None
        self.env = dict(os.environ)
        self._format()

    def _listening(self, named: dict[str, int], membership: Membership | None) -> dict[str, int]:
        """Choose the ports of all further listeners, and return what each names as its own."""
        heard_at = membership.heard_at if membership else {}
        for node, ports in heard_at.items():
            named |= dict(zip(listeners_for(node), ports, strict=True))
        self.ports = {name: free_port() for name in named}
        if membership and heard_at:
            own = {name: free_port() for name in listeners_for(membership.node)}
            self.ports |= own
            named |= own
        return named

    def _voters(self, membership: Membership) -> str:
        ports = dict(membership.controllers)
        if membership.heard_at:
            ports[membership.node] = self.ports[listeners_for(membership.node)[1]]
        return ",".join(f"{node}@127.0.0.1:{port}" for node, port in sorted(ports.items()))

    async def start(self) -> None:
        """Start the broker; returns when it has reported that it is up."""
        self.begin()
        await self.ready()

    def begin(self) -> None:
        """Starts it; `ready` waits for it."""
        options = []
        if self._archives and not self._archive.exists():
            self._draft = self._archive.with_suffix(f".{os.getpid()}.new")
            options = [f"-XX:ArchiveClassesAtExit={self._draft}"]
        self.child = Child(
            self._java("kafka.Kafka", str(self._config), options=options),
            ready=READY,
            transcript=self._folder / "broker.log",
            env=self.env,
        )

    async def ready(self) -> None:
        """Wait until it has reported that it is up."""
        assert self.child is not None
        await self.child.wait_ready()

    async def stop(self) -> None:
        if self.child is not None:
            if self._draft is not None:
                await self._keep_classes(self.child, self._draft)
            await self.child.stop()
            self.child = None

    async def kill(self) -> None:
        """SIGKILL."""
        assert self.child is not None
        await self.child.kill()
        self.child = None

    async def _keep_classes(self, child: Child, draft: Path) -> None:
        """End the broker, which takes seconds to write the archive, and keep what it has written to the end."""
        self._draft = None
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            os.kill(child.pid, signal.SIGTERM)
            async with asyncio.timeout(ARCHIVE_LIMIT_S):
                if await child.wait_exit() == TERMINATED and draft.exists():
                    draft.rename(self._archive)
        draft.unlink(missing_ok=True)

    def _format(self) -> None:
        member = self._membership
        cluster_id = member.cluster_id if member else self.random_id()
        users = [
            word
            for name, password in self._scram.items()
            for word in ("--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]")
        ]
        alone = [] if member else ["--standalone"]
        subprocess.run(
            self._java("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._config), *alone, *users),
            capture_output=True,
            check=True,
        )

    def lose_disk(self) -> None:
        """All that it has stored is gone, and it begins anew under its old number. It must not run."""
        shutil.rmtree(self._folder / "data")
        self._format()

    @staticmethod
    def random_id() -> str:
        """As StorageTool's random-uuid makes them: none begins like an option."""
        return base64.urlsafe_b64encode(b"\x00" + uuid.uuid4().bytes[1:]).decode().rstrip("=")

    def _java(self, main: str, *args: str, options: Sequence[str] = ()) -> list[str]:
        if self._archive.exists():
            options = [*options, f"-XX:SharedArchiveFile={self._archive}"]
        return [
            self._program,
            *JAVA,
            *options,
            f"-Dlog4j2.configurationFile={LOG4J}",
            "-cp",
            f"{self._jars}/*",
            main,
            *args,
        ]


class KafkaCluster:
    """Three brokers, each of which is a controller too; what is replicated three times survives the loss of any of them."""

    def __init__(
        self,
        folder: Path,
        listeners: Sequence[Mapping[str, int]] | None = None,
        links: Mapping[tuple[int, int], Link] | None = None,
    ) -> None:
        """``listeners``: further ones of each broker, see `KafkaBroker`. ``links``: (node, other node) -> the ports at which the one
        reaches the other, where something forwards to the ports of the listeners that the other one has for it (`listeners_for`)."""
        cluster_id = KafkaBroker.random_id()
        nodes = (1, 2, 3)
        controllers = {} if links else {node: free_port() for node in nodes}
        reached = {
            node: controllers or {to: link.controller for (at, to), link in (links or {}).items() if at == node}
            for node in nodes
        }
        heard = {node: {at: link for (at, to), link in (links or {}).items() if to == node} for node in nodes}
        replicated = {
            "offsets.topic.replication.factor": "3",
            "transaction.state.log.replication.factor": "3",
            "min.insync.replicas": "2",
            "replica.lag.time.max.ms": "4000",
        }
        self.brokers = {
            node: KafkaBroker(
                folder / f"broker-{node}",
                replicated,
                listeners=listeners[node - 1] if listeners else None,
                membership=Membership(node, reached[node], cluster_id, heard[node]),
            )
            for node in nodes
        }

    @property
    def bootstrap(self) -> str:
        return ",".join(broker.bootstrap for broker in self.brokers.values())

    async def start(self) -> None:
        for broker in self.brokers.values():
            broker.begin()
        await asyncio.gather(*(broker.ready() for broker in self.brokers.values()))

    async def stop(self) -> None:
        await asyncio.gather(*(broker.stop() for broker in self.brokers.values()))
