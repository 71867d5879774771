"""NUL, which is valid in JSON and not in Postgres: a clear error at every entry, and no change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from langgraph_sdk.client import LangGraphClient

from .conftest import Server

UNKNOWN = "00000000-0000-4000-8000-000000000000"
BAD = "a\x00b"
RUN_PATHS = (
    "/threads/{t}/runs",
    "/threads/{t}/runs/wait",
    "/threads/{t}/runs/stream",
    "/runs",
    "/runs/wait",
    "/runs/stream",
)
RUNS: list[dict[str, Any]] = [
    {"input": {"by": BAD}},
    {"input": {BAD: 1}},
    {"input": BAD},
    {"command": {"resume": BAD}},
    {"metadata": {"k": BAD}},
    {"config": {"configurable": {"k": BAD}}},
    {"config": {"tags": [BAD]}},
    {"context": {"k": BAD}},
    {"webhook": f"https://example.org/{BAD}"},
    {"checkpoint_id": BAD},
    {"interrupt_before": [BAD]},
]
BODIES: list[tuple[str, str, Any]] = [
    *(("POST", path, {"assistant_id": "counter", **body}) for path in RUN_PATHS for body in RUNS),
    ("POST", "/runs/batch", [{"assistant_id": "counter", "input": {"k": BAD}}]),
    ("POST", "/threads", {"metadata": {"k": BAD}}),
    ("POST", "/threads", {"metadata": {"k": {BAD: [BAD]}}}),
    (
        "POST",
        "/threads",
        {"metadata": {"graph_id": "counter"}, "supersteps": [{"updates": [{"values": {"log": [BAD]}}]}]},
    ),
    ("PATCH", "/threads/{t}", {"metadata": {BAD: 1}}),
    ("POST", "/threads/search", {"metadata": {"k": BAD}}),
    ("POST", "/threads/search", {"values": {"k": BAD}}),
    ("POST", "/threads/search", {"extract": {"k": f"values.{BAD}"}}),
    ("POST", "/threads/count", {"values": {"k": BAD}}),
    ("POST", "/threads/{t}/state", {"values": {"log": [BAD]}}),
    ("POST", "/threads/{t}/state", {"values": {"log": []}, "as_node": BAD}),
    ("POST", "/threads/{t}/state/checkpoint", {"checkpoint": {"checkpoint_id": BAD}}),
    ("POST", "/threads/{t}/history", {"metadata": {"k": BAD}}),
    ("POST", "/threads/{t}/history", {"before": {"checkpoint_id": BAD}}),
    ("PUT", "/store/items", {"namespace": ["n"], "key": "k", "value": {"v": BAD}}),
    ("PUT", "/store/items", {"namespace": ["n"], "key": BAD, "value": {}}),
    ("PUT", "/store/items", {"namespace": [BAD], "key": "k", "value": {}}),
    ("DELETE", "/store/items", {"namespace": ["n"], "key": BAD}),
    ("POST", "/store/items/search", {"namespace_prefix": [BAD]}),
    ("POST", "/store/items/search", {"namespace_prefix": [], "filter": {"v": BAD}}),
    ("POST", "/store/namespaces", {"prefix": [BAD]}),
    ("POST", "/assistants", {"graph_id": "counter", "name": BAD}),
    ("POST", "/assistants", {"graph_id": "counter", "context": {"k": BAD}}),
    ("POST", "/assistants/search", {"metadata": {"k": BAD}}),
    ("POST", "/runs/crons", {"assistant_id": "counter", "schedule": "0 0 1 1 *", "input": {"k": BAD}}),
]
QUERIES = [
    "/threads/{t}/history?before=%00",
    "/threads/{t}/state/%00",
    "/threads/{t}/runs?status=%00",
    "/threads/{t}/runs?select=%00",
    "/threads/{t}/stream?stream_modes=%00",
    f"/threads/{{t}}/runs/{UNKNOWN}/stream?stream_mode=%00",
    "/threads/{t}%00",
    "/store/items?namespace=%00&key=k",
    "/store/items?namespace=n&key=%00",
    "/assistants/%00/graph",
]


@pytest.fixture
async def http(server: Server) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(server.url) as session:
        yield session


async def test_nul_in_a_body_gets_a_clear_answer_and_changes_nothing(
    http: aiohttp.ClientSession, client: LangGraphClient, thread: str
) -> None:
    await client.runs.wait(thread, "counter", input={"by": 1})
    before = await client.threads.get(thread), await client.threads.get_history(thread, limit=10)
    for method, path, body in BODIES:
        async with http.request(method, path.format(t=thread), json=body) as answer:
            shown = f"{method} {path} {body}"
            assert answer.status == 422, shown
            assert "NUL" in (await answer.json())["detail"], shown
    assert (await client.threads.get(thread), await client.threads.get_history(thread, limit=10)) == before
    assert len(await client.runs.list(thread)) == 1


async def test_nul_in_an_address_gets_a_clear_answer(http: aiohttp.ClientSession, thread: str) -> None:
    for path in QUERIES:
        async with http.get(path.format(t=thread)) as answer:
            assert answer.status == 422, path
            assert "NUL" in (await answer.json())["detail"], path


async def test_text_that_only_spells_nul_is_taken_as_it_is(client: LangGraphClient) -> None:
    thread: Any = await client.threads.create(metadata={"k": "\\u0000"})
    values: Any = await client.runs.wait(thread["thread_id"], "echo", input={"text": "\\u0000"})
    assert values["text"] == "\\u0000"
    result: Any = await client.threads.get(thread["thread_id"])
    assert result["metadata"]["k"] == result["values"]["text"] == "\\u0000"


async def test_nul_that_a_graph_returns_is_left_out_of_every_view_and_stays_the_graphs(
    client: LangGraphClient, thread: str
) -> None:
    """Postgres cannot hold it, so no view shows it: an answer, a stream and a search show the same. Checkpoints keep the value."""
    given = {"text": '{"k\\u0000": "a\\u0000b"}'}
    shown = {"k": "ab"}
    values: Any = await client.runs.wait(thread, "returning", input=given)
    assert values["value"] == shown
    parts = [part async for part in client.runs.stream(thread, "returning", input=given, stream_mode="values")]
    assert parts[-1].data["value"] == shown
    result: Any = await client.threads.get(thread)
    assert (result["status"], result["values"]["value"]) == ("idle", shown)
    state: Any = await client.threads.get_state(thread)
    history: Any = await client.threads.get_history(thread, limit=1)
    (listed,) = await client.threads.search(ids=[thread])
    for one in (state, history[0], listed):
        assert one["values"]["value"] == shown
    again: Any = await client.runs.wait(thread, "returning", input={"text": "1"})
    assert again["value"] == 1


async def test_keys_that_are_no_text_are_the_same_in_every_view(client: LangGraphClient, thread: str) -> None:
    shown = {"null": 1, "true": 2, "false": 3, "4": 4, "1.5": 5}
    values: Any = await client.runs.wait(thread, "returning", input={"text": "odd keys"})
    assert values["value"] == shown
    run = client.runs.stream(thread, "returning", input={"text": "odd keys"}, stream_mode=["values", "updates"])
    parts = [part async for part in run]
    assert [part.data["value"] for part in parts if part.event == "values"][-1] == shown
    assert [next(iter(part.data.values()))["value"] for part in parts if part.event == "updates"] == [shown]
    state: Any = await client.threads.get_state(thread)
    history: Any = await client.threads.get_history(thread, limit=1)
    result: Any = await client.threads.get(thread)
    (listed,) = await client.threads.search(ids=[thread], values={"value": {"null": 1, "true": 2}})
    for one in (state, history[0], result, listed):
        assert one["values"]["value"] == shown
