"""Killing things under load: whatever was acknowledged ends exactly once, with the right output, and one order of all calls explains
what clients saw."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import uuid
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import aiohttp
import pytest
import pytest_asyncio
from langlog_schemas import events

from tests.history.workload import workload
from tests.loss.cluster import KINDS, LEASE_S, SERVICES, Cluster, running_cluster
from tests.stack.server import kafka_env
from tests.stack.standing_still import standing_still

THREADS = 50
RUNS_PER_THREAD = 2
STEP_S = 0.1
STEPS = range(1, 6)
BUSY = 20
"""Runs that are over when the blow falls: by then others are under way, queued on their thread, or queued for a slot."""
TRY_AGAIN_S = 0.1
END_LIMIT_S = 180.0
HOLD_S = 2 * LEASE_S

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


class Run(NamedTuple):
    thread: str
    run: str
    label: str


@pytest.fixture(scope="module", params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def log_env(request: pytest.FixtureRequest) -> dict[str, str]:
    return kafka_env(request.getfixturevalue("kafka")) if request.param == "kafka" else {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(log_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path_factory.mktemp("loss"), log_env) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def http(cluster: Cluster) -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=END_LIMIT_S)
    async with aiohttp.ClientSession(base_url=cluster.url, timeout=timeout) as session:
        yield session


async def ask(http: aiohttp.ClientSession, method: str, path: str, body: Any = None, key: str = "") -> Any:
    """Return the response; retried as long as the server is unavailable."""
    headers = {"Idempotency-Key": key} if key else {}
    while True:
        try:
            async with http.request(method, path, json=body, headers=headers) as answer:
                text = await answer.text()
                if answer.status == 200:
                    return json.loads(text)
                assert answer.status in (500, 502, 503, 504), f"{method} {path}: {answer.status} {text}"
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, ConnectionError):
            pass
        await asyncio.sleep(TRY_AGAIN_S)


async def create(http: aiohttp.ClientSession, thread: str, label: str, **state: Any) -> Run:
    body = {
        "assistant_id": "steps",
        "input": {"label": label, "seconds": STEP_S, **state},
        "if_not_exists": "create",
        "durability": "sync",
    }
    run = await ask(http, "POST", f"/threads/{thread}/runs", body, key=str(uuid.uuid4()))
    return Run(thread, run["run_id"], label)


async def load(http: aiohttp.ClientSession) -> list[Run]:
    """100 runs on 50 threads, each thread's one after the other by a client of its own; all acknowledged."""

    async def one(number: int) -> list[Run]:
        thread = str(uuid.uuid4())
        return [await create(http, thread, f"{thread}-{n}") for n in range(RUNS_PER_THREAD)]

    return [run for runs in await asyncio.gather(*(one(n) for n in range(THREADS))) for run in runs]


async def check(http: aiohttp.ClientSession, cluster: Cluster, runs: list[Run]) -> None:
    """Each run is over exactly once and each thread holds what its runs did, in their order."""
    witness = cluster.witness
    await witness.until(lambda: all(run.run in witness.finals for run in runs), END_LIMIT_S)
    labels = {run.run: run.label for run in runs}
    for thread in {run.thread for run in runs}:
        own = [run for run in runs if run.thread == thread]
        for run in own:
            values = await ask(http, "GET", f"/threads/{thread}/runs/{run.run}/join")
            assert "__error__" not in values, values
            assert (await ask(http, "GET", f"/threads/{thread}/runs/{run.run}"))["status"] == "success"
        assert sorted(witness.order[thread]) == sorted(run.run for run in own), "nothing but what was asked for"
        expected = [f"{labels[run]}:{n}" for run in witness.order[thread] for n in STEPS]
        state = await ask(http, "GET", f"/threads/{thread}/state")
        assert state["values"]["trail"] == expected
        assert state["next"] == []
        result = await ask(http, "GET", f"/threads/{thread}")
        assert (result["status"], result["values"]["trail"]) == ("idle", expected)
    ends = {run.run: [event.TYPE for event in witness.finals[run.run]] for run in runs}
    assert all(end == [events.RunSucceeded.TYPE] for end in ends.values()), ends


