"""Clients that want a part of an answer get that part: members of a state, namespaces of a stream, a run from a checkpoint on."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import UnprocessableEntityError

from tests.stack.server import LiveServer
from tests.streams.reading import events_of

LIMIT_S = 90.0


@pytest.fixture
async def http(server: LiveServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(server.url, timeout=aiohttp.ClientTimeout(total=LIMIT_S)) as opened:
        yield opened


# --- select on states ---------------------------------------------------------------------------


async def counted(client: LangGraphClient) -> str:
    thread: str = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "counter", input={"by": 3})
    return thread


async def test_a_state_has_the_members_that_are_selected(client: LangGraphClient) -> None:
    thread = await counted(client)
    whole: Any = await client.threads.get_state(thread)
    ways: list[dict[str, Any]] = [
        {},
        {"checkpoint": whole["checkpoint"]},
        {"checkpoint_id": whole["checkpoint"]["checkpoint_id"]},
    ]
    for way in ways:
        result: Any = await client.threads.get_state(thread, select=["next", "checkpoint"], **way)
        assert result == {"next": [], "checkpoint": whole["checkpoint"]}
        one: Any = await client.threads.get_state(thread, select=["values.total", "values.nope"], **way)
        assert one == {"values": {"total": 6}}
        both: Any = await client.threads.get_state(thread, select=["values.total", "values", "metadata"], **way)
        assert both == {"values": whole["values"], "metadata": whole["metadata"]}
        assert await client.threads.get_state(thread, select=[], **way) == whole


async def test_each_state_of_a_history_has_the_members_that_are_selected(
    client: LangGraphClient, http: aiohttp.ClientSession
) -> None:
    thread = await counted(client)
    whole: list[Any] = await client.threads.get_history(thread)
    history: list[Any] = await client.threads.get_history(thread, select=["values.log", "tasks"])
    logs = [{"log": log} if (log := state["values"].get("log")) is not None else {} for state in whole]
    assert history == [{"values": log, "tasks": s["tasks"]} for log, s in zip(logs, whole, strict=True)]
    # the JavaScript client writes lists of the query as JSON
    for query in ([("select", "next"), ("select", "created_at")], [("select", '["next","created_at"]')]):
        async with http.get(f"/threads/{thread}/history", params=[("limit", "2"), *query]) as answer:
            assert await answer.json() == [{n: state[n] for n in ("next", "created_at")} for state in whole[:2]]


async def test_a_thread_without_a_state_selects_as_well(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    result: Any = await client.threads.get_state(thread, select=["values.total", "next"])
    assert result == {"values": {}, "next": []}
    thread = await counted(client)
    unknown: Any = await client.threads.get_state(thread, checkpoint_id=str(uuid.uuid4()), select=["tasks"])
    assert unknown == {"tasks": []}


async def test_what_no_state_has_cannot_be_selected(client: LangGraphClient) -> None:
    thread = await counted(client)
    for call in (client.threads.get_state, client.threads.get_history):
        for name in ("zzz", "values.", "value.x"):
            with pytest.raises(UnprocessableEntityError, match="Invalid select columns"):
                await call(thread, select=[name])


# --- namespaces of a stream ---------------------------------------------------------------------


async def names(http: aiohttp.ClientSession, method: str, path: str, body: Any = None, **params: Any) -> list[str]:
    """Names of the events of a stream, task ids cut off."""
    query = [(k, v) for k, given in params.items() for v in (given if isinstance(given, list) else [given])]
    headers = {"last-event-id": "-1"} if method == "GET" else {}
    async with http.request(method, path, json=body, params=query, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        collected = [event.name async for event in events_of(answer)]
    return ["|".join(step.partition(":")[0] for step in name.split("|")) for name in collected]


async def test_a_stream_has_the_namespaces_that_are_asked_for(
    client: LangGraphClient, http: aiohttp.ClientSession
) -> None:
    info: Any = await client.http.get("/info")
    assert info["flags"]["stream_namespaces"] is True
    thread = (await client.threads.create())["thread_id"]
    body = {
        "assistant_id": "nested",
        "input": {},
        "stream_mode": ["updates", "custom"],
        "stream_subgraphs": True,
        "stream_resumable": True,
    }
    path = f"/threads/{thread}/runs/stream"
    whole = await names(http, "POST", path, body)
    assert {"updates", "updates|child", "custom|child|inner"} <= set(whole)
    root = await names(http, "POST", path, body, namespace="")
    assert root == [name for name in whole if "|" not in name]
    assert await names(http, "POST", path, body, namespace="child") == ["metadata", *["updates|child"] * 2]
    both = await names(http, "POST", path, body, namespace=["", "child|inner"])
    assert both == [name for name in whole if "|" not in name or name.count("|") == 2]
    stateless = await names(http, "POST", "/runs/stream", body, namespace=json.dumps([""]))
    assert stateless == root
    [run, *_] = await client.runs.list(thread)
    for at in (f"/threads/{thread}/runs/{run['run_id']}/stream", f"/runs/{run['run_id']}/stream"):
        assert await names(http, "GET", at, namespace="child") == ["metadata", *["updates|child"] * 2]
        assert await names(http, "GET", at) == whole


async def test_events_of_mode_events_know_their_namespace(http: aiohttp.ClientSession) -> None:
    body = {"assistant_id": "nested", "input": {}, "stream_mode": "events", "stream_subgraphs": True}
    async with http.post("/runs/stream", json=body, params={"namespace": ""}) as answer:
        received = [json.loads(event.data) async for event in events_of(answer) if event.name == "events"]
    nodes = {event["metadata"].get("langgraph_node") for event in received}
    assert {"before", "child", "after"} <= nodes
    assert "leaf" not in nodes


# --- a run from a checkpoint on ------------------------------------------------------------------


async def joined(http: aiohttp.ClientSession, path: str, last: str | None = "-1", **params: str) -> list[Any]:
    headers = {} if last is None else {"last-event-id": last}
    async with http.get(path, headers=headers, params=params) as answer:
        assert answer.status == 200, await answer.text()
        return [(event.name, json.loads(event.data)) async for event in events_of(answer)]


async def test_a_run_is_joined_from_the_checkpoint_that_the_client_shows(
    client: LangGraphClient, http: aiohttp.ClientSession
) -> None:
    thread = await counted(client)
    [before] = await client.threads.get_history(thread, limit=1)
    options: dict[str, Any] = {"stream_mode": ["values", "updates", "tasks"], "stream_resumable": True}
    parts = [part async for part in client.runs.stream(thread, "counter", input={"by": 1}, **options)]
    whole = [(part.event, part.data) for part in parts]
    [run, *_] = await client.runs.list(thread)
    path = f"/threads/{thread}/runs/{run['run_id']}/stream"
    last, middle, first, *_ = [s["checkpoint"]["checkpoint_id"] for s in await client.threads.get_history(thread)]
    begun = {data["name"]: place for place, (name, data) in reversed([*enumerate(whole)]) if name == "tasks"}
    added, doubled = begun["add"], begun["double"]
    for last_id in ("-1", None):
        assert await joined(http, path, last_id, checkpoint_id=middle) == whole[doubled:]
        assert await joined(http, path, last_id, checkpoint_id=last) == []
    assert await joined(http, path, checkpoint_id=first) == whole[added:]
    assert await joined(http, path, checkpoint_id=middle, stream_mode="updates") == [
        part for part in whole[doubled:] if part[0] == "updates"
    ]
    for foreign in (before["checkpoint"]["checkpoint_id"], str(uuid.uuid4())):
        assert await joined(http, path, checkpoint_id=foreign) == whole
    assert await joined(http, path, parts[2].id, checkpoint_id=middle) == whole[3:], "an event's id comes first"


async def test_a_checkpoint_of_a_run_that_is_not_resumable_is_refused(
    client: LangGraphClient, http: aiohttp.ClientSession
) -> None:
    thread = await counted(client)
    [run, *_] = await client.runs.list(thread)
    [state] = await client.threads.get_history(thread, limit=1)
    for path in (f"/threads/{thread}/runs/{run['run_id']}/stream", f"/runs/{run['run_id']}/stream"):
        for checkpoint in (state["checkpoint"]["checkpoint_id"], str(uuid.uuid4())):
            params = {"checkpoint_id": checkpoint, "cancel_on_disconnect": "1"}
            async with http.get(path, params=params) as answer:
                assert answer.status == 422
                assert "was made without stream_resumable" in (await answer.json())["detail"]
        assert await joined(http, path, None, checkpoint_id="") == await joined(http, path, None)


async def test_a_run_that_goes_on_is_joined_from_its_checkpoint(
    client: LangGraphClient, http: aiohttp.ClientSession
) -> None:
    thread = (await client.threads.create())["thread_id"]
    options: dict[str, Any] = {"stream_mode": ["values", "custom"], "stream_resumable": True, "durability": "sync"}
    run = await client.runs.create(thread, "slow", input={"seconds": 60, "ticks": 600}, **options)
    path = f"/threads/{thread}/runs/{run['run_id']}/stream"
    async with http.get(path, headers={"last-event-id": "-1"}) as answer:
        async for event in events_of(answer):
            if event.name == "custom":  # in its second node: by "sync", the checkpoint before it is in the log
                break
    state: Any = await client.threads.get_state(thread)
    assert state["next"] == ["sleeper"]
    query = {"checkpoint_id": state["checkpoint"]["checkpoint_id"]}
    async with http.get(path, headers={"last-event-id": "-1"}, params=query) as answer:
        async for event in events_of(answer):
            assert (event.name, event.json["tick"]) == ("custom", 0)
            break
    await client.runs.cancel(thread, run["run_id"], wait=True)


# --- a run by its id alone ------------------------------------------------------------------------


async def test_a_stateless_run_is_joined_by_its_id(
    client: LangGraphClient, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    options: dict[str, Any] = {"stream_mode": "values", "stream_resumable": True}
    run = await client.runs.create(None, "gated", input={"gate": str(gate)}, **options)
    async with http.get(f"/runs/{run['run_id']}/stream", headers={"last-event-id": "-1"}) as answer:
        assert answer.status == 200, await answer.text()
        gate.touch()  # joined: it may end
        received = [event.name async for event in events_of(answer)]
    assert received == ["metadata", *["values"] * 3]
    for gone in (run["run_id"], str(uuid.uuid4())):
        async with http.get(f"/runs/{gone}/stream") as answer:
            assert (answer.status, await answer.json()) == (404, {"detail": "Not Found"})
    async with http.get("/runs/zzz/stream") as answer:
        assert answer.status == 422


async def test_who_leaves_a_stateless_stream_may_cancel_the_run(
    client: LangGraphClient, http: aiohttp.ClientSession
) -> None:
    options: dict[str, Any] = {"on_completion": "keep", "stream_resumable": True, "stream_mode": "custom"}
    run = await client.runs.create(None, "slow", input={"seconds": 60, "ticks": 600}, **options)
    path = f"/runs/{run['run_id']}/stream"
    async with http.get(path, params={"cancel_on_disconnect": "1"}, headers={"last-event-id": "-1"}) as answer:
        async for event in events_of(answer):
            if event.name == "custom":
                break
    await client.runs.join(run["thread_id"], run["run_id"])
    assert (await client.runs.get(run["thread_id"], run["run_id"]))["status"] == "interrupted"


# --- why a run was cancelled ----------------------------------------------------------------------


async def test_a_run_tells_why_it_was_cancelled(client: LangGraphClient, http: aiohttp.ClientSession) -> None:
    thread = (await client.threads.create())["thread_id"]
    running = await client.runs.create(thread, "slow", input={"seconds": 60})
    waiting = await client.runs.create(thread, "slow", input={"seconds": 60})
    for run in (waiting, running):
        path = f"/threads/{thread}/runs/{run['run_id']}/cancel"
        for wrong in ({"reason": "zzz"}, {"reason": "taken", "action": "rollback"}):
            async with http.post(path, params=wrong) as answer:
                assert answer.status == 422
        async with http.post(path, params={"reason": "taken", "wait": "1"}) as answer:
            assert answer.status == 200
        result: Any = await client.runs.get(thread, run["run_id"])
        assert (result["status"], result["cancel_reason"][:6]) == ("interrupted", "taken:")
    plain = await client.runs.create(thread, "slow", input={"seconds": 60})
    await client.runs.cancel(thread, plain["run_id"], wait=True)
    done = await client.runs.wait(thread, "echo", input={"text": "a"})
    assert done["echoed"] == "A"
    assert all("cancel_reason" not in run for run in (await client.runs.list(thread))[:2])
    reasons: list[Any] = await client.runs.list(thread, select=["cancel_reason"])
    assert [(run["cancel_reason"] or "")[:9] for run in reasons] == ["", "interrupt", "taken: in", "taken: in"]
