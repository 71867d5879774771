"""Two versions on one log, as docs/how-to/upgrade.md promises: an upgrade and the way back, in turns and service by service.

Each version takes over the other one's work: runs that wait in a step, open interrupts, threads that run
on. At the end both versions verify the read model against the log, and no key is parked.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langlog_backbone.embedded.servers import EmbeddedPostgres, EmbeddedRedis

from tests.outage.eventually import eventually
from tests.stack.fixtures import discard
from tests.stack.server import SURROUNDINGS, Process, free_port, kafka_env, verify_by
from tests.upgrade.base import base, python_of, read_model_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800)]

PROJECT = Path(__file__).parent / "project" / "langgraph.json"
SERVICES = {
    "projector": ["projector"],
    "executor": ["executor", "--workers", "1"],
    "scheduler": ["scheduler"],
    "gateway": ["gateway"],
}
"""In the order in which docs/how-to/upgrade.md replaces them."""
NEW = Path(sys.executable)
LIMIT_S = 180


class Deployment:
    """Services of two versions on one log; any of them may be up."""

    def __init__(self, folder: Path, env: Mapping[str, str], old: Path) -> None:
        self.folder, self.env, self.old = folder, dict(env), old
        self.gates = Path(env["LANGLOG_TEST_GATES"])
        self.up: dict[tuple[str, Path], tuple[Process, int]] = {}

    async def start(self, service: str, python: Path) -> None:
        port = free_port()
        name = f"{service}-{'new' if python == NEW else 'old'}"
        process = Process(name, SERVICES[service], self.folder, self.env | {"PORT": str(port)}, python)
        await asyncio.to_thread(process.start)
        self.up[(service, python)] = (process, port)

    async def stop(self, service: str, python: Path) -> None:
        process, _ = self.up.pop((service, python))
        assert await asyncio.to_thread(process.stop) == 0, process.tail()

    async def start_all(self, python: Path) -> None:
        for service in SERVICES:
            await self.start(service, python)

    async def stop_all(self) -> None:
        for service, python in reversed(list(self.up)):
            await self.stop(service, python)

    def kill(self) -> None:
        for process, _ in self.up.values():
            process.kill()

    def clients(self) -> list[LangGraphClient]:
        """Return one client for each running gateway."""
        ports = [port for (service, _), (_, port) in self.up.items() if service == "gateway"]
        return [get_client(url=f"http://127.0.0.1:{port}", timeout=LIMIT_S) for port in ports]

    def check(self, *pythons: Path) -> None:
        """Check that each of these versions verifies the read model against the log, and that no key is parked."""
        for python in pythons:
            verify_by(python, SURROUNDINGS | self.env)
            words = [str(python), "-m", "langlog", "dead", "list"]
            done = subprocess.run(words, env=SURROUNDINGS | self.env, capture_output=True, text=True, timeout=LIMIT_S)
            assert "Nothing is parked." in done.stdout, done.stdout + done.stderr


class Work:
    """Work of clients: threads with the trail that they must have by now."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.running: dict[str, list[str]] = {}
        """Threads that nothing is under way on."""
        self.asked: dict[str, list[str]] = {}
        self.held: dict[str, tuple[str, str, list[str]]] = {}
        """Thread -> run, gate, trail at its end."""

    async def begin(self, phase: str) -> None:
        """Start runs by each gateway: one that ends at once and is streamed, one with an interrupt, one that waits."""
        for number, client in enumerate(self.deployment.clients()):
            async with client:
                word = f"{phase}-{number}"
                for thread in [(await client.threads.create())["thread_id"], *list(self.running)[:2]]:
                    given: Any = {"word": word}
                    parts = [
                        part
                        async for part in client.runs.stream(
                            thread, "agent", input=given, stream_mode=["custom", "values"]
                        )
                    ]
                    assert [part.data for part in parts if part.event == "custom"] == [{"saying": word}], parts
                    trail = [*self.running.get(thread, []), word, f"{word}: no question"]
                    assert parts[-1].data["trail"] == trail
                    self.running[thread] = trail

                thread = (await client.threads.create())["thread_id"]
                await client.runs.wait(thread, "agent", input={"word": word, "asks": True})
                assert (await client.threads.get(thread))["status"] == "interrupted"
                self.asked[thread] = [word]

                thread, gate = (await client.threads.create())["thread_id"], uuid.uuid4().hex
                given = {"word": word, "gate": gate}
                run = (await client.runs.create(thread, "agent", input=given))["run_id"]
                # not by a stream: gateways before dc42cbb may leave out an event until a later one comes
                await eventually(partial(self._holds, gate), LIMIT_S)
                self.held[thread] = (run, gate, [word, f"{word}: no question"])

    async def _holds(self, gate: str) -> bool:
        return (self.deployment.gates / f"{gate}.held").exists()

    async def finish(self) -> None:
        """Whatever was begun comes to its end, by any of the gateways."""
        client = self.deployment.clients()[-1]
        async with client:
            for thread, trail in self.asked.items():
                values: Any = await client.runs.wait(thread, "agent", command={"resume": "yes"})
                self.running[thread] = [*trail, f"{trail[-1]}: yes"]
                assert values["trail"] == self.running[thread]
            for thread, (run, gate, trail) in self.held.items():
                (self.deployment.gates / gate).touch()
                values = await client.runs.join(thread, run)
                assert values["trail"] == trail
                self.running[thread] = trail
            self.asked, self.held = {}, {}

    async def compare(self) -> None:
        """Check that every thread has the expected state and history."""
        client = self.deployment.clients()[-1]
        async with client:
            for thread, trail in self.running.items():
                state: Any = await client.threads.get_state(thread)
                assert (state["values"]["trail"], state["next"]) == (trail, [])
                runs = await client.runs.list(thread, limit=100)
                assert {run["status"] for run in runs} <= {"success", "interrupted"}
                history = await client.threads.get_history(thread, limit=200)
                assert len(history) >= len(runs)