@pytest.mark.parametrize("victim", KINDS)
async def test_killing_a_part_under_load_loses_nothing(
    cluster: Cluster, http: aiohttp.ClientSession, victim: str
) -> None:
    witness = cluster.witness
    before = len(witness.finals)
    under_way = []
    if victim == "worker":  # a step that nothing else than the blow ends: it cannot fall too late
        thread = str(uuid.uuid4())
        under_way = [await until_step(http, thread, f"{thread}-0", 2, hold=2, hold_seconds=2 * END_LIMIT_S)]
    async with workload([cluster.url]) as clients:
        async with clients.going():
            loading = asyncio.create_task(load(http))
            await witness.until(lambda: len(witness.finals) >= before + BUSY)
            await cluster.kill(victim)
            if victim == "postgres":
                await asyncio.to_thread(
                    cluster.processes["projector"].wait_for,
                    lambda said: said.get("event") == "projector.positions_went_back",
                )
            runs = await loading
        clients.check()
    assert len(runs) == THREADS * RUNS_PER_THREAD
    await check(http, cluster, [*under_way, *runs])
    assert all(len(witness.attempts[run.run]) > 1 for run in under_way)


async def until_step(http: aiohttp.ClientSession, thread: str, label: str, step: int, **state: Any) -> Run:
    """Start a run and return once the step has begun."""
    body = {
        "assistant_id": "steps",
        "input": {"label": label, "seconds": STEP_S, **state},
        "if_not_exists": "create",
        "durability": "sync",
        "stream_mode": "custom",
    }
    async with http.post(f"/threads/{thread}/runs/stream", json=body) as answer:
        assert answer.status == 200
        run = answer.headers["content-location"].rpartition("/")[2]
        async for line in answer.content:
            if line.startswith(b"data:") and json.loads(line[5:]).get("step") == step:
                return Run(thread, run, label)
    raise AssertionError(f"the stream ended before step {step}")


async def test_a_run_killed_in_mid_node_goes_on_from_its_last_checkpoint(
    cluster: Cluster, http: aiohttp.ClientSession
) -> None:
    thread = str(uuid.uuid4())
    run = await until_step(http, thread, f"{thread}-0", 3, hold=3, hold_seconds=END_LIMIT_S)
    for child in cluster.processes["worker"].children():
        os.kill(child.pid, signal.SIGKILL)
    await check(http, cluster, [run])
    # a busy machine may hold up the next worker for longer than its lease as well
    done, attempts = cluster.executions(run.label), cluster.witness.attempts[run.run]
    assert done[:3] == [1, 2, 3] and done.count(1) == done.count(2) == 1 and done.count(3) > 1
    assert set(done) == set(STEPS)
    assert attempts == list(range(1, len(attempts) + 1)) and len(attempts) > 1


async def test_a_stale_worker_that_comes_back_changes_nothing(cluster: Cluster, http: aiohttp.ClientSession) -> None:
    thread = str(uuid.uuid4())
    stale = cluster.processes["worker"]
    run = await until_step(http, thread, f"{thread}-0", 3, hold=3, hold_seconds=HOLD_S)
    other = cluster.process("other-worker", SERVICES["worker"])
    processes = [stale.pid, *(child.pid for child in stale.children())]
    try:
        with standing_still(*processes, log=cluster.folder / "log.sqlite"):
            await asyncio.to_thread(other.start)
            await check(http, cluster, [run])
            paths = [f"/threads/{thread}", f"/threads/{thread}/history?limit=100", f"/threads/{thread}/runs"]
            before = [await ask(http, "GET", path) for path in paths]
    finally:
        await asyncio.to_thread(other.stop)
    # only the worker that came back is left: once it has done something else, it has also had its say on the old run
    again = await create(http, str(uuid.uuid4()), f"{thread}-1")
    await check(http, cluster, [again, run])
    assert [await ask(http, "GET", path) for path in paths] == before
    assert len(cluster.witness.finals[run.run]) == 1
