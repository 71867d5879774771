"""Reading langgraph.json and loading its objects: every accepted form, and the error of every other one."""

from __future__ import annotations

import codecs
import contextlib
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from langgraph.store.memory import InMemoryStore
from langlog_backbone.process.service import StartError
from langlog_backbone.project.config import read_project
from langlog_backbone.project.imports import imported_app, load_object
from langlog_executor.graphs.loading import GraphLoadError, Graphs, UnknownGraph, load_graphs

from tests.stack.releases import current_sdk

GRAPH = """
from typing import TypedDict
from langgraph.graph import START, StateGraph

class State(TypedDict, total=False):
    text: str

def upper(state: State) -> State:
    return {"text": state["text"].upper()}

builder = StateGraph(State).add_node("upper", upper).add_edge(START, "upper")
graph = builder.compile()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project's folder; what loading does to the process is undone."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def write(folder: Path, graphs: dict[str, Any], files: dict[str, str], **more: Any) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    config = folder / "langgraph.json"
    config.write_text(json.dumps({"graphs": graphs, "dependencies": ["."], **more}))
    return config


def load(folder: Path, entry: Any, files: dict[str, str], **more: Any) -> Graphs:
    return load_graphs(read_project(write(folder, {"g": entry}, files, **more)))


async def answer(graphs: Graphs, config: dict[str, Any] | None = None, **more: Any) -> Any:
    async with graphs.open("g", config, **more) as graph:
        return await graph.ainvoke({"text": "a"})


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="compiled"),
        pytest.param("thing = builder", id="builder"),
        pytest.param("def thing(): return graph", id="factory without parameters"),
        pytest.param("def thing(config): return builder", id="factory with a config"),
        pytest.param("async def thing(config: dict): return graph", id="async factory"),
        pytest.param(
            "import contextlib\n@contextlib.asynccontextmanager\nasync def thing(config):\n    yield graph",
            id="async context manager",
        ),
        pytest.param("async def thing(config):\n    yield graph", id="async generator"),
        pytest.param("def thing(config):\n    yield graph", id="generator"),
        pytest.param(
            "class Maker:\n    def __call__(self, config): return graph\nthing = Maker()", id="callable object"
        ),
    ],
)
async def test_every_kind_of_graph_object_runs(text: str, folder: Path) -> None:
    source = f"./g.py:{'thing' if text else 'graph'}"
    graphs = load(folder, source, {"g.py": GRAPH + "\n" + text + "\n"})
    assert await answer(graphs) == {"text": "A"}


async def test_a_functional_entrypoint_runs(folder: Path) -> None:
    text = """
        from langgraph.func import entrypoint, task

        @task
        async def shout(text):
            return text.upper()

        @entrypoint()
        async def flow(state):
            return {"text": await shout(state["text"])}
    """
    assert await answer(load(folder, "./g.py:flow", {"g.py": text})) == {"text": "A"}


async def test_a_module_of_the_project_is_named_with_dots(folder: Path) -> None:
    graphs = load(folder, "pack.inner:graph", {"pack/__init__.py": "", "pack/inner.py": GRAPH})
    assert await answer(graphs) == {"text": "A"}


async def test_the_source_folder_of_a_dependency_is_on_the_import_path(folder: Path) -> None:
    files = {"src/agent_of_mine/__init__.py": "", "src/agent_of_mine/core.py": GRAPH}
    files["g.py"] = "from agent_of_mine.core import graph"
    assert await answer(load(folder, "./g.py:graph", files)) == {"text": "A"}


async def test_a_factory_is_given_the_config_of_the_run(folder: Path) -> None:
    text = GRAPH + "\nseen = []\ndef make(config):\n    seen.append(config)\n    return graph\n"
    graphs = load(folder, "./g.py:make", {"g.py": text})
    config = {"configurable": {"style": "loud"}}
    await answer(graphs, config)
    module = next(m for m in sys.modules.values() if getattr(m, "__file__", "") == str(folder / "g.py"))
    assert module.seen == [config]


@current_sdk
async def test_a_factory_that_asks_for_the_server_runtime_is_given_it(folder: Path) -> None:
    text = GRAPH + textwrap.dedent("""
        from langgraph_sdk.runtime import ServerRuntime
        seen = []
        async def make(config: dict, runtime: ServerRuntime):
            seen.append((runtime.access_context, runtime.store, runtime.execution_runtime))
            return graph
        """)
    graphs = load(folder, "./g.py:make", {"g.py": text})
    store = InMemoryStore()
    await answer(graphs, store=store, context={"a": 1})
    async with graphs.open("g", {}, store=store, access_context="assistants.read"):
        pass
    async with graphs.open("g", access_context="assistants.read"):  # described at start, before there is a store
        pass
    module = next(m for m in sys.modules.values() if getattr(m, "__file__", "") == str(folder / "g.py"))
    (run, run_store, execution), (read, read_store, reading), (_, early_store, _) = module.seen
    assert (run, run_store, execution.context) == ("threads.create_run", store, {"a": 1})
    assert (read, read_store, reading) == ("assistants.read", store, None)
    assert await early_store.asearch(()) == []


@current_sdk
@pytest.mark.parametrize(
    ("imports", "parameters"),
    [
        ("from __future__ import annotations", "config: RunnableConfig, runtime: ServerRuntime"),
        ("from __future__ import annotations", "runtime: sdk.ServerRuntime[Context], config: RunnableConfig"),
        ("", "runtime: 'ServerRuntime[Context]', settings: 'RunnableConfig'"),
        ("", "config, runtime"),
        (
            "from langgraph_sdk.runtime import ServerRuntime as Made",
            "runtime: Made | None = None, config: dict | None = None",
        ),
        ("", "runtime: 'Optional[sdk.ServerRuntime[Context]]' = None, settings: 'Optional[RunnableConfig]' = None"),
        (
            "from __future__ import annotations",
            "cfg: None | RunnableConfig = None, run: sdk.ServerRuntime | None = None",
        ),
    ],
)
async def test_a_factory_is_understood_whose_annotations_are_imported_for_type_checkers_alone(
    folder: Path, imports: str, parameters: str
) -> None:
    first, second = (part.split(":")[0].strip() for part in parameters.split(", "))
    config = next(name for name in (first, second) if name not in ("runtime", "run"))
    runtime = first if config == second else second
    text = f"""{imports}
{GRAPH}
seen = []
def make({parameters}):
    seen.append(({config}, {runtime}.access_context))
    return graph
