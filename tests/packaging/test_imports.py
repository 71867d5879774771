"""Imports between packages, and their cost."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack.syntax import parsed

ROOT = Path(__file__).parents[2]


def test_imports_point_one_way() -> None:
    finished = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.parametrize(
    "module",
    [
        "langlog.main",
        "langlog_backbone.context",
        "langlog_gateway.service",
        "langlog_projector.service",
        "langlog_scheduler.service",
        "langlog_executor.decider.service",
    ],
)
def test_only_what_runs_graphs_has_langgraph_in_memory(module: str) -> None:
    code = f"import sys, {module}; print([x for x in ('langgraph', 'langchain_core') if x in sys.modules])"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180)
    assert finished.stdout.strip() == "[]", finished.stdout + finished.stderr


def test_help_is_shown_without_importing_any_service_or_client() -> None:
    code = """
import sys
sys.argv = ["langlog", "--help"]
try:
    from langlog.main import main
    main()
except SystemExit:
    print([x for x in ("asyncpg", "redis", "aiohttp", "aiokafka", "structlog", "uvloop") if x in sys.modules])
"""
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180)
    assert finished.stdout.rstrip().endswith("[]"), finished.stdout + finished.stderr


def test_what_tests_replace_by_its_name_is_there() -> None:
    """A name that was moved is noticed here, and not by the one test that replaces it, on a runner, a quarter of an hour later."""
    named = {
        argument.value: f"{file.relative_to(ROOT)}:{call.lineno}"
        for file in (ROOT / "tests").rglob("*.py")
        for call in ast.walk(parsed(file.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "setattr"
        for argument in call.args[:1]
        if isinstance(argument, ast.Constant) and str(argument.value).startswith("langlog")
    }
    assert named
    missing = {}
    for name, where in named.items():
        try:
            pkgutil.resolve_name(name)
        except (ImportError, AttributeError):
            missing[name] = where
    assert missing == {}


def test_a_list_of_threads_or_runs_imports_no_sdk() -> None:
    """It posts one search; the SDK's imports would be half of its time."""
    code = "import sys, langlog.lists.api, langlog.lists.listing; print([x for x in ('langgraph_sdk', 'pydantic') if x in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
