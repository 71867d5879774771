"""Every endpoint that creates runs passes the steps of one submission, in order, and refuses with the same response."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from langlog_gateway.runs.submission import RunSubmission
from langlog_schemas import commands as cmd

from tests.auth import test_matrix as matrix
from tests.auth import test_sharing_matrix as sharing
from tests.auth.ways import NOTHING_ASKED, stateless_ways, ways
from tests.gateway.conftest import Attempt, MakeStack, Stack

OWNER = sharing.OWNER
STEPS = ("validate", "merge_config", "authorise", "build_command")


@pytest.fixture
async def stack(make_stack: MakeStack) -> AsyncIterator[Stack]:
    async with make_stack(project=sharing.PROJECT, reply_timeout_s=60.0) as made:
        yield made


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps that were passed, in order."""
    steps: list[str] = []

    def recorded(name: str) -> Callable[..., Any]:
        step = getattr(RunSubmission, name)

        def call(*args: Any, **named: Any) -> Any:
            steps.append(name)
            return step(*args, **named)

        return call

    for name in STEPS:
        monkeypatch.setattr(RunSubmission, name, recorded(name))
    return steps


async def test_every_way_passes_each_step_in_order(stack: Stack, passed: list[str]) -> None:
    ids = await matrix.objects(stack, OWNER)
    for name, way in every_way(ids).items():
        passed.clear()
        result = await sharing.go(stack, OWNER, way)
        if name not in NOTHING_ASKED:
            assert not sharing.refused(result), (name, result)
        # the scheduler builds the command of a cron's run from what the handlers have allowed
        assert tuple(passed) == (STEPS[:-1] if "cron" in name else STEPS), name


async def test_a_cron_that_is_changed_or_fired_by_hand_passes_the_steps_anew(stack: Stack, passed: list[str]) -> None:
    ids = await matrix.objects(stack, OWNER)
    path = f"/runs/crons/{ids['cron_id']}"
    for change in ({"input": {"b": 1}}, {"schedule": "0 0 2 2 *"}, {"enabled": True}):
        passed.clear()
        assert (await matrix.call(stack, OWNER, "PATCH", path, change))[0] == 200
        assert tuple(passed) == STEPS[:-1], change
    passed.clear()
    for method, where, body in (("PATCH", path, {"input": {}}), ("POST", f"{path}/fire", None)):
        assert (await matrix.call(stack, sharing.STRANGER, method, where, body))[0] == 404
    assert passed == []
    assert (await matrix.call(stack, OWNER, "POST", f"{path}/fire"))[0] == 200
    assert tuple(passed) == STEPS


async def test_a_run_that_is_retried_passes_each_step_again(stack: Stack, passed: list[str]) -> None:
    async def fails(attempt: Attempt) -> None:
        await attempt.started()
        await attempt.finish(outcome="error", error=cmd.RunError("ValueError", "broken"))

    stack.play = fails
    ids = await matrix.objects(stack, OWNER)
    way = ("POST", "/runs/retry", {"run_ids": [ids["run_id"]]})
    for who in (sharing.STRANGER, OWNER):
        passed.clear()
        result = await sharing.go(stack, who, way)
        assert sharing.refused(result) == (who != OWNER), result
        assert tuple(passed) == (STEPS if who == OWNER else ())


HOSTILE: dict[str, dict[str, Any]] = {
    "a config of another type": {"config": {"recursion_limit": "many"}},
    "a checkpoint of another type": {"config": {"configurable": {"checkpoint_id": 3}}},
    "config and context": {"config": {"configurable": {"a": 1}}, "context": {"a": 2}},
    "a large config": {"config": {"configurable": {"a": "a" * 2_000_000}}},
    "large metadata": {"metadata": {"a": "a" * 2_000_000}},
    "NUL in metadata": {"metadata": {"a": "\0"}},
    "a webhook to nowhere": {"webhook": "not a url"},
    "an unknown strategy": {"multitask_strategy": "all at once"},
    "a command of another shape": {"command": {"goto": 3}},
}
OF_PROTOCOL = ("config", "metadata")
"""Members of a run that clients of the streaming protocol may set. MCP and A2A accept none of these."""


async def test_what_no_run_may_hold_is_refused_in_every_way_with_one_answer(stack: Stack) -> None:
    ids = await matrix.objects(stack, OWNER)
    runs = await sharing.runs_of(stack, ids["thread_id"])
    for what, members in HOSTILE.items():
        result: dict[str, tuple[int, str]] = {}
        for name, way in every_way(ids).items():
            body = with_members(way[2], members)
            if body is None:
                continue
            status, answer = await sharing.go(stack, OWNER, (way[0], way[1], body))
            assert sharing.refused((status, answer)), (what, name)
            if status == 200:
                number, _, detail = answer["message"].partition(": ")
                status, answer = int(number), {"detail": detail}
            # of a config's bytes, the server's own members are some
            result[name] = status, re.sub(r"\d+ bytes", "n bytes", answer["detail"].partition("\n")[0])
        assert len(result) > 10, what
        assert len(set(result.values())) == 1, (what, result)
        assert next(iter(result.values()))[0] in (400, 422), what
    assert await sharing.runs_of(stack, ids["thread_id"]) == runs
    assert (await matrix.call(stack, OWNER, "POST", "/runs/crons/count", {}))[1] == 1


def with_members(body: Any, members: dict[str, Any]) -> Any:
    """Return the body of a way with other members of its run; None: the way does not accept all of them."""
    if isinstance(body, list):
        return [with_members(one, members) for one in body]
    if body.get("method") in ("run.start", "input.respond"):
        taken = all(name in OF_PROTOCOL for name in members)
        return {**body, "params": {**body["params"], **members}} if taken else None
    return None if "jsonrpc" in body or "answers" in body else {**body, **members}


async def test_agent_protocols_hand_no_other_member_on_to_a_run(stack: Stack) -> None:
    ids = await matrix.objects(stack, OWNER)
    members = {"webhook": "not a url", "multitask_strategy": "rollback", "config": {"recursion_limit": "many"}}
    for name, (method, path, body) in every_way(ids).items():
        if "jsonrpc" not in body:
            continue
        body = {**body, **members, "params": {**body["params"], **members}}
        assert not sharing.refused(await sharing.go(stack, OWNER, (method, path, body))), name
    _, runs = await matrix.call(stack, OWNER, "GET", f"/threads/{ids['thread_id']}/runs?limit=100")
    assert len(runs) == 3
    for run in runs:
        assert run["kwargs"]["webhook"] is None and run["multitask_strategy"] == "enqueue"
        assert "recursion_limit" not in run["kwargs"]["config"]


def every_way(ids: dict[str, str]) -> dict[str, tuple[str, str, Any]]:
    members = {**ways(ids["thread_id"], ids["assistant_id"]), **stateless_ways(ids["assistant_id"], "Untitled")}
    # its own webhook would stand for another that a test gives
    return {name: way for name, way in members.items() if name != "run with a webhook"}
