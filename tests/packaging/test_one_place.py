"""Objects that are created in one place only: runs by the steps of their submission, records by their builders."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.stack.syntax import parsed

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "backbone", "gateway", "executor", "projector", "scheduler", "cli")
PREPARE_RUNS = {
    "gateway/runs/routes.py:create",
    "gateway/runs/routes.py:wait",
    "gateway/runs/routes.py:stream",
    "gateway/runs/agent_runs.py:prepare",
    "gateway/runs/retry.py:_prepared",
    "gateway/threads/interrupts.py:_answering",
    "gateway/resources/crons.py:fire",
    "gateway/protocol/commands.py:_run",
}
"""Functions that call `RunSubmission.prepare`. A new one needs a way in `tests.auth.ways`, by which tests/auth/test_run_steps.py and the
authorisation matrix know it."""


class Call(NamedTuple):
    name: str
    of: str | None
    """The name that it is a member of."""
    where: str
    """``package/path:function``."""


def test_runs_are_created_by_the_steps_of_one_submission() -> None:
    assert calls("CreateRun") == {"gateway/runs/submission.py:built", "scheduler/crons.py:run_of"}
    assert calls("PreparedRun") == {"gateway/runs/submission.py:built"}
    assert calls("AuthorisedRun") == {"gateway/runs/submission.py:authorise"}
    assert calls("built") == {"gateway/runs/submission.py:build_command"}
    assert calls("build_command", of="self") == {"gateway/runs/submission.py:_prepare"}
    assert calls("authorise") == {"gateway/runs/submission.py:_prepare", "gateway/resources/cron_access.py:authority"}
    assert calls("prepare", of="_submission") == PREPARE_RUNS
    assert calls("prepare_batch") == {"gateway/runs/routes.py:batch"}
    assert calls("prepare", of="_runs") == {"gateway/agents/mcp.py:_run", "gateway/agents/a2a.py:_prepare"}


def test_records_get_their_envelope_from_one_builder() -> None:
    builders = {"encoded_command_record", "event_record", "snapshot_record"}
    assert calls("headers", of="envelope") == {f"backbone/log/records.py:{name}" for name in builders}


def calls(name: str, *, of: str | None = None) -> set[str]:
    """Return the places where the product's code calls something of that name."""
    return {call.where for call in all_calls() if call.name == name and of in (None, call.of)}


@cache
def all_calls() -> list[Call]:
    made = []
    for package in PACKAGES:
        top = ROOT / package
        for path in top.rglob("*.py"):
            _, *inner = path.relative_to(top).parts
            for function in ast.walk(parsed(path.read_text())):
                if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                    where = f"{package}/{'/'.join(inner)}:{function.name}"
                    made += [call for node in ast.walk(function) if (call := call_of(node, where)) is not None]
    return made


def call_of(node: ast.AST, where: str) -> Call | None:
    if not isinstance(node, ast.Call):
        return None
    name = name_of(node.func)
    holder = node.func.value if isinstance(node.func, ast.Attribute) else None
    return None if name is None else Call(name, name_of(holder), where)


def name_of(node: ast.expr | None) -> str | None:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None