"""
    graphs = load(folder, "./g.py:make", {"g.py": text})
    await answer(graphs, {"configurable": {"a": 1}})
    module = next(m for m in sys.modules.values() if getattr(m, "__file__", "") == str(folder / "g.py"))
    assert module.seen == [({"configurable": {"a": 1}}, "threads.create_run")]


async def test_what_a_factory_opened_is_closed_when_the_use_ends(folder: Path) -> None:
    text = GRAPH + textwrap.dedent("""
        import contextlib
        closed = []
        @contextlib.asynccontextmanager
        async def make():
            try:
                yield graph
            finally:
                closed.append(True)
    """)
    graphs = load(folder, "./g.py:make", {"g.py": text})
    module = next(m for m in sys.modules.values() if getattr(m, "__file__", "") == str(folder / "g.py"))
    with contextlib.suppress(RuntimeError):
        async with graphs.open("g"):
            assert module.closed == []
            raise RuntimeError("the run failed")
    assert module.closed == [True]


async def test_uses_of_a_static_graph_do_not_share_a_store(folder: Path) -> None:
    graphs = load(folder, "./g.py:graph", {"g.py": GRAPH})
    first, second = InMemoryStore(), InMemoryStore()
    async with graphs.open("g", store=first) as one, graphs.open("g", store=second) as other:
        assert (one.store, other.store, one.name) == (first, second, "g")


async def test_an_unknown_graph_says_its_name(folder: Path) -> None:
    graphs = load(folder, "./g.py:graph", {"g.py": GRAPH})
    with pytest.raises(UnknownGraph, match="'zzz'"):
        async with graphs.open("zzz"):
            pass


@pytest.mark.parametrize(
    ("entry", "text", "line", "reason"),
    [
        ("./g.py:graph", "x = 1\ngraph = nothing\n", 2, "NameError: name 'nothing' is not defined"),
        ("./g.py:graph", "def f(:\n", 1, "SyntaxError"),
        ("./g.py:graph", "import sys\n\nsys.exit(3)\n", 3, "SystemExit: 3"),
        ("./g.py:graph", "import no_such_module_here\n", 1, "ModuleNotFoundError"),
        ("./g.py:zzz", "x = 1\n", None, "there is no 'zzz' in it"),
        ("./g.py:graph", "graph = 3\n", None, "'graph' is an object of type int"),
        ("./other.py:graph", "", None, "the file does not exist"),
        ("no_such_module_here:graph", "", None, "ModuleNotFoundError"),
    ],
)
def test_a_graph_that_does_not_load_says_where_and_why(
    entry: str, text: str, line: int | None, reason: str, folder: Path
) -> None:
    with pytest.raises(GraphLoadError) as caught:
        load(folder, entry, {"g.py": text})
    assert reason in str(caught.value)
    assert caught.value.line == line
    if line is not None:
        assert caught.value.file == str(folder / "g.py")
        assert f"line {line}" in str(caught.value)


@pytest.mark.parametrize("entry", ["./g.py:graph", "no_such_module_here:graph"])
def test_a_package_that_is_not_there_leads_to_where_to_install_it(entry: str, folder: Path) -> None:
    with pytest.raises(GraphLoadError, match="install what has it into the environment") as caught:
        load(folder, entry, {"g.py": "import no_such_module_here\n"})
    assert f"({sys.prefix})" in str(caught.value)


def test_langgraphs_own_server_is_nothing_to_install(folder: Path) -> None:
    with pytest.raises(GraphLoadError, match="langlog has no such module") as caught:
        load(folder, "./g.py:graph", {"g.py": "from langgraph_api.store import api_store\n"})
    assert "install" not in str(caught.value)


def test_an_auth_that_imports_langgraphs_own_server_is_refused_with_the_reason(folder: Path) -> None:
    (folder / "auth.py").write_text("from langgraph_api.auth import client\n")
    (folder / "langgraph.json").write_text('{"graphs": {"g": "./auth.py:auth"}}')
    with pytest.raises(StartError, match="langlog has no such module"):
        load_object(read_project(folder / "langgraph.json"), "auth.path", "./auth.py:auth")


NEST_ASYNCIO = """
def apply():
    raise ValueError("Can't patch loop of type <class 'uvloop.Loop'>")
