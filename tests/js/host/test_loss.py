"""Runs in TypeScript while a process dies, stalls or is blocked: nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langlog_backbone.embedded.servers import LOG_FILE

from tests.js.host import stack
from tests.stack.server import LiveServer, kafka_env
from tests.stack.standing_still import standing_still

LEASE_S = 4


@pytest.fixture(scope="module", params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def server(
    request: pytest.FixtureRequest, host_program: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveServer]:
    env = kafka_env(request.getfixturevalue("kafka")) if request.param == "kafka" else {}
    folder = tmp_path_factory.mktemp(f"js-loss-{request.param}")
    project = stack.copied_project(folder / "project")
    settings = {
        "LANGLOG_WORKERS": "2",
        "LANGLOG_LEASE_SECS": str(LEASE_S),
        "LANGLOG_SWEEP_SECS": "1",
        "LANGLOG_GRAPH_HOST_MEMORY_MB": "128",
    }
    with LiveServer(project / "langgraph.json", folder, {**settings, **env}).up() as live:
        yield live


@pytest.fixture
async def client(server: LiveServer) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=server.url) as opened:
        yield opened


class Begun:
    """A run that waits at its gate; ``host``: the process that it is in."""

    def __init__(self, client: LangGraphClient, gate: Path) -> None:
        self._client = client
        self.gate = gate
        self.thread = self.run = ""
        self.host = 0

    async def begin(self, graph: str) -> Begun:
        self.thread = (await self._client.threads.create())["thread_id"]

        def created(run: Any) -> None:
            self.run = run["run_id"]

        parts = self._client.runs.stream(
            self.thread, graph, input={"gate": str(self.gate)}, stream_mode="custom", on_run_created=created
        )
        async for part in parts:
            if part.event == "custom":
                self.host = part.data["pid"]
                break
        return self

    @property
    def worker(self) -> int:
        return psutil.Process(self.host).ppid()

    async def passed(self) -> list[str]:
        self.gate.touch()
        done: Any = await self._client.runs.join(self.thread, self.run)
        return done["done"]


Begin = Callable[[str], Any]


@pytest.fixture
def begin(client: LangGraphClient, tmp_path: Path) -> Begin:
    return lambda graph: Begun(client, tmp_path / "gate").begin(graph)


async def test_a_host_that_is_killed_loses_no_run(client: LangGraphClient, begin: Begin) -> None:
    run = await begin("gate")
    os.kill(run.host, signal.SIGKILL)
    assert await run.passed() == ["begin", "passed"], "the first step is not done again"
    metadata = (await client.threads.get_state(run.thread))["metadata"]
    assert metadata["run_attempt"] >= 2  # a busy machine may hold up the next worker for longer than its lease as well


async def test_a_worker_that_is_killed_loses_no_run(begin: Begin) -> None:
    run = await begin("gate")
    host = psutil.Process(run.host)
    os.kill(run.worker, signal.SIGKILL)
    await asyncio.to_thread(host.wait, 30)  # it ends by itself: nobody holds its socket
    assert await run.passed() == ["begin", "passed"]


async def test_a_host_that_is_blocked_ends_with_its_worker(begin: Begin) -> None:
    run = await begin("busy")
    host = psutil.Process(run.host)
    os.kill(run.worker, signal.SIGKILL)
    await asyncio.to_thread(host.wait, 30)
    assert await run.passed() == ["begin", "passed"]


async def test_a_worker_that_comes_back_changes_nothing(
    client: LangGraphClient, server: LiveServer, begin: Begin
) -> None:
    run = await begin("gate")
    with standing_still(run.worker, log=server.data / LOG_FILE):
        assert await run.passed() == ["begin", "passed"], "another worker has taken it up"
        after = await client.threads.get_history(run.thread, limit=20)
    assert await client.runs.wait(None, "echo", input={"text": "a"})  # both workers serve again
    assert await client.threads.get_history(run.thread, limit=20) == after
    assert (await client.runs.get(run.thread, run.run))["status"] == "success"


async def test_a_run_that_kills_its_process_each_time_fails(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    with pytest.raises(Exception, match="WorkerLost"):
        await client.runs.wait(thread, "deadly", input={})
    assert (await client.threads.get(thread))["status"] == "error"
    assert await client.runs.wait(None, "echo", input={"text": "a"}) == {"text": "a", "seen": ["said a"]}


async def test_a_graph_that_takes_all_memory_ends_its_process_alone(
    client: LangGraphClient, server: LiveServer
) -> None:
    with pytest.raises(Exception, match="WorkerLost"):
        await client.runs.wait(None, "greedy", input={})
    died = server.wait_for(lambda e: e.get("event") == "graph_host.died" and "LANGLOG_GRAPH_HOST_MEMORY_MB" in str(e))
    assert died["jobs_lost"] >= 1


async def test_a_blocked_host_delays_no_graph_in_python(client: LangGraphClient, begin: Begin) -> None:
    runs = await asyncio.gather(begin("busy"), begin("busy"))
    thread = (await client.threads.create())["thread_id"]
    for _ in range(10):
        await client.runs.wait(thread, "python", input={"text": "a"})
    assert (await client.threads.get_state(thread))["values"]["text"] == "a"
    assert {(await client.runs.get(run.thread, run.run))["status"] for run in runs} == {"running"}
    assert [await run.passed() for run in runs] == [["begin", "passed"]] * 2
