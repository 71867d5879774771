"""Threads over HTTP, through the log and back."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import httpx
import msgspec
from langlog_backbone.time.clock import new_id
from langlog_schemas import commands as cmd
from langlog_schemas.messages import Answer
from msgspec import Raw

from .conftest import Attempt, Stack, append, make_thread, read_events

UNKNOWN = "00000000-0000-4000-8000-000000000000"


async def test_a_created_thread_can_be_read_at_once(stack: Stack) -> None:
    status, made = await stack.call("POST", "/threads", {"metadata": {"a": 1}})
    assert status == 200
    assert list(made) == [
        "thread_id",
        "created_at",
        "updated_at",
        "state_updated_at",
        "metadata",
        "status",
        "config",
        "values",
    ]
    assert await stack.call("GET", f"/threads/{made['thread_id']}") == (200, made)


async def test_a_second_thread_under_the_same_id_is_refused_or_left_alone(stack: Stack) -> None:
    thread_id = str(uuid.uuid4())
    body = {"thread_id": thread_id.upper(), "metadata": {"a": 1}}
    _, first = await stack.call("POST", "/threads", body)
    assert first["thread_id"] == thread_id
    assert (await stack.call("POST", "/threads", body))[0] == 409
    assert await stack.call("POST", "/threads", {**body, "if_exists": "do_nothing", "metadata": {}}) == (200, first)


async def test_an_idempotency_key_makes_one_thread_of_two_requests(stack: Stack) -> None:
    headers = {"idempotency-key": "k1"}
    answers = await asyncio.gather(*(stack.call("POST", "/threads", {}, headers=headers) for _ in range(3)))
    assert len({answer["thread_id"] for _, answer in answers}) == 1
    assert (await stack.call("POST", "/threads", {}, headers=headers)) == answers[0]
    assert (await stack.call("POST", "/threads/count", {})) == (200, 1)


async def test_an_error_without_a_text_has_an_empty_message_wherever_it_is_shown(stack: Stack) -> None:
    """`raise TimeoutError` and an `assert` without a text: clients read both members."""

    async def failing(attempt: Attempt) -> None:
        await attempt.started()
        await attempt.finish(outcome="error", error=cmd.RunError("TimeoutError"), state_known=False)

    stack.play = failing
    _, thread = await stack.call("POST", "/threads", {})
    path = f"/threads/{thread['thread_id']}"
    error = {"error": "TimeoutError", "message": ""}
    assert await stack.call("POST", f"{path}/runs/wait", {"assistant_id": "echo"}) == (200, {"__error__": error})
    _, alone = await stack.call("GET", path)
    _, listed = await stack.call("POST", "/threads/search", {})
    _, selected = await stack.call("POST", "/threads/search", {"select": ["error"]})
    assert [alone["error"], listed[0]["error"], selected[0]["error"]] == [error] * 3


async def test_patching_merges_metadata_and_says_nothing_when_asked_to(stack: Stack) -> None:
    _, thread = await stack.call("POST", "/threads", {"metadata": {"a": 1, "b": {"c": 1}}})
    path = f"/threads/{thread['thread_id']}"
    _, patched = await stack.call("PATCH", path, {"metadata": {"a": None, "b": {"d": 1}}})
    assert patched["metadata"] == {"a": None, "b": {"d": 1}}
    assert patched["updated_at"] > thread["updated_at"]
    assert (await stack.call("PATCH", path, {}, headers={"Prefer": "return=minimal"})) == (204, "")
    assert (await stack.call("PATCH", f"/threads/{UNKNOWN}", {}))[0] == 404


async def test_a_column_that_is_selected_many_times_is_selected_once(stack: Stack) -> None:
    thread = await make_thread(stack)
    for path, member in (("threads", "thread_id"), ("assistants", "assistant_id"), ("runs/crons", "cron_id")):
        assert (await stack.call("POST", f"/{path}/search", {"select": [member] * 2_000}))[0] == 200
    assert await stack.call("POST", "/threads/search", {"select": ["thread_id"] * 2_000}) == (
        200,
        [{"thread_id": thread}],
    )


async def test_searching_pages_selects_and_extracts(stack: Stack) -> None:
    for n in range(4):
        await stack.call("POST", "/threads", {"metadata": {"suite": "s", "n": n, "nest": {"even": n % 2 == 0}}})
    await stack.call("POST", "/threads", {"metadata": {"suite": "other"}})

    async def search(**body: object) -> tuple[list[dict[str, object]], dict[str, str]]:
        data = msgspec.json.encode({"metadata": {"suite": "s"}, **body})
        async with stack.http.post(f"{stack.url}/threads/search", data=data) as answer:
            assert answer.status == 200
            names = ("x-pagination-total", "x-pagination-next")
            headers = {name: answer.headers[name] for name in names if name in answer.headers}
            return await answer.json(), headers

    page, headers = await search(limit=2, select=["metadata"])
    assert [row["metadata"]["n"] for row in page] == [3, 2]
    assert headers == {"x-pagination-total": "3", "x-pagination-next": "2"}
    assert (await search(limit=2, offset=2))[1] == {"x-pagination-total": "4"}
    assert await search(offset=100) == ([], {"x-pagination-total": "100"})
    page, _ = await search(
        sort_by="created_at", sort_order="asc", select=["status"], extract={"n": "metadata.n", "v": "values.x[-1]"}
    )
    assert page == [{"status": "idle", "extracted": {"n": n, "v": None}} for n in range(4)]
    assert len((await search(metadata={"suite": "s", "nest": {"even": True}}))[0]) == 2
    assert (await search(values={"x": 1}))[0] == []
    assert (await search(status="busy"))[0] == []
    assert await stack.call("POST", "/threads/search", {"extract": {"a": "zzz.x"}}) == (
        422,
        {"detail": "Extract path 'zzz.x' must start with one of: config, interrupts, metadata, values"},
    )
    assert (await stack.call("POST", "/threads/search", {"ids": ["zzz"]})) == (400, {"detail": "Invalid thread ID zzz"})


async def test_the_error_of_a_thread_can_be_selected(stack: Stack) -> None:
    async def fail(attempt: Attempt) -> None:
        await attempt.started()
        await attempt.finish(outcome="error", error={"error": "ValueError", "message": "no luck"})

    stack.play = fail
    fresh, failed = await make_thread(stack), await make_thread(stack)
    await stack.call("POST", f"/threads/{failed}/runs/wait", {"assistant_id": "echo", "input": {}})
    asked = {"select": ["thread_id", "error"], "sort_by": "created_at", "sort_order": "asc"}
    assert await stack.call("POST", "/threads/search", asked) == (
        200,
        [
            {"thread_id": fresh, "error": None},
            {"thread_id": failed, "error": {"error": "ValueError", "message": "no luck"}},
        ],
    )


async def test_the_state_before_the_first_checkpoint_needs_no_worker(stack: Stack) -> None:
    """No worker answers queries here: without the gateway's own answer they would be 504."""
    claimed = asyncio.Event()

    async def keep(attempt: Attempt) -> None:
        claimed.set()

    stack.play = keep
    thread = await make_thread(stack)
    await stack.call("POST", f"/threads/{thread}/runs", {"assistant_id": "slow", "input": {}})
    await asyncio.wait_for(claimed.wait(), 60)
    assert (await stack.call("GET", f"/threads/{thread}"))[1]["status"] == "busy"
    status, state = await stack.call("GET", f"/threads/{thread}/state")
    assert (status, state["values"], state["next"], state["checkpoint"]) == (200, {}, [], None)
    status, state = await stack.call("GET", f"/threads/{thread}/state/{UNKNOWN}")
    assert (status, state["values"], state["checkpoint"]["checkpoint_id"]) == (200, {}, UNKNOWN)
    assert await stack.call("POST", f"/threads/{thread}/history", {"limit": 10}) == (200, [])


