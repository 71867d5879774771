"""Graphs of a worker share an event loop: clients of one module work in all of them, and a graph that blocks stops no other."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from langlog_backbone.operation.workers import queue_and_workers
from langlog_backbone.redis.queries import QUERIES, QueryClient
from langlog_backbone.redis.replies import ReplyRouter

from tests.executor.stack import LIMIT_S, Run, Stack, running_stack
from tests.stack.fixtures import MakeSettings

CLIENTS = """
import asyncio, os
import asyncpg, httpx

LOCK = asyncio.Lock()
HTTP = httpx.AsyncClient()
POOL = None


async def use(url):
    global POOL
    async with LOCK:
        if POOL is None:
            POOL = await asyncpg.create_pool(os.environ["DATABASE_URI"], min_size=1, max_size=1)
    return [(await HTTP.get(url)).text, await POOL.fetchval("SELECT 'row'")]
"""
GRAPHS = """
import asyncio, os, time
from pathlib import Path
from typing import Any, TypedDict
from langgraph.graph import START, StateGraph
import shared_clients_of_test

HERE = Path(__file__).parent


class State(TypedDict, total=False):
    label: str
    url: str
    seen: Any


async def use(state):
    return {"seen": await asyncio.gather(*(shared_clients_of_test.use(state["url"]) for _ in range(5)))}


async def where(state):
    return {"seen": os.getpid()}


async def block(state):
    (HERE / f"{state['label']}.begun").write_text(str(os.getpid()))
    while not (HERE / "go").exists():
        time.sleep(0.005)


def graph(node):
    return StateGraph(State).add_node("node", node).add_edge(START, "node").compile()


async def patch(state):
    asyncio.Task = asyncio.tasks._CTask = asyncio.tasks.Task = asyncio.tasks._PyTask
    asyncio.Future = asyncio.futures._CFuture = asyncio.futures.Future = asyncio.futures._PyFuture


first, second, where, block, patch = graph(use), graph(use), graph(where), graph(block), graph(patch)
"""
NAMES = ("first", "second", "where", "block", "patch")
STATE = b'{"graph_id": "where", "thread_id": "4b1b2a3e-0000-4000-8000-000000000000"}'
"""A query for the state of a thread that has none."""
LIFESPAN = """
import contextlib

@contextlib.asynccontextmanager
async def prepare():
    yield
