"""Resources of an application's lifespan are available in nodes, which run in worker processes."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from langlog_backbone.context import open_backbone
from langlog_backbone.process.service import StartError
from langlog_backbone.process.settings import Settings
from langlog_backbone.project.config import Project, read_project
from langlog_backbone.project.imports import prepare_process
from langlog_executor.graphs.loading import load_graphs
from langlog_executor.worker.lifespan import WorkerLifespan, lifespan_here, planned
from langlog_executor.worker.pool import WorkerPoolService

from tests.executor.stack import pids, running_stack

GRAPH = """
from typing import Any, TypedDict
from langgraph.graph import START, StateGraph
{imports}

class State(TypedDict, total=False):
    label: str
    seen: Any

{node}

graph = StateGraph(State).add_node("node", node).add_edge(START, "node").compile()
"""
LOOKING = "def node(state): return {'seen': None}"
ASYNC = """
from contextlib import asynccontextmanager
import db

@asynccontextmanager
async def lifespan(app):
    db.RESOURCES["it"] = "made"
    app.state.it = "made"
    yield
    db.RESOURCES["it"] = "gone"
"""
APPS = {
    "starlette": ASYNC + "from starlette.applications import Starlette\napp = Starlette(lifespan=lifespan)\n",
    "fastapi": ASYNC + "from fastapi import FastAPI\napp = FastAPI(lifespan=lifespan)\n",
    "lifespan_context": ASYNC
    + "from starlette.applications import Starlette\napp = Starlette()\napp.router.lifespan_context = lifespan\n",
    "wrapped": ASYNC
    + "from starlette.applications import Starlette\ninner = Starlette(lifespan=lifespan)\n"
    + "async def app(scope, receive, send):\n    await inner(scope, receive, send)\n",
    "on_event": "from fastapi import FastAPI\nimport db\napp = FastAPI()\n"
    "@app.on_event('startup')\nasync def up():\n    db.RESOURCES['it'] = 'made'\n"
    "@app.on_event('shutdown')\ndef down():\n    db.RESOURCES['it'] = 'gone'\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project's folder; what loading does to the process is undone."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def write(folder: Path, files: dict[str, str], http: dict[str, Any] | None = None, **more: Any) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    file = folder / "langgraph.json"
    sections = {} if http is None else {"http": http}
    file.write_text(json.dumps({"graphs": {"g": "./g.py:graph"}, "dependencies": ["."], **sections, **more}))
    return file


def loaded(folder: Path, files: dict[str, str], http: dict[str, Any] | None = None, **more: Any) -> Project:
    project = read_project(write(folder, files, http, **more))
    load_graphs(project)
    return project


@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize(
    ("reference", "imports"),
    [
        ("web_of_test:app", "import db"),
        ("./web_of_test.py:app", "import db"),
        ("./web_of_test.py:app", "import web_of_test, db"),
        ("./web_of_test.py:app", "import db\ndef later(): from web_of_test import app"),
    ],
)
@pytest.mark.filterwarnings("ignore:(?s).*on_event is deprecated")
async def test_what_a_lifespan_leaves_in_a_module_of_the_graphs_is_there_and_goes(
    folder: Path, app: str, reference: str, imports: str
) -> None:
    files = {
        "db.py": "RESOURCES = {}",
        "web_of_test.py": APPS[app],
        "g.py": GRAPH.format(imports=imports, node=LOOKING),
    }
    project = loaded(folder, files, {"app": reference})
    resources = sys.modules["db"].RESOURCES
    async with lifespan_here(project, 60):
        assert resources["it"] == "made"
        if app in ("starlette", "fastapi"):
            assert sys.modules["web_of_test"].app.state.it == "made", "the application that nodes import"
    assert resources["it"] == "gone"


async def test_an_application_that_a_node_imports_when_it_runs_is_the_one_whose_lifespan_ran(folder: Path) -> None:
    app = ASYNC.replace("import db", "").replace('db.RESOURCES["it"]', "app.state.of_lifespan")
    app += "from starlette.applications import Starlette\napp = Starlette(lifespan=lifespan)\n"
    node = "def node(state):\n    from inner_of_test.web import app\n    return {'seen': app.state.of_lifespan}"
    files = {"inner_of_test/web.py": app, "g.py": GRAPH.format(imports="", node=node)}
    project = loaded(folder, files, {"app": "./inner_of_test/web.py:app"})
    graph = next(x.graph for x in list(sys.modules.values()) if getattr(x, "__file__", "") == str(folder / "g.py"))
    async with lifespan_here(project, 60):
        assert (await graph.ainvoke({}))["seen"] == "made"


@pytest.mark.parametrize(
    ("files", "runs"),
    [
        ({"g.py": "import other"}, False),
        ({"g.py": "import pack.inner", "pack/__init__.py": "", "web_of_test.py": "import pack, other"}, False),
        ({"g.py": "import pack.inner", "web_of_test.py": "import other"}, False),
        ({"g.py": "import pack.inner", "web_of_test.py": "from pack import inner"}, True),
        ({"g.py": "import pack.inner", "web_of_test.py": "from startup import lifespan"}, True),
        (
            {
                "g.py": "from pack.inner import *",
                "web_of_test.py": "from pack import (  # what is shared\n    inner as i,\n)",
            },
            True,
        ),
        (
            {"g.py": "import pack.inner", "web_of_test.py": "import pack.inner  # serves files alone", "bare": "yes"},
            False,
        ),
    ],
)
def test_the_lifespan_stays_in_the_gateway_where_graphs_can_have_nothing_of_it(
    folder: Path, files: dict[str, str], runs: bool
) -> None:
    marker = "" if files.pop("bare", "") else "\nlifespan = None"
    files = {
        "other.py": "x = 1",
        "pack/__init__.py": "",
        "pack/inner.py": "POOL = None",
        "startup.py": "from pack import inner\nlifespan = None",
        **files,
        "web_of_test.py": files.get("web_of_test.py", "") + f"{marker}\napp = print",
        "g.py": GRAPH.format(imports=files["g.py"], node=LOOKING),
    }
    plan = planned(loaded(folder, files, {"app": "web_of_test:app"}))
    assert (plan is not None) == runs
    assert "web_of_test" not in sys.modules, "sources are read, not imported"
    if plan is not None:
        assert not plan.needed and str(Path("pack", "inner.py")) in plan.why


def test_the_key_decides(folder: Path) -> None:
    files = {"web_of_test.py": "app = print", "g.py": GRAPH.format(imports="import web_of_test", node=LOOKING)}
    file = write(folder, files)
    http: dict[str, Any] = {"app": "web_of_test:app"}
    load_graphs(read_project(file))
    for chosen, app in ((None, "web_of_test:app"), (True, "web_of_test:app"), (False, None)):
        plan = planned(
            read_project(write(folder, files, http if chosen is None else {**http, "worker_lifespan": chosen}))
        )
        assert (plan and plan.app) == app
    for wrong in ({**http, "worker_lifespan": "yes"}, {"worker_lifespan": True}):
        with pytest.raises(StartError, match=r"http\.worker_lifespan"):
            planned(read_project(write(folder, files, wrong)))
    with pytest.raises(StartError, match="worker_lifespan"):
        planned(read_project(write(folder, files, worker_lifespan=True)))


@pytest.mark.parametrize(
    ("made", "empty"),
    [("FastAPI()", True), ("Starlette()", True), ("FastAPI(lifespan=print)", False), ("print", False)],
)
def test_an_application_without_a_lifespan_leaves_workers_as_they_are(folder: Path, made: str, empty: bool) -> None:
    app = f"from fastapi import FastAPI\nfrom starlette.applications import Starlette\napp = {made}\n"
    files = {"web_of_test.py": app, "g.py": GRAPH.format(imports="import web_of_test", node=LOOKING)}
    project = loaded(folder, files, {"app": "web_of_test:app"})
    plan = planned(project)
    assert plan is not None and WorkerLifespan(project, plan).empty == empty


async def test_a_hook_of_its_own_prepares_workers_without_an_application(folder: Path) -> None:
    hook = """
        from contextlib import asynccontextmanager
        SEEN = []

        @asynccontextmanager
        async def prepare():
            SEEN.append("up")
            yield
            SEEN.append("down")

        def wrong(app): ...

        @asynccontextmanager
        async def broken():
            raise OSError("no database")
            yield
    """
    files = {"hooks_of_test.py": hook, "g.py": GRAPH.format(imports="import hooks_of_test", node=LOOKING)}
    project = loaded(folder, files, worker_lifespan="./hooks_of_test.py:prepare")
    seen = sys.modules["hooks_of_test"].SEEN
    async with lifespan_here(project, 60):
        assert seen == ["up"]
    assert seen == ["up", "down"]
    for name, why in (("wrong", "'app'"), ("missing", "missing"), ("broken", "OSError: no database")):
        project = read_project(write(folder, files, worker_lifespan=f"./hooks_of_test.py:{name}"))
        with pytest.raises(StartError, match=why) as raised:
            async with lifespan_here(project, 60):
                pytest.fail("it started")
        assert "\n" not in str(raised.value)


async def test_a_start_up_that_fails_stops_workers_only_where_graphs_import_the_application(folder: Path) -> None:
    app = ASYNC.replace('app.state.it = "made"', "raise OSError('cannot connect')")
    app += "from starlette.applications import Starlette\napp = Starlette(lifespan=lifespan)\n"
    files = {"db.py": "RESOURCES = {}", "web_of_test.py": app}
    files["g.py"] = GRAPH.format(imports="import db", node=LOOKING)
    with structlog.testing.capture_logs() as said:
        async with lifespan_here(loaded(folder, files, {"app": "web_of_test:app"}), 60):
            pass
    (line,) = [line for line in said if line["event"] == "worker.lifespan_failed"]
    assert "cannot connect" in line["error"]
    files["g.py"] = GRAPH.format(imports="import web_of_test", node=LOOKING)
    with pytest.raises(StartError) as raised:
        async with lifespan_here(loaded(folder, files, {"app": "web_of_test:app"}), 60):
            pytest.fail("it started")
    async with lifespan_here(read_project(folder / "langgraph.json"), 60, needed=False):
        pass  # a replay, which reaches no server, goes on without
    assert "OSError: cannot connect" in str(raised.value) and "http.worker_lifespan" in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_one_that_takes_too_long_is_said_so(folder: Path) -> None:
    app = ASYNC.replace('app.state.it = "made"', "import asyncio; await asyncio.Event().wait()")
    app += "from starlette.applications import Starlette\napp = Starlette(lifespan=lifespan)\n"
    files = {"db.py": "RESOURCES = {}", "web_of_test.py": app}
    files["g.py"] = GRAPH.format(imports="import web_of_test", node=LOOKING)
    project = loaded(folder, files, {"app": "web_of_test:app"})
    plan = planned(project)
    assert plan is not None
    prepare_process(project)
    running = WorkerLifespan(project, plan)
    with pytest.raises(StartError, match="did not start within 0 s"):
        await running.start(0.01)


RESOURCES = """
import os
from contextlib import asynccontextmanager
from pathlib import Path
import aiohttp, asyncpg
from fastapi import FastAPI