@pytest.fixture
async def deployment(
    log_kind: str, tmp_path: Path, redis_server: EmbeddedRedis, request: pytest.FixtureRequest
) -> AsyncIterator[Deployment]:
    old = await asyncio.to_thread(python_of, base(log_kind))
    (tmp_path / "gates").mkdir()
    env = {
        "LOG_URI": f"sqlite://{tmp_path / 'log.sqlite'}",
        "REDIS_URI": redis_server.uri,
        "REDIS_KEY_PREFIX": f"{uuid.uuid4().hex[:8]}:",
        "LANGLOG_DATA_DIR": str(tmp_path),
        "LANGLOG_PROJECT": str(PROJECT),
        "LANGLOG_TEST_GATES": str(tmp_path / "gates"),
        "LANGLOG_DRAIN_SECS": "1",
        "LANGLOG_REPLY_TIMEOUT_SECS": "90",
        "LANGLOG_PARTITIONS": "8",
    }
    if log_kind == "kafka":
        env |= kafka_env(request.getfixturevalue("kafka"))
    async with contextlib.AsyncExitStack() as stack:
        postgres = EmbeddedPostgres(tmp_path)
        stack.push_async_callback(discard, postgres)
        await postgres.start()
        made = Deployment(tmp_path, env | {"DATABASE_URI": postgres.uri}, old)
        stack.callback(made.kill)
        yield made


async def test_two_versions_in_turns_on_one_log(deployment: Deployment) -> None:
    work = Work(deployment)
    for turn, python in enumerate((deployment.old, NEW, deployment.old, NEW)):
        await deployment.start_all(python)
        await work.finish()  # what the other version has left under way
        await work.begin(f"turn-{turn}")
        await work.compare()
        deployment.check(python)
        if turn == 3:
            await work.finish()
            await work.compare()
            deployment.check(python)
        await deployment.stop_all()


async def test_two_versions_side_by_side_service_by_service_and_back(deployment: Deployment) -> None:
    old = deployment.old
    # each read model needs projectors of its own as long as gateways of its version are there
    projectors_stay = read_model_of(old) != read_model_of(NEW)
    work = Work(deployment)
    await deployment.start_all(old)
    await work.begin("before")
    # back in the same order: so that each version's gateway meets the other's executor and projector
    for direction, was, becomes in (("on", old, NEW), ("back", NEW, old)):
        for service in SERVICES:
            await deployment.start(service, becomes)
            await work.finish()
            await work.begin(f"{direction}-{service}-both")
            if not (service == "projector" and projectors_stay):
                await deployment.stop(service, was)
            await work.finish()
            await work.begin(f"{direction}-{service}")
        await work.compare()
        deployment.check(old, NEW)
        if projectors_stay:
            await deployment.stop("projector", was)
    await work.finish()
    await work.compare()
    deployment.check(old, NEW)
    await deployment.stop_all()