async def test_pruning_counts_what_was_there(stack: Stack) -> None:
    ids = [(await stack.call("POST", "/threads", {}))[1]["thread_id"] for _ in range(2)]
    asked = {"thread_ids": [ids[0], ids[0], UNKNOWN]}
    assert await stack.call("POST", "/threads/prune", asked) == (200, {"pruned_count": 1})
    assert (await stack.call("GET", f"/threads/{ids[0]}"))[0] == 404
    kept = {"thread_ids": [ids[1]], "strategy": "keep_latest"}
    assert await stack.call("POST", "/threads/prune", kept) == (200, {"pruned_count": 1})
    assert (await stack.call("GET", f"/threads/{ids[1]}"))[0] == 200


async def test_a_thread_without_runs_has_an_empty_state_and_history(stack: Stack) -> None:
    _, thread = await stack.call("POST", "/threads", {})
    path = f"/threads/{thread['thread_id']}"
    status, state = await stack.call("GET", f"{path}/state")
    assert status == 200
    assert (state["values"], state["next"], state["checkpoint"]) == ({}, [], None)
    _, state = await stack.call("GET", f"{path}/state/nowhere")
    assert state["checkpoint"]["checkpoint_id"] == state["checkpoint_id"] == "nowhere"
    assert await stack.call("GET", f"{path}/history?limit=5") == (200, [])
    assert await stack.call("GET", f"{path}/history?limit=x") == (422, {"detail": "Invalid limit x"})
    assert (await stack.call("POST", f"{path}/state", {"values": {}}))[0] == 400


