"""Layouts of projects in the wild: what `langgraph dev` imports, a worker imports. Each case has a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

NODES = "def speak(state):\n    return {'out': 'ok'}\n"
STATE = "from typing_extensions import TypedDict\n\nclass S(TypedDict, total=False):\n    out: str\n"
GRAPH = """
{imports}
from typing_extensions import TypedDict
from langgraph.graph import START, StateGraph

class S(TypedDict, total=False):
    out: str

graph = StateGraph(S).add_node("speak", speak).add_edge(START, "speak").compile()
"""
FORKS = """
import asyncio, json, os, sys, traceback
from pathlib import Path
from langlog_backbone.project.config import read_project
from langlog_executor.graphs.loading import load_graphs

def case(config):
    graphs = load_graphs(read_project(Path(config)))
    async def main():
        async with graphs.open("g") as graph:
            print((await graph.ainvoke({}))["out"])
    asyncio.run(main())

def alone(folder, config, working_folder):
    os.chdir(working_folder)
    for stream, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{folder}/{name}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    try:
        case(config)
        code = 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        alone(*json.loads(line))
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
"""A process that has imported the modules of all cases and forks for each case: the imports take seconds."""


class Done(NamedTuple):
    code: int
    out: str
    err: str


class Forks:
    """Runs cases, each in a process of its own that has loaded no other project."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(
        self,
        folder: Path,
        graph: str,
        files: dict[str, str],
        dependencies: Any = (".",),
        working_folder: Path | None = None,
    ) -> Done:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        config = folder / "langgraph.json"
        config.write_text(json.dumps({"graphs": {"g": graph}, "dependencies": dependencies}))
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(
            json.dumps([str(folder), str(config), str(working_folder or folder)]), file=self._process.stdin, flush=True
        )
        code = int(self._process.stdout.readline())
        return Done(code, (folder / "out.txt").read_text(), (folder / "err.txt").read_text())


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    command = [sys.executable, "-P", "-c", FORKS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Forks(process)


def graph(imports: str) -> str:
    return GRAPH.replace("{imports}", imports)


LAYOUTS: dict[str, tuple[str, dict[str, str], list[str]]] = {
    "the project's folder is importable whatever the dependencies are": (
        "./my_app/agent.py:graph",
        {
            "my_app/__init__.py": "",
            "my_app/agent.py": graph("from my_app.words import speak"),
            "my_app/words.py": NODES,
        },
        ["./my_app"],
    ),
    "a folder without a dot": (
        "./graphs/agent.py:graph",
        {"graphs/agent.py": graph("from words import speak"), "lib/words.py": NODES},
        ["lib"],
    ),
    "packages alone": (
        "./my_app/agent.py:graph",
        {"my_app/agent.py": graph("from my_app.words import speak"), "my_app/words.py": NODES},
        ["langchain_core"],
    ),
    "src below a folder without a dot": (
        "./nested/src/pkg/g.py:graph",
        {
            "nested/src/pkg/__init__.py": "",
            "nested/src/pkg/g.py": graph("from pkg.nodes import speak"),
            "nested/src/pkg/nodes.py": NODES,
        },
        ["nested"],
    ),
    "a sibling by a relative import": (
        "./src/my_agent/graph.py:graph",
        {
            "src/my_agent/__init__.py": "",
            "src/my_agent/graph.py": graph("from .nodes import speak"),
            "src/my_agent/nodes.py": NODES,
        },
        ["."],
    ),
    "a parent by a relative import": (
        "./src/my_agent/graphs/main.py:graph",
        {
            "src/my_agent/__init__.py": "",
            "src/my_agent/graphs/__init__.py": "",
            "src/my_agent/graphs/main.py": graph("from ..nodes import speak"),
            "src/my_agent/nodes.py": NODES,
        },
        ["."],
    ),
    "a package that no dependency leads to": (
        "./services/bot/app/graph.py:graph",
        {
            "services/bot/app/__init__.py": "",
            "services/bot/app/graph.py": graph("from .nodes import speak"),
            "services/bot/app/nodes.py": NODES,
        },
        ["."],
    ),
    "a relative import in a folder without __init__": (
        "./agent/graph.py:graph",
        {"agent/graph.py": graph("from .nodes import speak"), "agent/nodes.py": NODES},
        ["."],
    ),
    "a folder without __init__ that has a module of its own name": (
        "./agent/agent.py:graph",
        {"agent/agent.py": graph("from agent.words import speak"), "agent/words.py": NODES},
        ["."],
    ),
    "a module called like a folder above its own": (
        "./src/agent/nodes/graph.py:graph",
        {
            "src/agent/nodes/graph.py": graph("from agent.nodes.agent import speak"),
            "src/agent/nodes/agent.py": "from agent.words import speak",
            "src/agent/words.py": NODES,
        },
        ["."],
    ),
    "a sibling of a module that is called like its folder": (
        "./agent/agent.py:graph",
        {"agent/agent.py": graph("from words import speak"), "agent/words.py": NODES},
        ["."],
    ),
    "a module that is called like its folder, and the folder a dependency": (
        "./agent/graph.py:graph",
        {"agent/graph.py": graph("from agent import speak"), "agent/agent.py": NODES},
        ["./agent"],
    ),
    "an __init__ beside langgraph.json": (
        "./graph.py:graph",
        {"__init__.py": "", "graph.py": graph("from .nodes import speak"), "nodes.py": NODES},
        ["."],
    ),
    "a package that is called like an installed one": (
        "./src/yaml/graph.py:graph",
        {
            "src/yaml/__init__.py": "",
            "src/yaml/graph.py": graph("from .nodes import speak"),
            "src/yaml/nodes.py": NODES,
        },
        ["."],
    ),
    "the graph stands in the package itself": (
        "./src/my_agent/__init__.py:graph",
        {"src/my_agent/__init__.py": graph("from .nodes import speak"), "src/my_agent/nodes.py": NODES},
        ["."],
    ),
    "the package's __init__ imports what is not installed": (
        "./my_app/agent.py:graph",
        {
            "my_app/__init__.py": "import a_package_that_nobody_installed",
            "my_app/agent.py": graph("from nodes import speak"),
            "my_app/nodes.py": NODES,
        },
        ["."],
    ),
    "a folder whose name is no identifier": (
        "./my-agent/graph.py:graph",
        {
            "my-agent/__init__.py": "",
            "my-agent/graph.py": graph("from .nodes import speak"),
            "my-agent/nodes.py": NODES,
        },
        ["."],
    ),
    "a dependency that is a package": (
        "./bot/g.py:graph",
        {
            "bot/g.py": graph("from shared.nodes import speak"),
            "libs/shared/__init__.py": "",
            "libs/shared/nodes.py": NODES,
        },
        ["./bot", "./libs/shared"],
    ),
    "a dependency that is not there": ("./g.py:graph", {"g.py": graph(NODES)}, [".", "./gone"]),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_loads_and_runs(name: str, tmp_path: Path, forks: Forks) -> None:
    done = forks.run(tmp_path, *LAYOUTS[name])
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == "ok"


@pytest.mark.parametrize("dependencies", [["."], []])
def test_a_project_that_is_a_package_is_imported_by_the_name_of_its_folder(
    dependencies: list[str], tmp_path: Path, forks: Forks
) -> None:
    files = {
        "__init__.py": "",
        "hello.py": "from my_bot.inner.agent import graph",
        "inner/__init__.py": "",
        "inner/agent.py": graph(NODES),
    }
    done = forks.run(tmp_path / "my_bot", "./hello.py:graph", files, dependencies)
    assert done.code == 0, done.err


@pytest.mark.parametrize("own", ["langgraph/__init__.py", "langgraph.py"])
def test_a_gateway_imports_langgraph_beside_a_folder_or_file_of_that_name(own: str, tmp_path: Path) -> None:
    """Gateways have not imported langgraph, an installed package without ``__init__.py``: Python prefers one with it, and a module."""
    source = "./langgraph/auth.py" if own.startswith("langgraph/") else "./auth.py"
    for name, text in {own: "", source: "from langgraph.graph import START\nauth = START"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"g": "./g.py:graph"}, "dependencies": ["."]}))
    code = (
        "import sys\nfrom pathlib import Path\nfrom langlog_backbone.project.config import read_project\n"
        "from langlog_backbone.project.imports import load_object\n"
        f"print(load_object(read_project(Path({str(config)!r})), 'auth.path', {source + ':auth'!r}))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "__start__\n", done.stderr


def test_a_project_below_the_working_folder_imports_what_is_beside_it(tmp_path: Path, forks: Forks) -> None:
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "words.py").write_text(NODES)
    files = {"g.py": graph("from common.words import speak")}
    done = forks.run(tmp_path / "apps" / "bot", "./g.py:graph", files, working_folder=tmp_path)
    assert done.code == 0, done.err


def test_a_folder_beside_the_working_folder_is_not_imported(tmp_path: Path, forks: Forks) -> None:
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "words.py").write_text(NODES)
    files = {"g.py": graph("from common.words import speak")}
    done = forks.run(tmp_path / "bot", "./g.py:graph", files)
    assert done.code == 1
    assert "No module named 'common'" in done.err


def test_classes_of_a_relative_import_are_those_of_the_absolute_one(tmp_path: Path, forks: Forks) -> None:
    files = {
        "src/my_agent/__init__.py": "",
        "src/my_agent/state.py": STATE,
        "src/my_agent/graph.py": graph(
            "from .state import S as ONE\nfrom my_agent.state import S as TWO\nassert ONE is TWO\n" + NODES
        ),
    }
    done = forks.run(tmp_path, "./src/my_agent/graph.py:graph", files)
    assert done.code == 0, done.err


@pytest.mark.parametrize("name", ["graph.ts", "graph.mjs", "graph.tsx"])
def test_a_graph_in_javascript_is_not_imported_as_python(name: str, tmp_path: Path, forks: Forks) -> None:
    done = forks.run(tmp_path, f"./{name}:graph", {name: "export const graph = 1"})
    assert done.code == 1
    assert "UnknownGraph" in done.err and "SyntaxError" not in done.err, "the graph host has it, not Python's loader"
