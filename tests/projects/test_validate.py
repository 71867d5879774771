"""`langlog validate`: each fault of a langgraph.json is found, named by its key, and nothing of the project is executed."""

from __future__ import annotations

import json
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from langgraph_cli.schemas import Config
from langlog.main import cli
from langlog.projects.check import READERS, check
from langlog.projects.image_keys import ImageKeys
from langlog.projects.keys import FOR_IMAGES, KEYS
from langlog_backbone.process.service import StartError
from langlog_backbone.project.config import read_project

GRAPH = "def graph(config):\n    return None\n"


def project(folder: Path, files: dict[str, str] | None = None, /, **config: Any) -> Path:
    """Writes a project of one graph, with these keys. The path of its langgraph.json."""
    for name, text in {"agent.py": GRAPH, **(files or {})}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    whole = {"dependencies": ["."], "graphs": {"agent": "./agent.py:graph"}, **config}
    (folder / "langgraph.json").write_text(json.dumps({k: v for k, v in whole.items() if v is not ...}))
    return folder / "langgraph.json"


def found(file: Path) -> list[tuple[str, str]]:
    return [(problem.level, problem.key) for problem in check(file)[1]]


def test_a_sound_project_has_no_problem(tmp_path: Path) -> None:
    assert found(project(tmp_path)) == []


def test_every_key_of_the_published_configuration_is_known() -> None:
    hints = typing.get_type_hints(Config)
    assert {name for name in hints if not name.startswith("_")} <= KEYS[""]
    assert set(ImageKeys.__struct_fields__) - {"dependencies"} == FOR_IMAGES
    names = {section for section in KEYS if section}
    assert {key for key in READERS if "." not in key} >= {name for name in names if "." not in name} - {"source"}
    for section in ("store", "checkpointer", "auth", "http", "webhooks", "encryption", "source"):
        kind = next(x for x in (*typing.get_args(hints[section]), hints[section]) if hasattr(x, "__annotations__"))
        assert set(kind.__annotations__) <= KEYS[section], section


