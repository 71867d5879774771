"""All services with clocks that differ: what was acknowledged is there, in order, and what waits for a time waits for that long."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.loss.cluster import SERVICES, Cluster, running_cluster
from tests.stack import moved_clock
from tests.stack.server import kafka_env

DAY_S = 86_400.0
MOVED_S = {
    "worker": -90.0,
    "second-worker": DAY_S,
    "decider": 2.0,
    "projector": -2.0,
    "scheduler": -DAY_S,
    "gateway": 0.5,
}
STEPPED_S = {"worker": 90.0, "second-worker": -DAY_S, "decider": -DAY_S, "scheduler": DAY_S, "gateway": -90.0}
"""Process -> its clock's offset from the middle of the test on."""
THREADS, RUNS = 4, 6
LIMIT_S = 240.0
DELAY_S = 3
STEPS = range(1, 6)

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module", params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def log_env(request: pytest.FixtureRequest) -> dict[str, str]:
    return kafka_env(request.getfixturevalue("kafka")) if request.param == "kafka" else {}


def clock_of(cluster: Cluster, name: str) -> Path:
    return cluster.counts.parent / f"{name}.clock"


def arrange(cluster: Cluster) -> None:
    cluster.processes["second-worker"] = cluster.process("second-worker", SERVICES["worker"])
    for name, moved_s in MOVED_S.items():
        clock_of(cluster, name).write_text(str(moved_s))
        env = cluster.processes[name].env
        env["LANGLOG_TEST_CLOCK"] = str(clock_of(cluster, name))
        env["PYTHONPATH"] = moved_clock.FOLDER


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(log_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path_factory.mktemp("clocks"), log_env, arrange) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def http(cluster: Cluster) -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=LIMIT_S)
    async with aiohttp.ClientSession(base_url=cluster.url, timeout=timeout, raise_for_status=True) as session:
        yield session


async def ask(http: aiohttp.ClientSession, method: str, path: str, body: Any = None) -> Any:
    async with http.request(method, path, json=body) as answer:
        return await answer.json()


async def run(http: aiohttp.ClientSession, thread: str, label: str, **more: Any) -> Any:
    body = {
        "assistant_id": "steps",
        "input": {"label": label, "seconds": 0},
        "if_not_exists": "create",
        "multitask_strategy": "enqueue",
        **more,
    }
    return await ask(http, "POST", f"/threads/{thread}/runs/wait", body)


async def test_every_acknowledged_update_is_there_whatever_the_clocks_say(
    cluster: Cluster, http: aiohttp.ClientSession
) -> None:
    async def updates(thread: str, numbers: range) -> None:
        for n in numbers:
            await run(http, thread, f"{thread}-{n}")
            await ask(http, "POST", f"/threads/{thread}/state", {"values": {"trail": [f"by hand {n}"]}})

    threads = [str(uuid.uuid4()) for _ in range(THREADS)]
    await asyncio.gather(*(updates(thread, range(RUNS // 2)) for thread in threads))
    for name, moved_s in STEPPED_S.items():
        clock_of(cluster, name).write_text(str(moved_s))
    await asyncio.gather(*(updates(thread, range(RUNS // 2, RUNS)) for thread in threads))

    made_at: list[datetime] = []
    for thread in threads:
        expected: list[str] = []
        for n in range(RUNS):
            expected += [*(f"{thread}-{n}:{step}" for step in STEPS), f"by hand {n}"]
        state = await ask(http, "GET", f"/threads/{thread}/state")
        assert state["values"]["trail"] == expected
        assert (await ask(http, "GET", f"/threads/{thread}"))["values"]["trail"] == expected
        history = await ask(http, "GET", f"/threads/{thread}/history?limit=1000")
        assert [len(one["values"].get("trail", [])) for one in history] == sorted(
            (len(one["values"].get("trail", [])) for one in history), reverse=True
        )
        ids = [one["checkpoint"]["checkpoint_id"] for one in history]
        assert ids == sorted(ids, reverse=True), "clients that sort ids see the same order"
        middle = len(ids) // 2
        page = {"limit": 1000, "before": {"configurable": {"checkpoint_id": ids[middle]}}}
        older = await ask(http, "POST", f"/threads/{thread}/history", page)
        assert [one["checkpoint"]["checkpoint_id"] for one in older] == ids[middle + 1 :]
        runs = await ask(http, "GET", f"/threads/{thread}/runs")
        assert [entry["run_id"] for entry in reversed(runs)] == cluster.witness.order[thread]
        made_at += [datetime.fromisoformat(one["created_at"]) for one in history]
    assert (max(made_at) - min(made_at)).total_seconds() > DAY_S, "workers of both clocks had a part in it"


async def test_a_delayed_run_waits_for_its_delay_and_no_longer(http: aiohttp.ClientSession, cluster: Cluster) -> None:
    thread = str(uuid.uuid4())
    began = time.monotonic()
    behind = asyncio.create_task(run(http, thread, f"{thread}-0", after_seconds=DELAY_S))
    # a run that ends meanwhile, by a worker that believes in another day, does not start it
    assert (await run(http, str(uuid.uuid4()), f"{thread}-other"))["trail"]
    values = await behind
    assert time.monotonic() - began >= DELAY_S
    assert values["trail"] == [f"{thread}-0:{step}" for step in STEPS]
    [made] = await ask(http, "GET", f"/threads/{thread}/runs")
    assert abs(datetime.fromisoformat(made["created_at"]).timestamp() - time.time()) < LIMIT_S, "Postgres' clock counts"