async def test_a_worker_answers_for_a_run_in_flight_whose_first_checkpoint_is_not_folded_yet(stack: Stack) -> None:
    begun = asyncio.Event()

    async def play(attempt: Attempt) -> None:
        await attempt.started()
        begun.set()

    stack.play = play
    stack.answers["state"] = lambda question: Answer(id="", body=msgspec.json.encode({"busy": question["busy"]}))
    stack.answers["history"] = lambda question: Answer(id="", body=msgspec.json.encode([question["busy"]]))
    _, thread = await stack.call("POST", "/threads", {})
    path = f"/threads/{thread['thread_id']}"
    await stack.call("POST", f"{path}/runs", {"assistant_id": "echo", "input": {}})
    await begun.wait()
    assert await stack.call("GET", f"{path}/state") == (200, {"busy": True})
    assert await stack.call("GET", f"{path}/history?limit=5") == (200, [True])
    assert await stack.call("GET", f"{path}/history?limit=0") == (200, [])


async def test_what_cannot_be_stored_is_refused(stack: Stack) -> None:
    for raw, status in (
        (b'{"metadata": {"a": "\\u0000"}}', 422),
        (b'{"metadata": {"a": "\\\\u0000"}}', 200),
        (b'{"metadata": {"a": "\xff"}}', 422),
        (b'{"metadata": {"a": "\\ud800"}}', 422),
        (b'{"metadata": ' + b"[" * 100_000, 422),
        (b"", 422),
        (b"{", 422),
        (b'{"metadata": null}', 422),
        (b'{"ttl": 5}', 422),
        (b'{"zzz": 5}', 200),
    ):
        async with stack.http.post(f"{stack.url}/threads", data=raw) as answer:
            assert answer.status == status, raw[:40]
            if status == 422:
                assert isinstance((await answer.json())["detail"], str)


async def test_who_follows_states_is_told_the_one_that_the_update_made_not_a_later_one(stack: Stack) -> None:
    _, thread = await stack.call("POST", "/threads", {})
    await stack.call("POST", f"/threads/{thread['thread_id']}/runs/wait", {"assistant_id": "echo", "input": {"a": 1}})
    asked: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def state(body: dict[str, Any]) -> Answer:
        asked.put_nowait(body)
        return Answer(id="", body=b'{"values": {"of": "the update"}}')

    stack.answers["state"] = state
    path = f"{stack.url}/threads/{thread['thread_id']}/stream?stream_modes=state_update"
    async with stack.http.get(path) as stream:
        command = cmd.UpdateState(
            thread_id=thread["thread_id"], checkpoints=[], values=Raw(b"{}"), checkpoint_id="of-the-update"
        )
        await append(stack.backbone, cmd.TOPIC, command.key, command.TYPE, cmd.encode(command), new_id())
        name, received, _ = await anext(read_events(stream))
    assert (name, received["state"]) == ("state_update", {"values": {"of": "the update"}})
    assert (await asked.get())["checkpoint_id"] == "of-the-update"


async def test_a_thread_is_followed_in_all_the_modes_that_clients_repeat(stack: Stack) -> None:
    _, thread = await stack.call("POST", "/threads", {})
    stack.answers["state"] = lambda _: Answer(id="", body=b'{"values": {}}')
    path = f"/threads/{thread['thread_id']}"
    query = httpx.QueryParams({"stream_mode": ["lifecycle", "state_update"]})
    async with asyncio.timeout(60), stack.http.get(f"{stack.url}{path}/stream?{query}") as stream:
        events = read_events(stream)
        await stack.call("POST", f"{path}/runs/wait", {"assistant_id": "echo", "input": {"a": 1}})
        assert [(await anext(events))[0] for _ in range(2)] == ["metadata", "metadata"]
        command = cmd.UpdateState(thread_id=thread["thread_id"], checkpoints=[], values=Raw(b"{}"))
        await append(stack.backbone, cmd.TOPIC, command.key, command.TYPE, cmd.encode(command), new_id())
        assert (await anext(events))[0] == "state_update"


async def test_a_cancel_that_does_not_wait_is_answered_at_once_by_a_run_that_does_not_stop(stack: Stack) -> None:
    begun = asyncio.Event()

    async def play(attempt: Attempt) -> None:
        await attempt.started()
        begun.set()

    stack.play = play
    _, thread = await stack.call("POST", "/threads", {})
    path = f"/threads/{thread['thread_id']}/runs"
    _, run = await stack.call("POST", path, {"assistant_id": "slow", "input": {}})
    await asyncio.wait_for(begun.wait(), 60)
    async with asyncio.timeout(60):
        assert await stack.call("POST", f"{path}/{run['run_id']}/cancel") == (202, "")
    assert (await stack.call("GET", f"{path}/{run['run_id']}"))[1]["status"] in ("pending", "running")
