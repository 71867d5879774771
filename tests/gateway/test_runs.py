"""Runs over HTTP: made, waited for, cancelled, removed."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec
import pytest
from langlog_gateway.runs import submission as run_create
from langlog_schemas.ids import default_assistant_id
from langlog_schemas.messages import Answer

from .conftest import Attempt, MakeStack, Stack, make_thread

UNKNOWN = "00000000-0000-4000-8000-000000000000"


async def test_waiting_answers_with_the_output_and_says_where_the_run_is(stack: Stack) -> None:
    thread_id = await make_thread(stack)
    path = f"{stack.url}/threads/{thread_id}/runs/wait"
    async with stack.http.post(path, data=b'{"assistant_id": "echo", "input": {"b": 1, "a": 2}}') as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert await answer.text() == '{"b":1,"a":2}'
        run = answer.headers["content-location"]
        assert re.fullmatch(f"/threads/{thread_id}/runs/[0-9a-f-]{{36}}", run)
        assert answer.headers["location"] == f"{run}/join"
    _, body = await stack.call("GET", run)
    assert body["status"] == "success"
    assert body["metadata"]["created_by"] == "system"
    _, thread = await stack.call("GET", f"/threads/{thread_id}")
    assert (thread["status"], thread["values"], thread["config"]) == ("idle", {"a": 2, "b": 1}, {"configurable": {}})
    assert thread["metadata"] == {"graph_id": "echo", "assistant_id": default_assistant_id("echo")}


async def test_a_failed_run_is_still_200(stack: Stack) -> None:
    async def fail(attempt: Attempt) -> None:
        await attempt.finish({"x": 1}, "error", error={"error": "ValueError", "message": "bad"})

    stack.play = fail
    assert await stack.call("POST", "/runs/wait", {"assistant_id": "echo"}) == (
        200,
        {"__error__": {"error": "ValueError", "message": "bad"}},
    )


async def test_a_new_run_shows_how_the_request_was_understood(stack: Stack) -> None:
    async def never(attempt: Attempt) -> None:
        await asyncio.Event().wait()

    stack.play = never
    thread_id = await make_thread(stack)
    body = {
        "assistant_id": "echo",
        "input": {"n": 1},
        "context": {"tone": "warm"},
        "config": {"tags": ["t"], "recursion_limit": 9},
        "metadata": {"m": 1},
        "stream_mode": "updates",
        "checkpoint": {"checkpoint_id": "c"},
        "on_completion": "complete",  # as the JavaScript client has it; it means something only without a thread
    }
    status, run = await stack.call("POST", f"/threads/{thread_id}/runs", body)
    assert (status, run["status"], run["multitask_strategy"]) == (200, "pending", "enqueue")
    kwargs = run["kwargs"]
    assert list(kwargs) == [
        *("input", "command", "config", "context", "stream_mode", "interrupt_before", "interrupt_after", "webhook"),
        *("feedback_keys", "temporary", "subgraphs", "resumable", "checkpoint_during", "durability"),
    ]
    assert kwargs["stream_mode"] == ["updates"]
    assert kwargs["context"] == {"tone": "warm"}
    config = kwargs["config"]
    assert (config["tags"], config["recursion_limit"]) == (["t"], 9)
    assert config["metadata"] == run["metadata"]
    configurable = config["configurable"]
    assert configurable["tone"] == "warm"
    assert configurable["checkpoint_id"] == "c"
    assert configurable["run_id"] == run["run_id"]
    assert (configurable["user_id"], configurable["langgraph_auth_user"]) == ("", None)
    assert run["metadata"]["m"] == 1
    assert (await stack.call("GET", f"/threads/{thread_id}/runs/{run['run_id']}"))[1]["kwargs"] == kwargs
    _, thread = await stack.call("GET", f"/threads/{thread_id}")
    assert thread["status"] == "busy"
    assert thread["config"] == {"configurable": {"tone": "warm"}, "tags": ["t"], "recursion_limit": 9}
    _, listed = await stack.call("GET", f"/threads/{thread_id}/runs?select=run_id&select=status")
    assert [list(row) for row in listed] == [["run_id", "status"]]


async def test_what_a_run_is_to_be_made_of_must_exist(stack: Stack) -> None:
    thread_id = await make_thread(stack)
    for path, body, status in (
        ("/runs", {"assistant_id": "nope"}, 422),
        ("/runs", {"assistant_id": UNKNOWN}, 404),
        ("/runs", {}, 422),
        (f"/threads/{UNKNOWN}/runs", {"assistant_id": "echo"}, 404),
        ("/threads/zzz/runs", {"assistant_id": "echo"}, 422),
        (f"/threads/{thread_id}/runs", {"assistant_id": "echo", "stream_mode": "zz"}, 422),
        (f"/threads/{thread_id}/runs", {"assistant_id": "echo", "stream_mode": None}, 422),
        (f"/threads/{thread_id}/runs", {"assistant_id": "echo", "metadata": None}, 422),
        (f"/threads/{thread_id}/runs", {"assistant_id": "echo", "interrupt_before": "a"}, 422),
        (f"/threads/{thread_id}/runs", {"assistant_id": "echo", "langsmith_tracer": "a"}, 422),
        (f"/threads/{thread_id}/runs", {"assistant_id": "echo", "command": {"goto": 3}}, 422),
        ("/runs/batch", [{"assistant_id": "echo"}, {"assistant_id": "echo", "command": {"goto": [3]}}], 422),
        ("/runs/crons", {"assistant_id": "echo", "schedule": "@daily", "command": {"update": 3}}, 422),
        ("/threads", {"supersteps": [{"updates": [{"command": {"goto": 3}}]}]}, 422),
        ("/threads", {"supersteps": [{"updates": [{"command": 3}]}]}, 422),
        ("/internal/truncate", {"threads": True}, 404),
        (f"/threads/{thread_id}/runs/wait", {"assistant_id": "echo", "on_disconnect": "zz"}, 422),
        ("/runs/wait", {"assistant_id": "echo", "on_completion": "complete"}, 422),
        (
            f"/threads/{thread_id}/runs",
            {"assistant_id": "echo", "context": {"a": 1}, "config": {"configurable": {"a": 1}}},
            400,
        ),
        ("/runs/batch", [], 422),
        ("/runs/batch", [{"assistant_id": "echo"}, {"assistant_id": "nope"}], 422),
    ):
        got, answer = await stack.call("POST", path, body)
        assert got == status, (path, body, answer)
        assert isinstance(answer["detail"], str)
        if "nope" in str(body):
            assert "Invalid assistant: 'nope'" in answer["detail"]
            assert 'No assistant found for "nope"' in answer["detail"]
    status, run = await stack.call(
        "POST", f"/threads/{UNKNOWN}/runs", {"assistant_id": "echo", "if_not_exists": "create", "metadata": {"k": 1}}
    )
    assert (status, run["thread_id"]) == (200, UNKNOWN)
    assert (await stack.call("GET", f"/threads/{UNKNOWN}"))[1]["metadata"]["k"] == 1


async def test_a_stateless_run_leaves_nothing_behind_unless_told_to(stack: Stack) -> None:
    async with stack.http.post(f"{stack.url}/runs/wait", data=b'{"assistant_id": "echo", "input": 1}') as answer:
        assert await answer.json() == 1
        gone = answer.headers["content-location"]
    assert (await stack.call("GET", gone))[0] == 404
    assert (await stack.call("GET", f"{gone}/join")) == (
        200,
        {"__error__": {"error": "HTTPException", "message": "404: Run not found"}},
    )
    body = {"assistant_id": "echo", "input": 1, "on_completion": "keep"}
    async with stack.http.post(f"{stack.url}/runs/wait", data=msgspec.json.encode(body)) as answer:
        kept = answer.headers["content-location"]
    assert (await stack.call("GET", kept))[1]["status"] == "success"


async def test_cancelling_stops_the_run_and_tells_those_who_wait(stack: Stack) -> None:
    running = asyncio.Event()
    controls: asyncio.Queue[Any] = asyncio.Queue()

    async def play(attempt: Attempt) -> None:
        await attempt.started()
        running.set()
        await controls.get()
        await attempt.finish({"so": "far"}, "interrupted", next=["node"])

    from langlog_backbone.redis import channels

    await stack.backbone.bus.subscribe(channels.CONTROL, lambda data: controls.put_nowait(data))
    stack.play = play
    thread_id = await make_thread(stack)
    _, run = await stack.call("POST", f"/threads/{thread_id}/runs", {"assistant_id": "echo"})
    waiter = asyncio.create_task(stack.call("GET", f"/threads/{thread_id}/runs/{run['run_id']}/join"))
    await running.wait()
    path = f"/threads/{thread_id}/runs/{run['run_id']}/cancel"
    assert (await stack.call("POST", f"{path}?wait=true&action=zzz")) == (200, {})
    assert await waiter == (200, {"so": "far"})
    status, body = await stack.call("POST", path)
    assert (status, body["detail"][:16]) == (404, "No matching runs")
    assert (await stack.call("POST", path.replace(run["run_id"], UNKNOWN))) == (
        404,
        {"detail": "No runs found to cancel."},
    )
    assert (await stack.call("GET", f"/threads/{thread_id}"))[1]["status"] == "interrupted"
    assert (await stack.call("POST", "/runs/cancel", {"status": "all"}))[0] == 404
    for wrong in ({}, {"status": "zzz"}, {"status": "all", "thread_id": thread_id, "run_ids": []}, {"run_ids": []}):
        assert (await stack.call("POST", "/runs/cancel", wrong))[0] == 422


async def test_a_repeated_request_gets_the_first_run(stack: Stack) -> None:
    thread_id = await make_thread(stack)
    headers = {"Idempotency-Key": "once"}
    body = {"assistant_id": "echo", "input": {"a": 1}}
    path = f"/threads/{thread_id}/runs"
    first = await stack.call("POST", path, body, headers=headers)
    again = await stack.call("POST", path, body, headers=headers)
    assert first[1]["run_id"] == again[1]["run_id"]
    for _ in range(2):
        assert await stack.call("POST", f"{path}/wait", body, headers=headers) == (200, {"a": 1})
        async with stack.http.post(
            f"{stack.url}{path}/stream", data=msgspec.json.encode(body), headers=headers
        ) as answer:
            assert [name for name, _ in await stack.events(answer)] == ["metadata", "values"]
    assert len((await stack.call("GET", path))[1]) == 3


@pytest.mark.parametrize("over", [True, False])
async def test_a_key_whose_outcome_is_no_longer_kept_never_runs_a_run_again(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch, over: bool
) -> None:
    monkeypatch.setattr("langlog_executor.decider.command_decider.RETRIES_REMEMBERED", 0)
    async with make_stack() as stack:
        thread_id = await make_thread(stack)
        path, headers = f"/threads/{thread_id}/runs", {"Idempotency-Key": "long ago"}
        body = {"assistant_id": "echo", "input": {"a": 1}, "after_seconds": 0 if over else 1000}
        _, run = await stack.call("POST", path, body, headers=headers)
        if over:
            assert await stack.call("GET", f"{path}/{run['run_id']}/join") == (200, {"a": 1})
        before = await stack.call("GET", f"{path}/{run['run_id']}")
        await stack.backbone.pool.execute("DELETE FROM outcomes")
        refused = (409, {"detail": f"Run with ID {run['run_id']} already exists"})
        for _ in range(2):
            assert await stack.call("POST", path, body, headers=headers) == refused
        assert await stack.call("GET", f"{path}/{run['run_id']}") == before
        assert len((await stack.call("GET", path))[1]) == 1


async def test_ids_of_a_key_cannot_be_known_elsewhere_and_outlive_the_gateway(make_stack: MakeStack) -> None:
    made = []
    headers = {"Idempotency-Key": "guessed"}
    for secret in ("one of 16 characters", "another of 16 characters", "one of 16 characters"):
        async with make_stack(secret=secret) as stack:
            _, thread = await stack.call("POST", "/threads", {}, headers=headers)
            again = await stack.call("POST", "/threads", {}, headers=headers)
            assert again[1]["thread_id"] == thread["thread_id"]
            made.append(thread["thread_id"])
    assert made[0] == made[2] != made[1]


async def test_a_key_of_one_endpoint_is_another_key_elsewhere(stack: Stack) -> None:
    headers = {"Idempotency-Key": "same"}
    assert (await stack.call("POST", "/threads", {}, headers=headers))[0] == 200
    status, run = await stack.call("POST", "/runs", {"assistant_id": "echo"}, headers=headers)
    assert (status, "run_id" in run) == (200, True)
    assert (await stack.call("POST", "/assistants", {"graph_id": "echo"}, headers=headers))[1]["graph_id"] == "echo"


async def test_nothing_is_kept_of_requests_that_are_over(stack: Stack) -> None:
    thread_id = await make_thread(stack)
    body = {"assistant_id": "echo", "input": {}}
    for path in ("/runs/wait", "/runs/stream", f"/threads/{thread_id}/runs/wait", f"/threads/{thread_id}/runs/stream"):
        await asyncio.gather(*(stack.call("POST", path, body) for _ in range(4)))
    core = stack.gateway._core
    assert not core.watches._threads
    assert core.replies.idle
    assert not core._streams._total and not core._streams._open
    handlers = [channel for channel in stack.backbone.bus._handlers if channel.startswith(("lifecycle:", "frames:"))]
    assert not handlers


async def test_removing_a_run_gives_the_thread_the_state_from_before(stack: Stack) -> None:
    thread_id = await make_thread(stack)
    _, run = await stack.call("POST", f"/threads/{thread_id}/runs", {"assistant_id": "echo", "input": {"a": 1}})
    path = f"/threads/{thread_id}/runs/{run['run_id']}"
    assert (await stack.call("GET", f"{path}/join")) == (200, {"a": 1})
    stack.answers["state_without_run"] = lambda asked: Answer(
        id="", body=msgspec.json.encode({"values": {"old": True}, "next": [], "interrupts": {}})
    )
    await stack.backbone.pool.execute("UPDATE threads SET has_checkpoints = true")  # as if the run had written some
    assert (await stack.call("DELETE", path))[0] == 204
    assert (await stack.call("DELETE", path)) == (404, {"detail": "Run not found"})
    assert (await stack.call("GET", f"/threads/{thread_id}"))[1]["values"] == {"old": True}


async def test_batches_make_all_runs_or_none(stack: Stack) -> None:
    body = [{"assistant_id": "echo", "input": 1, "on_completion": "keep"}, {"assistant_id": "slow", "input": 2}]
    status, runs = await stack.call("POST", "/runs/batch", body)
    assert status == 200
    assert [run["kwargs"]["input"] for run in runs] == [1, 2]
    assert len({run["thread_id"] for run in runs}) == 2
    path = f"/threads/{runs[0]['thread_id']}/runs/{runs[0]['run_id']}/join"
    assert await stack.call("GET", path) == (200, 1)


async def test_two_equal_requests_at_once_make_one_run(stack: Stack) -> None:
    thread_id = await make_thread(stack)
    headers = {"Idempotency-Key": "twice"}
    body = {"assistant_id": "echo", "input": {"a": 1}}
    path = f"/threads/{thread_id}/runs"
    answers = await asyncio.gather(*(stack.call("POST", path, body, headers=headers) for _ in range(4)))
    assert {status for status, _ in answers} == {200}
    assert len({answer["run_id"] for _, answer in answers}) == 1


async def test_a_run_that_is_gone_before_its_request_is_answered_is_answered_all_the_same(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread_id = await make_thread(stack)
    path = f"/threads/{thread_id}/runs"
    body = {"assistant_id": "echo", "input": {"n": 1}, "metadata": {"m": 1}}
    _, body_seen = await stack.call("POST", path, body, headers={"Idempotency-Key": "there"})
    # as when it is rolled back and folded between its creation and our look
    monkeypatch.setitem(run_create.SQL, "run", f"SELECT * FROM ({run_create.SQL['run']}) AS found WHERE false")
    status, run = await stack.call("POST", path, body, headers={"Idempotency-Key": "gone"})
    assert (status, run["status"], run["thread_id"]) == (200, "pending", thread_id)
    assert run["metadata"].items() >= {"m": 1, "graph_id": "echo"}.items()
    assert run.keys() == body_seen.keys()
