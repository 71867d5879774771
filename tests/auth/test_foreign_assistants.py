"""Somebody else's assistant is not there, in whichever way a run names it; the graphs' own assistants are everybody's."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.gateway.conftest import MakeStack, Stack

PROJECT = Path(__file__).parent / "sharing" / "langgraph.json"
SECRET = "ALICES-SYSTEM-PROMPT"


@pytest.fixture
async def stack(make_stack_on_both: MakeStack) -> AsyncIterator[Stack]:
    async with make_stack_on_both(project=PROJECT) as made:
        yield made


async def call(stack: Stack, who: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    return await stack.call(method, path, body, headers={"authorization": who, **headers})


def ways(thread_id: str, assistant_id: str) -> list[tuple[str, Any]]:
    """Return every route that runs an assistant."""
    run = {"assistant_id": assistant_id, "input": {}}
    said = {"message": {"messageId": "m", "parts": [{"kind": "data", "data": {}}]}}
    rpc = {"jsonrpc": "2.0", "id": 1}
    return [
        ("/runs", run),
        ("/runs/wait", run),
        ("/runs/stream", run),
        ("/runs/batch", [{"assistant_id": "echo", "input": {}}, run]),
        (f"/threads/{thread_id}/runs", run),
        (f"/threads/{thread_id}/runs/wait", run),
        (f"/threads/{thread_id}/runs/stream", run),
        (f"/threads/{thread_id}/commands", {"id": 1, "method": "run.start", "params": run}),
        ("/runs/crons", {**run, "schedule": "0 0 1 1 *"}),
        (f"/threads/{thread_id}/runs/crons", {**run, "schedule": "0 0 1 1 *"}),
        (f"/a2a/{assistant_id}", {**rpc, "method": "message/send", "params": said}),
        (f"/a2a/{assistant_id}", {**rpc, "method": "message/stream", "params": said}),
    ]


async def test_another_tenants_assistant_is_not_there_for_any_run(stack: Stack) -> None:
    private = {"graph_id": "echo", "config": {"configurable": {"secret": SECRET}}, "metadata": {"note": SECRET}}
    _, assistant = await call(stack, "alice", "POST", "/assistants", private)
    _, thread = await call(stack, "bob", "POST", "/threads", {})
    nobodys = str(uuid.uuid4())
    accept = {"accept": "application/json, text/event-stream"}
    theirs = ways(thread["thread_id"], assistant["assistant_id"])
    for (path, body), (other, nothing) in zip(theirs, ways(thread["thread_id"], nobodys), strict=True):
        status, answer = await call(stack, "bob", "POST", path, body, **accept)
        same = await call(stack, "bob", "POST", other, nothing, **accept)
        assert msgspec.json.encode(same) == msgspec.json.encode((status, answer)).replace(
            assistant["assistant_id"].encode(), nobodys.encode()
        ), path
        assert status == 404 or b"error" in msgspec.json.encode(answer), (path, status, answer)
    assert SECRET not in str(await call(stack, "bob", "GET", f"/threads/{thread['thread_id']}"))
    assert (await call(stack, "bob", "GET", f"/threads/{thread['thread_id']}/runs"))[1] == []
    assert (await call(stack, "alice", "POST", "/runs/wait", {"assistant_id": assistant["assistant_id"]}))[0] == 200


async def test_the_assistants_of_the_graphs_are_everybodys(stack: Stack) -> None:
    _, body = await call(stack, "bob", "POST", "/runs/wait", {"assistant_id": "echo", "input": {"a": 1}})
    assert body == {"a": 1}
    unknown = await call(stack, "bob", "POST", "/runs/wait", {"assistant_id": "nothing", "input": {}})
    assert unknown[0] == 422
