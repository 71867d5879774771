"""`POST /runs/retry`: failed runs are made again, each decided by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langlog_schemas.commands import RunError

from tests.gateway.conftest import Attempt, MakeStack, Stack, echo, make_thread

from .conftest import following

PROJECT = Path(__file__).parents[1] / "auth" / "project" / "langgraph.json"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


async def failing(attempt: Attempt) -> None:
    await attempt.started()
    await attempt.finish(outcome="error", error=RunError("ValueError", "no"), state_known=False)


@pytest.fixture
async def stack(make_stack_on_both: MakeStack) -> Any:
    async with make_stack_on_both() as made:
        yield made


async def failed(stack: Stack, body: dict[str, Any], **headers: str) -> tuple[str, str]:
    """A thread whose only run has failed, and that run."""
    stack.play = failing
    _, thread = await stack.call("POST", "/threads", {}, headers=headers)
    path = f"/threads/{thread['thread_id']}/runs"
    status, found = await stack.call("POST", f"{path}/wait", {"assistant_id": "echo", **body}, headers=headers)
    assert status == 200 and "__error__" in found, found
    _, runs = await stack.call("GET", path, headers=headers)
    return thread["thread_id"], runs[0]["run_id"]


async def retry(stack: Stack, *runs: str, **headers: str) -> list[Any]:
    status, found = await stack.call("POST", "/runs/retry", {"run_ids": list(runs)}, headers=headers)
    assert status == 200, found
    return list(found)


async def test_failed_runs_are_made_again_as_they_were(stack: Stack) -> None:
    body = {
        "input": {"n": 1},
        "metadata": {"a": 1},
        "config": {"tags": ["x"], "configurable": {"model": "m"}},
        "stream_mode": ["updates", "custom"],
        "stream_resumable": True,
        "interrupt_after": ["b"],
    }
    thread, run = await failed(stack, body)
    other, other_run = await failed(stack, {"input": {"n": 2}})
    stack.play = echo
    async with following(stack) as feed:
        found = await retry(stack, run, UNKNOWN, other_run)
        assert [(f["retried_run_id"], f["thread_id"], f["status"]) for f in found] == [
            (run, thread, "created"),
            (UNKNOWN, None, "refused"),
            (other_run, other, "created"),
        ]
        assert (found[1]["code"], found[1]["detail"]) == (404, "Run not found")
        made = {f["run_id"] for f in found if f["status"] == "created"}
        await feed.until(lambda: {id for id, r in feed.rows["runs"].items() if r["status"] == "success"} >= made)
    _, (again, before) = await stack.call("GET", f"/threads/{thread}/runs")
    assert (again["run_id"], again["status"], before["status"]) == (found[0]["run_id"], "success", "error")
    assert again["metadata"]["retry_of"] == run and again["metadata"]["a"] == 1
    for member in ("input", "command", "stream_mode", "resumable", "interrupt_after", "subgraphs", "context"):
        assert again["kwargs"][member] == before["kwargs"][member], member
    assert again["kwargs"]["config"]["tags"] == ["x"]
    assert again["kwargs"]["config"]["configurable"]["model"] == "m"
    assert again["kwargs"]["config"]["configurable"]["run_id"] == again["run_id"]
    _, state = await stack.call("GET", f"/threads/{other}")
    assert state["values"] == {"n": 2}


async def test_what_did_not_fail_or_is_not_the_last_run_is_refused(stack: Stack) -> None:
    thread, run = await failed(stack, {"input": {"n": 1}})
    stack.play = echo
    path = f"/threads/{thread}/runs"
    assert (await stack.call("POST", f"{path}/wait", {"assistant_id": "echo", "input": {}}))[0] == 200
    _, (last, _) = await stack.call("GET", path)
    not_last, not_failed = await retry(stack, run, last["run_id"])
    assert (not_last["status"], not_last["code"]) == ("refused", 409) and "Another run" in not_last["detail"]
    assert (not_failed["status"], not_failed["code"]) == ("refused", 409) and "success" in not_failed["detail"]
    assert len((await stack.call("GET", path))[1]) == 2


async def test_a_run_is_retried_once(stack: Stack) -> None:
    thread, run = await failed(stack, {"input": {"n": 1}})
    key = {"idempotency-key": "once"}
    (once,) = await retry(stack, run, **key)
    assert await retry(stack, run, **key) == [once]
    (again,) = await retry(stack, run)  # the retry is the thread's last run now
    assert again["status"] == "refused"
    doubled = await retry(stack, once["run_id"], once["run_id"])
    assert doubled[0] == doubled[1]
    assert len((await stack.call("GET", f"/threads/{thread}/runs"))[1]) <= 3


@pytest.mark.parametrize(
    "body", [{}, {"run_ids": []}, {"run_ids": ["x"]}, {"run_ids": [UNKNOWN] * 1001}, {"run_ids": UNKNOWN}]
)
async def test_bad_input_is_refused(make_stack: MakeStack, body: Any) -> None:
    async with make_stack() as stack:
        status, found = await stack.call("POST", "/runs/retry", body)
        assert status == 422 and "detail" in found


async def test_another_tenants_run_is_as_if_it_were_not_there(make_stack_on_both: MakeStack) -> None:
    async with make_stack_on_both(project=PROJECT, no_project=False) as stack:
        thread, run = await failed(stack, {"input": {"n": 1}}, authorization="alice")
        (foreign,) = await retry(stack, run, authorization="bob")
        (nobodys,) = await retry(stack, UNKNOWN, authorization="bob")
        assert {**foreign, "retried_run_id": ""} == {**nobodys, "retried_run_id": ""}
        assert foreign["status"] == "refused"
        stack.play = echo
        (own,) = await retry(stack, run, authorization="alice")
        assert own["status"] == "created"
        path = f"/threads/{thread}/runs/{own['run_id']}"
        _, joined = await stack.call("GET", f"{path}/join", headers={"authorization": "alice"})
        assert joined == {"n": 1}
        _, page = await stack.call("GET", f"{path}/events?type=run.created", headers={"authorization": "alice"})
        assert page["events"][0]["actor"] == "alice"


async def test_a_thread_without_runs_is_left_alone(stack: Stack) -> None:
    thread = await make_thread(stack)
    (found,) = await retry(stack, thread)
    assert found["code"] == 404