@pytest.mark.parametrize(
    ("config", "level", "key", "text"),
    [
        ({"graph": {}}, "warning", "graph", "did you mean 'graphs'"),
        (
            {"store": {"index": {"dims": 2, "embed": "x:y", "field": []}}},
            "warning",
            "store.index.field",
            "did you mean",
        ),
        ({"graphs": {}}, "error", "graphs", "at least one graph"),
        ({"graphs": {"a": 1}}, "error", "graphs.a", "path.py:object"),
        ({"graphs": {"a": "./agent.py"}}, "error", "graphs.a", "not of the form"),
        ({"graphs": {"a": "./gone.py:graph"}}, "error", "graphs.a", "does not exist"),
        ({"graphs": {"a": "./agent.py:graf"}}, "error", "graphs.a", "did you mean 'graph'"),
        ({"graphs": {"a": "./gone.ts:graph"}}, "error", "graphs.a", "does not exist"),
        ({"graphs": {"a": "./agent.ts:graf"}}, "error", "graphs.a", "exports no 'graf' (did you mean 'graph'?)"),
        ({"graphs": {"a": "./agent.ts:graph.x"}}, "error", "", "path.ts:export"),
        ({"graphs": {"a": "./agent.ts:graph"}}, "warning", "graphs.a", "no package.json"),
        ({"encryption": {"path": "./agent.ts:x"}}, "error", "", "encryption"),
        ({"store": {"path": "./agent.ts:x"}}, "error", "store.path", "from Python files alone"),
        ({"graphs": {"a": "no_such_module_x:graph"}}, "warning", "graphs.a", "there is no module"),
        ({"graphs": {"a": {"path": "./agent.py:graph", "x": 1}}}, "warning", "graphs.a.x", "not known"),
        ({"dependencies": [".", "./gone"]}, "error", "dependencies", "'./gone' does not exist"),
        ({"dependencies": [".", "./agent.py"]}, "error", "dependencies", "is a file"),
        ({"dependencies": "."}, "error", "dependencies", "array"),
        ({"dependencies": [".", "git+https://user:word@host.example/x.git"]}, "error", "dependencies", "password"),
        ({"dependencies": ["./other"]}, "error", "graphs.agent", "in no folder of 'dependencies'"),
        ({"dependencies": [".", "other"]}, "warning", "dependencies", "write './other'"),
        ({"env": 3}, "error", "env", "int"),
        ({"env": ".env"}, "warning", "env", "does not exist"),
        ({"python_version": "3.10"}, "error", "python_version", "3.11, 3.12"),
        ({"python_version": 3.12}, "error", "python_version", "str"),
        ({"node_version": "18"}, "error", "node_version", "from 20 on"),
        ({"node_version": "20.11"}, "error", "node_version", "major version"),
        ({"node_version": 22}, "error", "node_version", "str"),
        ({"api_version": "0.8"}, "note", "api_version", "no effect"),
        ({"base_image": "langchain/langgraph-server:0.2"}, "warning", "base_image", "another server"),
        ({"image_distro": "bullseye"}, "error", "image_distro", "bullseye"),
        ({"image_distro": "wolfi"}, "note", "image_distro", "Debian"),
        ({"pip_config_file": "./pip.conf"}, "error", "pip_config_file", "does not exist"),
        ({"pip_installer": "conda"}, "error", "pip_installer", "conda"),
        ({"source": {"kind": "uv"}, "dependencies": ...}, "error", "source.root", "uv.lock"),
        ({"source": {"kind": "uv"}}, "error", "dependencies", "remove 'dependencies'"),
        ({"source": {"kind": "pip"}}, "error", "source", "pip"),
        ({"dockerfile_lines": "RUN true"}, "error", "dockerfile_lines", "array"),
        (
            {"dockerfile_lines": ["RUN true && \\", "    true", "apt-get update"]},
            "error",
            "dockerfile_lines",
            "apt-get",
        ),
        ({"keep_pkg_tools": ["npm"]}, "error", "keep_pkg_tools", "npm"),
        ({"store": {"index": {"embed": "./e.py:f"}}}, "error", "store.index", "dims"),
        ({"store": {"index": {"embed": "./e.py:f", "dims": 2}}}, "error", "store.index.embed", "does not exist"),
        ({"store": {"ttl": {"default_ttl": -1}}}, "error", "store.ttl", ">= 0"),
        ({"store": []}, "error", "store", "object"),
        ({"checkpointer": {"ttl": {"strategy": "x"}}}, "error", "checkpointer.ttl", "x"),
        ({"checkpointer": {"path": "./agent.py:graph"}}, "note", "checkpointer.path", "no effect"),
        ({"checkpointer": {"serde": {"allowed_msgpack_modules": "all"}}}, "error", "checkpointer.serde", "str"),
        ({"auth": {"path": "./agent.py:auth"}}, "error", "auth.path", "no 'auth'"),
        ({"auth": {"path": "auth"}}, "error", "auth.path", "not of the form"),
        ({"auth": {"cache": {"ttl_seconds": "x"}}}, "error", "auth", "ttl_seconds"),
        ({"encryption": {"path": "x"}}, "error", "", "encryption"),
        ({"priority": {"path": "./agent.py:graph"}}, "note", "priority", "no effect"),
        ({"http": {"app": "./gone.py:app"}}, "error", "http.app", "does not exist"),
        ({"http": {"cors": {"allow_origins": "*"}}}, "error", "http", "allow_origins"),
        ({"http": {"middleware_order": "last"}}, "error", "http", "last"),
        ({"webhooks": {"url": {"allowed_ports": ["x"]}}}, "error", "webhooks", "allowed_ports"),
        ({"webhooks": {"headers": {"a": "${{ env.SECRET }}"}}}, "error", "webhooks.headers", "LG_WEBHOOK_"),
        ({"webhooks": {"headers": {"a": "${{ env.LG_WEBHOOK_X }}"}}}, "warning", "webhooks.headers", "is not set"),
        ({"worker_lifespan": "./agent.py:life"}, "error", "worker_lifespan", "no 'life'"),
        ({"ui": {"agent": "./ui.tsx"}}, "error", "ui.agent", "does not exist"),
        ({"ui": {"agent": "./agent.ts"}}, "warning", "ui.agent", "@langchain/langgraph-ui"),
        ({"ui": {"../agent": "./agent.ts"}}, "error", "ui", "part of a URL's path"),
        ({"ui_config": {"shared": "react"}}, "error", "ui_config", "shared"),
    ],
    ids=lambda value: json.dumps(value, default=str)[:60] if isinstance(value, dict) else None,
)
def test_a_fault_is_named_by_its_key(tmp_path: Path, config: dict[str, Any], level: str, key: str, text: str) -> None:
    file = project(tmp_path, {"other/x.py": "", "agent.ts": "export const graph = 1;"}, **config)
    problems = check(file)[1]
    assert [p for p in problems if (p.level, p.key) == (level, key) and text in p.text], problems
    if level != "error":
        assert not [p for p in problems if p.level == "error"], problems


def test_all_faults_are_said_at_once_errors_first(tmp_path: Path) -> None:
    file = project(tmp_path, graphs={"a": "./gone.py:x", "b": "./agent.py:y"}, stor={}, python_version="2.7")
    assert found(file) == [
        ("error", "python_version"),
        ("error", "graphs.a"),
        ("error", "graphs.b"),
        ("warning", "stor"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "from x import *",
        "def __getattr__(name): ...",
        "globals()['graph'] = 1",
        "if True:\n    graph = 1",
        "try:\n    from x import graph\nexcept ImportError:\n    graph = None",
        "import x as graph",
        "class graph: ...",
        "def f():\n    global graph\n    graph = 1\nf()",
        "(graph := 1)",
        "with open('x') as graph: ...",
        "async def graph(): ...",
        "graph: int = 1",
        "a, (graph, *b) = 1, (2, 3)",
    ],
)
def test_a_name_that_a_module_may_bind_is_taken_to_be_there(tmp_path: Path, text: str) -> None:
    assert found(project(tmp_path, {"agent.py": text})) == []


