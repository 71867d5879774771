"""`/interrupts`: open interrupts of all threads, found and counted, and not shown to others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from langlog_schemas.ids import default_assistant_id

from tests.gateway.conftest import Attempt, MakeStack, Stack, make_thread

from .conftest import following

PROJECT = Path(__file__).parents[1] / "auth" / "project" / "langgraph.json"
SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}}}


async def asking(attempt: Attempt) -> None:
    """Raise the interrupts in the input, by task and id; a run that resumes is done."""
    await attempt.started()
    asked = attempt.kwargs["input"] if attempt.kwargs.get("command") is None else {}
    found = {
        task: [
            {"id": id, "value": value, **({"response_schema": SCHEMA} if id == "typed" else {})} for id, value in ids
        ]
        for task, ids in asked.items()
    }
    await attempt.finish(
        {"asked": True}, interrupts=msgspec.Raw(msgspec.json.encode(found)), next=["ask"] if found else []
    )


@pytest.fixture
async def stack(make_stack_on_both: MakeStack) -> Any:
    async with make_stack_on_both() as made:
        made.play = asking
        yield made


async def ask(stack: Stack, asked: dict[str, Any], metadata: dict[str, Any] | None = None, **headers: str) -> str:
    """A thread that waits for answers."""
    status, thread = await stack.call("POST", "/threads", {"metadata": metadata or {}}, headers=headers)
    assert status == 200, thread
    path = f"/threads/{thread['thread_id']}/runs/wait"
    status, found = await stack.call("POST", path, {"assistant_id": "echo", "input": asked}, headers=headers)
    assert status == 200, found
    return str(thread["thread_id"])


async def search(stack: Stack, body: dict[str, Any], **headers: str) -> list[Any]:
    status, found = await stack.call("POST", "/interrupts/search", body, headers=headers)
    assert status == 200, found
    return list(found)


async def test_open_interrupts_of_all_threads_are_found_oldest_first(stack: Stack) -> None:
    first = await ask(stack, {"t1": [["a", {"q": 1}]]}, {"customer": "c-1"})
    second = await ask(stack, {"t1": [["b", "x"], ["typed", None]], "t2": [["c", 3]]}, {"customer": "c-2"})
    await make_thread(stack)
    done = await ask(stack, {})
    found = await search(stack, {})
    assert [(f["thread_id"], f["task_id"], f["interrupt_id"], f["value"]) for f in found] == [
        (first, "t1", "a", {"q": 1}),
        (second, "t1", "b", "x"),
        (second, "t1", "typed", None),
        (second, "t2", "c", 3),
    ]
    assert found[2]["response_schema"] == SCHEMA and found[0]["response_schema"] is None
    _, runs = await stack.call("GET", f"/threads/{first}/runs")
    assert found[0]["node"] is None, "it was written by no node of a graph"
    assert found[0]["run_id"] == runs[0]["run_id"]
    assert found[0]["assistant_id"] == default_assistant_id("echo") and found[0]["graph_id"] == "echo"
    assert found[0]["metadata"]["customer"] == "c-1" and found[0]["created_at"] <= found[1]["created_at"]
    assert await stack.call("POST", "/interrupts/count", {}) == (200, 4)
    assert [f["interrupt_id"] for f in await search(stack, {"sort_order": "desc"})] == ["b", "typed", "c", "a"]
    for filters, expected in (
        ({"thread_id": second}, 3),
        ({"thread_id": done}, 0),
        ({"metadata": {"customer": "c-1"}}, 1),
        ({"graph_id": "echo"}, 4),
        ({"graph_id": "slow"}, 0),
        ({"assistant_id": default_assistant_id("echo"), "metadata": {"customer": "c-2"}}, 3),
        ({"assistant_id": default_assistant_id("slow")}, 0),
    ):
        assert await stack.call("POST", "/interrupts/count", filters) == (200, expected), filters
        assert len(await search(stack, filters)) == expected


async def test_pages_follow_on_each_other(stack: Stack) -> None:
    for n in range(3):
        await ask(stack, {"t": [[f"i{n}", n], [f"j{n}", n]]})
    found: list[str] = []
    offset: str | None = "0"
    while offset is not None:
        body = msgspec.json.encode({"limit": 4, "offset": int(offset)})
        async with stack.http.post(f"{stack.url}/interrupts/search", data=body) as answer:
            found += [entry["interrupt_id"] for entry in await answer.json()]
            offset = answer.headers.get("x-pagination-next")
    assert found == ["i0", "j0", "i1", "j1", "i2", "j2"]


async def test_an_interrupt_that_is_being_answered_is_not_open(stack: Stack) -> None:
    thread = await ask(stack, {"t": [["a", 1]]})
    async with following(stack, "?kinds=threads") as feed:
        answer = {"assistant_id": "echo", "command": {"resume": {"a": True}}}
        assert (await stack.call("POST", f"/threads/{thread}/runs/wait", answer))[0] == 200
        await feed.until(lambda: feed.rows["threads"].get(thread, {}).get("status") == "idle")
    assert await stack.call("POST", "/interrupts/count", {}) == (200, 0)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"limit": 0}, 422),
        ({"limit": 1001}, 422),
        ({"offset": -1}, 422),
        ({"thread_id": "x"}, 422),
        ({"assistant_id": "x' OR 1=1 --"}, 422),
        ({"metadata": [1]}, 422),
        ({"sort_order": "sideways"}, 422),
        ({"graph_id": 1}, 422),
        ({"metadata": {"a": "\\u0000"}}, 200),
        ([], 422),
    ],
)
async def test_bad_input_is_refused(make_stack: MakeStack, body: Any, status: int) -> None:
    async with make_stack() as stack:
        found, answer = await stack.call("POST", "/interrupts/search", body)
        assert found == status, answer
        assert status == 200 or "detail" in answer


async def test_another_tenants_interrupts_are_neither_found_nor_counted(make_stack_on_both: MakeStack) -> None:
    async with make_stack_on_both(project=PROJECT, no_project=False) as stack:
        stack.play = asking
        thread = await ask(stack, {"t": [["a", 1]]}, authorization="alice")
        assert [f["thread_id"] for f in await search(stack, {}, authorization="alice")] == [thread]
        for filters in ({}, {"thread_id": thread}, {"metadata": {"owner": "alice"}}):
            assert await search(stack, filters, authorization="bob") == []
            counted = await stack.call("POST", "/interrupts/count", filters, headers={"authorization": "bob"})
            assert counted == (200, 0)
        assert (await stack.call("POST", "/interrupts/search", {}))[0] == 401


async def respond(stack: Stack, answers: list[tuple[str, str, Any]], **headers: str) -> list[Any]:
    body = {"answers": [{"thread_id": t, "interrupt_id": i, "response": r} for t, i, r in answers]}
    status, found = await stack.call("POST", "/interrupts/respond", body, headers=headers)
    assert status == 200, found
    return list(found)


async def test_answers_to_many_threads_resume_each_with_all_of_its_own(stack: Stack) -> None:
    first = await ask(stack, {"t1": [["a", 1]]})
    second = await ask(stack, {"t1": [["b", 1]], "t2": [["c", 1]]})
    done = await ask(stack, {})
    unknown = "00000000-0000-4000-8000-000000000000"
    resumed: dict[str, Any] = {}

    async def play(attempt: Attempt) -> None:
        resumed[attempt.task.thread_id] = attempt.kwargs["command"]["resume"]
        await attempt.finish({})

    stack.play = play
    async with following(stack, "?kinds=threads") as feed:
        found = await respond(
            stack,
            [(second, "b", {"ok": True}), (first, "a", None), (second, "c", [1]), (done, "a", 1), (unknown, "a", 1)],
        )
        assert [(f["thread_id"], f["interrupt_id"], f["status"]) for f in found] == [
            (second, "b", "created"),
            (first, "a", "created"),
            (second, "c", "created"),
            (done, "a", "refused"),
            (unknown, "a", "refused"),
        ]
        assert found[0]["run_id"] == found[2]["run_id"] != found[1]["run_id"]
        gone = {"code": 404, "detail": "No interrupted run is bound to this thread."}
        assert [{k: f[k] for k in ("code", "detail")} for f in found[3:]] == [gone, gone]
        await feed.until(lambda: all(feed.rows["threads"].get(t, {}).get("status") == "idle" for t in (first, second)))
    assert resumed == {first: {"a": None}, second: {"b": {"ok": True}, "c": [1]}}
    assert await stack.call("POST", "/interrupts/count", {}) == (200, 0)


async def test_of_several_answers_one_wins_and_a_repeated_request_answers_once(stack: Stack) -> None:
    thread = await ask(stack, {"t": [["a", 1]]})
    key = {"idempotency-key": "once"}
    once = await respond(stack, [(thread, "a", 1)], **key)
    assert once[0]["status"] == "created"
    assert await respond(stack, [(thread, "a", 1)], **key) == once
    late = await respond(stack, [(thread, "a", 2)])
    assert late[0]["status"] == "refused" and late[0]["code"] in (404, 409)
    _, runs = await stack.call("GET", f"/threads/{thread}/runs")
    assert len(runs) == 2
    other = await ask(stack, {"t": [["a", 1], ["b", 1]]})
    (refused, too) = await respond(stack, [(other, "a", 1), (other, "zzz", 1)])
    assert (refused["status"], refused["code"]) == ("refused", 409) and too["detail"] == refused["detail"]
    assert "zzz" in refused["detail"]
    assert await stack.call("POST", "/interrupts/count", {"thread_id": other}) == (200, 2)


async def test_the_log_says_who_has_answered(make_stack_on_both: MakeStack) -> None:
    async with make_stack_on_both(project=PROJECT, no_project=False) as stack:
        stack.play = asking
        thread = await ask(stack, {"t": [["a", 1]]}, authorization="alice")
        foreign = await respond(stack, [(thread, "a", 1)], authorization="bob")
        nobodys = await respond(stack, [("00000000-0000-4000-8000-000000000000", "a", 1)], authorization="bob")
        assert {k: foreign[0][k] for k in ("status", "code", "detail")} == {
            k: nobodys[0][k] for k in ("status", "code", "detail")
        }
        (answered,) = await respond(stack, [(thread, "a", 1)], authorization="alice")
        assert answered["status"] == "created"
        path = f"/threads/{thread}/runs/{answered['run_id']}/events?type=run.created"
        _, page = await stack.call("GET", path, headers={"authorization": "alice"})
        assert [(e["type"], e["actor"]) for e in page["events"]] == [("langlog.run.created.v1", "alice")]
        assert page["events"][0]["data"]["kwargs"]["command"] == {"resume": {"a": 1}}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"answers": []},
        {"answers": [{"thread_id": "x", "interrupt_id": "a"}]},
        {"answers": [{"thread_id": "00000000-0000-4000-8000-000000000000"}]},
        {"answers": [{"thread_id": "00000000-0000-4000-8000-000000000000", "interrupt_id": "a"}] * 2},
        {"answers": [{"thread_id": "00000000-0000-4000-8000-000000000000", "interrupt_id": "a"}] * 1001},
        {"answers": {"a": 1}},
        [],
    ],
)
async def test_bad_answers_are_refused(make_stack: MakeStack, body: Any) -> None:
    async with make_stack() as stack:
        status, found = await stack.call("POST", "/interrupts/respond", body)
        assert status == 422 and "detail" in found