"""
"""As it is where it gets no other loop."""


def test_a_module_that_patches_the_event_loop_is_told_what_to_do_instead(folder: Path) -> None:
    for file in ("g.py", "auth.py"):
        (folder / file).write_text("import nest_asyncio\n\nnest_asyncio.apply()\ngraph = auth = None\n")
    (folder / "nest_asyncio.py").write_text(NEST_ASYNCIO)
    (folder / "langgraph.json").write_text('{"graphs": {"g": "./g.py:graph"}}')

    async def both() -> list[str]:
        said = []
        for one in (
            lambda: load(folder, "./g.py:graph", {}),
            lambda: load_object(read_project(folder / "langgraph.json"), "auth.path", "./auth.py:auth"),
        ):
            with pytest.raises((GraphLoadError, StartError), match=r"Take nest_asyncio\.apply\(\) out") as caught:
                one()
            said.append(str(caught.value))
        return said

    graph, auth = uvloop.run(both())
    assert "g.py" in graph
    assert "auth.py" in auth


def test_a_module_that_a_package_lacks_is_nothing_to_install(folder: Path) -> None:
    with pytest.raises(GraphLoadError) as caught:
        load(folder, "./g.py:graph", {"g.py": "import json.no_such_module_here\n"})
    assert "install" not in str(caught.value)


def test_a_fault_in_an_imported_file_names_that_file(folder: Path) -> None:
    files = {"g.py": "\nfrom part_of_mine import graph\n", "part_of_mine.py": "\n\n1 / 0\n"}
    with pytest.raises(GraphLoadError) as caught:
        load(folder, "./g.py:graph", files)
    assert (caught.value.file, caught.value.line) == (str(folder / "part_of_mine.py"), 3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not valid JSON"),
        ("[]", "must hold a JSON object"),
        ('{"graphs": {}}', "at least one graph"),
        ('{"graphs": {"g": 3}}', "graph 'g' must be"),
        ('{"graphs": {"g": "./g.py"}}', "is not of the form"),
        ('{"graphs": {"g": "a b:graph"}}', "neither a path nor a module"),
    ],
)
def test_a_bad_project_file_is_named_in_one_line(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "langgraph.json"
    file.write_text(text)
    with pytest.raises(StartError, match=says) as caught:
        read_project(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_project_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="does not exist"):
        read_project(tmp_path / "langgraph.json")


def test_env_is_a_map_or_a_dotenv_file(folder: Path) -> None:
    (folder / "vars.env").write_text("# comment\nA=1\nB='two words'\n")
    project = read_project(write(folder, {"g": "./g.py:graph"}, {}, env="./vars.env"))
    assert project.environment() == {"A": "1", "B": "two words"}
    project = read_project(write(folder, {"g": "./g.py:graph"}, {}, env={"A": 1}))
    assert project.environment() == {"A": "1"}


def test_a_missing_env_file_is_a_warning_and_the_start_goes_on(folder: Path) -> None:
    project = read_project(write(folder, {"g": "./g.py:graph"}, {}, env="./none.env"))
    assert project.environment() == {}
    assert [line for line in project.warnings() if "none.env" in line]


def test_a_list_as_env_names_variables_of_the_shell(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGLOG_TEST_SET", "1")
    names = ["LANGLOG_TEST_SET", "LANGLOG_TEST_UNSET"]
    project = read_project(write(folder, {"g": "./g.py:graph"}, {}, env=names))
    assert project.environment() == {}
    assert project.warnings() == ["'env' names variables that are not set: LANGLOG_TEST_UNSET"]


def test_a_byte_order_mark_before_the_project_file_is_passed_over(folder: Path) -> None:
    file = write(folder, {"g": "./g.py:graph"}, {})
    file.write_bytes(codecs.BOM_UTF8 + file.read_bytes())
    assert list(read_project(file).graphs) == ["g"]


def test_a_project_with_names_like_ours_loads_and_runs(folder: Path) -> None:
    """In a process of its own, as a worker does it: the project's modules meet none of langlog's."""
    files = {
        "schemas.py": "NAME = 'my schemas'",
        "gateway.py": "NAME = 'my gateway'",
        "executor/__init__.py": "NAME = 'my executor'",
        "worker.py": "raise RuntimeError('never imported')",
        "g.py": GRAPH + "\nimport schemas, gateway, executor\nNAMES = [schemas.NAME, gateway.NAME, executor.NAME]\n",
    }
    config = write(folder, {"g": "./g.py:graph"}, files)
    script = """
        import asyncio, sys
        from pathlib import Path
        from langlog_backbone.project.config import read_project
        from langlog_executor.graphs.loading import load_graphs
        import langlog_executor.worker.process
        graphs = load_graphs(read_project(Path(sys.argv[1])))
        module = next(m for n, m in sys.modules.items() if n.startswith("langlog_project."))
        async def main():
            async with graphs.open("g") as graph:
                print(module.NAMES, await graph.ainvoke({"text": "a"}))
        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(script), str(config)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['my schemas', 'my gateway', 'my executor'] {'text': 'A'}"


@pytest.mark.parametrize("app", ["own_web_app:app", "./own_web_app.py:app"])
@pytest.mark.parametrize("imports", ["import own_web_app", ""])
def test_it_is_known_whether_graphs_import_the_module_of_the_application(folder: Path, app: str, imports: str) -> None:
    files = {"own_web_app.py": "app = object()", "g.py": f"{imports}\n{GRAPH}"}
    project = read_project(write(folder, {"g": "./g.py:graph"}, files, http={"app": app}))
    load_graphs(project)
    assert imported_app(project) is (sys.modules["own_web_app"] if imports else None)