@pytest.mark.parametrize(
    "text", ["def f():\n    graph = 1", "class A:\n    graph = 1", "print(graph)", "lambda graph: 1"]
)
def test_a_name_of_an_inner_scope_is_not_the_modules(tmp_path: Path, text: str) -> None:
    assert found(project(tmp_path, {"agent.py": text})) == [("error", "graphs.agent")]


def test_a_file_that_is_not_python_is_named_with_its_line(tmp_path: Path) -> None:
    (problem,) = check(project(tmp_path, {"agent.py": "x = 1\nif\n"}))[1]
    assert "line 2" in problem.text


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"graphs": 1}', b"", '{"é": 1}'.encode("latin-1"), b"[" * 100_000])
def test_a_file_that_is_no_project_is_one_error(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "langgraph.json").write_bytes(text)
    _, problems = check(tmp_path / "langgraph.json")
    assert [problem.level for problem in problems] == ["error"]


def test_the_command_prints_and_ends_with_a_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    missing = runner.invoke(cli, ["validate"])
    assert (missing.exit_code, "does not exist" in missing.stderr) == (1, True)
    project(tmp_path)
    sound = runner.invoke(cli, ["validate"])
    assert (sound.exit_code, sound.stdout, sound.stderr) == (0, "langgraph.json is valid: 1 graph (agent)\n", "")
    project(tmp_path, stor={})
    warned = runner.invoke(cli, ["validate"])
    assert warned.exit_code == 0
    assert warned.stderr == "warning: the key 'stor' is not known (did you mean 'store'?)\n"
    assert runner.invoke(cli, ["validate", "--strict"]).exit_code == 1
    assert runner.invoke(cli, ["validate", "--no-such"]).exit_code == 2
    answer = json.loads(runner.invoke(cli, ["validate", "--json", "-c", str(tmp_path / "langgraph.json")]).stdout)
    assert (answer["valid"], answer["graphs"]) == (True, ["agent"])
    assert answer["problems"] == [
        {"level": "warning", "key": "stor", "text": "the key 'stor' is not known (did you mean 'store'?)"}
    ]


def test_code_is_executed_only_when_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = "import pathlib\npathlib.Path(__file__).with_name('mark').touch()\nprint('loud')\n"
    file = project(tmp_path, {"agent.py": marks + "graph = 1\n"})
    runner = CliRunner()
    assert runner.invoke(cli, ["validate", "-c", str(file)]).exit_code == 0
    assert not (tmp_path / "mark").exists()
    loaded = runner.invoke(cli, ["validate", "--load", "--json", "-c", str(file)])
    assert (tmp_path / "mark").exists()
    assert loaded.exit_code == 1
    (problem,) = json.loads(loaded.stdout)["problems"]
    assert (problem["key"], "not a graph" in problem["text"]) == ("graphs.agent", True)


@pytest.mark.parametrize("path", ["./a\0b", "./" + "a" * 5000, "./circle/b"])
@pytest.mark.parametrize(
    ("key", "make"),
    [
        ("graphs.agent", lambda path: {"graphs": {"agent": f"{path}.py:graph"}}),
        ("dependencies", lambda path: {"dependencies": [".", path]}),
        ("env", lambda path: {"env": path}),
        ("auth.path", lambda path: {"auth": {"path": f"{path}.py:auth"}}),
        ("source.root", lambda path: {"source": {"kind": "uv", "root": path}}),
        ("pip_config_file", lambda path: {"pip_config_file": path}),
    ],
)
def test_a_path_that_cannot_be_followed_is_an_error_of_its_key(
    tmp_path: Path, path: str, key: str, make: Callable[[str], dict[str, Any]]
) -> None:
    """A null byte, a name that is too long, links in a circle: neither `validate` nor a start ends in a traceback."""
    (tmp_path / "circle").symlink_to("circle")
    file = project(tmp_path, **make(path))
    (message,) = [problem.text for problem in check(file)[1] if (problem.level, problem.key) == ("error", key)]
    if "circle" not in path:  # which Python 3.13 takes for a path that does not exist
        assert "cannot be followed" in message
        with pytest.raises(StartError, match="cannot be followed"):
            read_project(file)


@pytest.mark.parametrize("env", [{"": "x"}, {"A=B": "x"}, {"A\0": "x"}, {"A": "x\0y"}, "binary"])
def test_variables_that_no_process_can_have_are_errors(tmp_path: Path, env: Any) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe=1")
    assert found(project(tmp_path, env=env)) == [("error", "env")]