"""

pytestmark = pytest.mark.parametrize("log_kind", ["sqlite"])


def project(folder: Path, **more: Any) -> Path:
    folder.mkdir()
    (folder / "shared_clients_of_test.py").write_text(CLIENTS)
    (folder / "graphs_of_test.py").write_text(GRAPHS)
    (folder / "resources.py").write_text(LIFESPAN)
    file = folder / "langgraph.json"
    graphs = {name: f"./graphs_of_test.py:{name}" for name in NAMES}
    file.write_text(json.dumps({"dependencies": ["."], "graphs": graphs, **more}))
    return file


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="answer")

    application = web.Application()
    application.router.add_get("/", answer)
    async with TestServer(application) as server:
        yield str(server.make_url("/"))


async def blocked(stack: Stack) -> tuple[Run, int]:
    """A run that blocks its worker's loop, and the worker's process id."""
    run = await stack.start("block")
    file = stack.folder / f"{run.thread_id}.begun"
    async with asyncio.timeout(LIMIT_S):
        while not (file.exists() and file.read_text()):
            await asyncio.sleep(0.01)  # the node is in another process, which tells only by the file
    return run, int(file.read_text())


async def succeeded(stack: Stack, run: Run) -> Any:
    kind, body = await stack.end(run)
    assert kind == "run.succeeded.v1", body
    return body["values"].get("seen")


async def test_clients_of_a_module_work_in_several_graphs(
    make_settings: MakeSettings, tmp_path: Path, url: str
) -> None:
    settings = make_settings(project=project(tmp_path / "project"), workers=1)
    async with running_stack(settings) as stack:
        for _ in range(2):
            runs = [await stack.start(name, input={"url": url}) for name in ("first", "second", "first", "second")]
            for run in runs:
                assert await succeeded(stack, run) == [["answer", "row"]] * 5


async def test_a_graph_that_replaces_classes_of_asyncio_stops_no_run(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    """As nest_asyncio does, before it refuses the loop."""
    settings = make_settings(project=project(tmp_path / "project"), workers=1)
    async with running_stack(settings) as stack:
        for name in ("patch", "where", "patch", "where"):
            await succeeded(stack, await stack.start(name))


async def test_a_graph_that_blocks_for_ever_stops_no_run_of_its_worker(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(project=project(tmp_path / "project"), workers=1)
    async with running_stack(settings) as stack:
        blocking, pid = await blocked(stack)
        try:
            runs = [await stack.start("where") for _ in range(20)]
            assert {await succeeded(stack, run) for run in runs} == {pid}
            assert not blocking.ended.done()
        finally:
            (stack.folder / "go").touch()
        await succeeded(stack, blocking)
        assert await succeeded(stack, await stack.start("where")) == pid


async def test_a_worker_whose_loop_is_blocked_leaves_runs_to_others(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    """Here nothing takes the work of the loop over: resources of a lifespan belong to it."""
    file = project(tmp_path / "project", worker_lifespan="./resources.py:prepare")
    settings = make_settings(project=file, workers=2, lease_s=3.0)
    async with running_stack(settings) as stack:
        blocking, pid = await blocked(stack)
        waiting = []
        try:
            async with asyncio.timeout(LIMIT_S):
                while not await seen_blocked(stack):  # reported with the lease; not before a run waits for it
                    waiting.append(await stack.start("where"))
            runs = [await stack.start("where") for _ in range(20)]
            (other,) = {await succeeded(stack, run) for run in runs}
            assert other != pid
        finally:
            (stack.folder / "go").touch()
        for run in (blocking, *waiting):
            await succeeded(stack, run)
        async with asyncio.timeout(LIMIT_S):
            while await succeeded(stack, await stack.start("where")) != pid:
                pass  # it claims again


async def test_a_worker_whose_loop_is_blocked_leaves_queries_to_others(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    file = project(tmp_path / "project", worker_lifespan="./resources.py:prepare")
    async with running_stack(make_settings(project=file, workers=2)) as stack, asking(stack) as queries:
        blocking, _ = await blocked(stack)
        try:
            for _ in range(4):  # at first that worker does not know yet: it puts back what waits for its loop
                asked = [queries.query("state", STATE, LIMIT_S) for _ in range(8)]
                assert {answer.status for answer in await asyncio.gather(*asked)} == {200}
            assert not blocking.ended.done()
        finally:
            (stack.folder / "go").touch()
        await succeeded(stack, blocking)


async def test_a_query_that_waits_while_all_loops_are_blocked_is_answered_once_one_is_free(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    file = project(tmp_path / "project", worker_lifespan="./resources.py:prepare")
    async with running_stack(make_settings(project=file, workers=1)) as stack, asking(stack) as queries:
        blocking, _ = await blocked(stack)
        asked = asyncio.create_task(queries.query("state", STATE, LIMIT_S))
        waiting = stack.backbone.pipe.key(QUERIES)
        try:
            async with asyncio.timeout(LIMIT_S):
                while not await stack.backbone.pipe.call("LLEN", waiting):
                    await asyncio.sleep(0.01)  # the worker puts it back, and tells only by that
        finally:
            (stack.folder / "go").touch()
        assert (await asked).status == 200
        await succeeded(stack, blocking)


@contextlib.asynccontextmanager
async def asking(stack: Stack) -> AsyncIterator[QueryClient]:
    replies = ReplyRouter(stack.backbone.bus)
    await replies.start()
    yield QueryClient(stack.backbone.pipe, replies)


async def seen_blocked(stack: Stack) -> bool:
    view = await queue_and_workers(stack.backbone.pipe)
    return any("block" in worker.about.blocked for worker in view.workers if worker.about is not None)