POOL = None
FILE = Path(__file__).parent / "lifespan.log"


def note(what):
    with FILE.open("a") as file:
        file.write(f"{what} {os.getpid()}\\n")


@asynccontextmanager
async def lifespan(app):
    global POOL
    POOL = await asyncpg.create_pool(os.environ["DATABASE_URI"], min_size=1, max_size=3)
    async with aiohttp.ClientSession() as app.state.http:
        app.state.lines = open(__file__)
        note("up")
        yield
        app.state.lines.close()
    await POOL.close()
    note("down")


app = FastAPI(lifespan=lifespan)
"""
USING = """
import asyncio

async def ask(number):
    return await resources_of_test.POOL.fetchval("SELECT $1::int", number)

async def node(state):
    numbers = await asyncio.gather(*(ask(n) for n in range(5)))
    owner = resources_of_test.app.state.http._loop is asyncio.get_running_loop()
    return {"seen": [numbers, owner]}
"""
ALSO_SYNC = """
def line(state):
    return {"seen": [*state["seen"], bool(resources_of_test.app.state.lines.readable())]}
"""


async def test_nodes_use_what_is_bound_to_the_loop_and_it_is_let_go_at_stop_and_reload(
    settings: Settings, tmp_path: Path
) -> None:
    graph = GRAPH.format(imports="import resources_of_test", node=USING + ALSO_SYNC)
    graph = graph.replace(
        'add_edge(START, "node")', 'add_node("line", line).add_edge(START, "node").add_edge("node", "line")'
    )
    folder = tmp_path / "project"
    file = write(folder, {"resources_of_test.py": RESOURCES, "g.py": graph}, {"app": "./resources_of_test.py:app"})
    async with running_stack(msgspec.structs.replace(settings, project=file)) as stack:

        def happened() -> list[str]:
            return (folder / "lifespan.log").read_text().split()[::2]

        for _ in range(2):
            run = await stack.start("g")
            kind, body = await stack.end(run)
            assert (kind, body["values"]["seen"]) == ("run.succeeded.v1", [[0, 1, 2, 3, 4], True, True])
        assert happened() == ["up"]
        await stack.pool.reload()  # the former worker may still be on its way out
        assert happened()[:2] == ["up", "up"]
        kind, body = await stack.end(await stack.start("g"))
        assert kind == "run.succeeded.v1"
    assert sorted(happened()) == ["down", "down", "up", "up"]


@pytest.mark.parametrize("isolated", [True, False])
async def test_graphs_share_one_event_loop_where_the_project_wants_it(
    settings: Settings, tmp_path: Path, isolated: bool
) -> None:
    """Objects of an event loop, such as the connections of a client, can then be used by several graphs."""
    where = "import asyncio\nasync def node(state): return {'seen': id(asyncio.get_running_loop())}"
    graphs = {"g": "./g.py:graph", "h": "./g.py:graph"}
    file = write(tmp_path / "project", {"g.py": GRAPH.format(imports="", node=where)}, graphs=graphs)
    wanted = msgspec.structs.replace(settings, project=file, isolated_loops=isolated)
    async with running_stack(wanted) as stack:
        ends = [await stack.end(await stack.start(graph_id)) for graph_id in ("g", "h", "g")]
    assert [kind for kind, _ in ends] == ["run.succeeded.v1"] * 3
    assert len({body["values"]["seen"] for _, body in ends}) == (2 if isolated else 1)


async def test_a_worker_whose_lifespan_fails_is_one_error_of_the_start(settings: Settings, tmp_path: Path) -> None:
    broken = RESOURCES.replace('note("up")', 'raise OSError("no such database")')
    graph = GRAPH.format(imports="import resources_of_test", node=LOOKING)
    files = {"resources_of_test.py": broken, "g.py": graph}
    file = write(tmp_path / "project", files, {"app": "resources_of_test:app"})
    async with open_backbone(msgspec.structs.replace(settings, project=file)) as backbone:
        pool = WorkerPoolService(backbone)
        try:
            with pytest.raises(StartError) as raised:
                await pool.start()
        finally:
            await pool.stop()
    assert "OSError: no such database" in str(raised.value) and "\n" not in str(raised.value)


async def test_what_this_process_imports_beside_the_first_worker_may_stop_the_start(
    settings: Settings, tmp_path: Path
) -> None:
    file = write(tmp_path / "project", {"g.py": GRAPH.format(imports="", node=LOOKING)})

    def beside() -> None:
        raise StartError("the gateway's part does not load")

    async with open_backbone(msgspec.structs.replace(settings, project=file)) as backbone:
        pool = WorkerPoolService(backbone, beside)
        with pytest.raises(StartError, match="the gateway's part"):
            await pool.start()
        assert pids(pool) == []
        await pool.stop()
