"""Stream transformers of a graph: clients receive what langgraph's readers in a process do."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest
from langgraph_sdk import get_client, get_sync_client

from tests.protocol.conftest import LIMIT_S, Pair
from tests.protocol.following import ALL, Thread, ThreadEvent, times
from tests.stack.releases import stream_transformers

pytestmark = stream_transformers

EVERY = [*ALL, "custom", "updates"]
NEAR = {"name": "nodes", "payload": {"node": "near", "depth": 0}}
DEEP = {"name": "nodes", "payload": {"node": "deep", "depth": 1}}
INNER = {"name": "nodes", "payload": {"node": "inner", "depth": 0}}
COUNT = {"name": "count", "payload": 3}
MOOD = {"name": "mood", "payload": "good"}


def custom(events: list[ThreadEvent]) -> list[Any]:
    return [event.data for event in events if event.method == "custom"]


@pytest.mark.asyncio(loop_scope="session")
async def test_what_is_pushed_on_named_channels_is_sent_under_its_name(thread: Thread, pair: Pair) -> None:
    await thread.start("walker", {"text": "a"})
    whole = await thread.follow(channels=EVERY)
    sent = custom(whole)
    assert [data for data in sent if data["name"] != "mood"] == [NEAR, DEEP, INNER, COUNT]
    assert [data for data in sent if data["name"] == "mood"] == [MOOD] * 3
    assert {tuple(event.namespace) for event in whole if event.method == "custom"} == {()}
    assert [event.seq for event in whole] == list(range(1, len(whole) + 1)), "in one order with the others"
    assert whole[-1].root("completed"), "after what is pushed at the end"
    assert [e.data["event"] for e in whole if e.method == "lifecycle" and e.namespace] == ["started", "completed"]
    counts = await thread.follow(channels=["lifecycle", "custom:count"], namespaces=[[]])
    assert custom(counts) == [COUNT]
    assert custom(await thread.follow(channels=EVERY, since=whole[-2].seq - 1)) == [COUNT]
    assert await thread.at(pair.second_url).follow(channels=EVERY) == whole
    await pair.cluster.kill("redis")
    assert await thread.follow(channels=EVERY) == whole, "from the recording"


@pytest.mark.parametrize("transport", ["sse", "websocket"])
@pytest.mark.asyncio(loop_scope="session")
async def test_the_python_client_reads_them_as_extensions(pair: Pair, transport: Literal["sse", "websocket"]) -> None:
    client = get_client(url=pair.cluster.url)
    async with asyncio.timeout(LIMIT_S), client.threads.stream(assistant_id="walker", transport=transport) as stream:
        await stream.run.start(input={"text": "a"})
        assert [item async for item in stream.extensions["nodes"]] == [NEAR, DEEP, INNER]
        assert await stream.output == {"text": "a!!"}
    async with asyncio.timeout(LIMIT_S), client.threads.stream(assistant_id="walker", transport=transport) as stream:
        await stream.run.start(input={"text": "a"})
        both = [item async for item in stream.interleave_projections(["values", "nodes", "count"])]
        assert [item for name, item in both if name != "values"] == [NEAR, DEEP, INNER, COUNT]


def test_the_python_client_without_asyncio_reads_them_too(pair: Pair) -> None:
    with get_sync_client(url=pair.cluster.url).threads.stream(assistant_id="walker") as stream:
        stream.run.start(input={"text": "a"})
        assert list(stream.extensions["nodes"]) == [NEAR, DEEP, INNER]


@pytest.mark.asyncio(loop_scope="session")
async def test_an_interrupt_comes_after_what_transformers_push_when_the_graph_stops(thread: Thread) -> None:
    await thread.start("halting", {"text": "a"})
    events = await thread.follow(channels=EVERY)
    events += await thread.follow(lambda event: True, since=events[-1].seq, channels=EVERY)
    assert custom(events)[-1]["name"] == "count"
    last_push = max(n for n, event in enumerate(events) if event.method == "custom")
    assert [event.method for event in events[last_push + 1 :]] == ["input.requested", "lifecycle", "values"]
    asked = next(event for event in events if event.method == "input.requested").data
    await thread.command("input.respond", interrupt_id=asked["interrupt_id"], response="fine", namespace=[])
    after = await thread.follow(lambda event: event.root("completed"), since=events[-1].seq, channels=EVERY)
    assert [event.data for event in after if event.method == "values"][-1] == {"text": "a!", "answer": "fine"}


@pytest.mark.asyncio(loop_scope="session")
async def test_what_transformers_change_or_suppress_is_changed_for_clients_and_not_for_the_thread(
    thread: Thread,
) -> None:
    await thread.start("masked", {"messages": [{"role": "user", "content": "5"}]})
    events = await thread.follow(channels=EVERY)
    spoken = [e.data for e in events if e.method == "messages" and e.data["event"] == "content-block-delta"]
    assert "".join(data["delta"]["text"] for data in spoken) == "0 1 2 * 4 "
    assert not [event for event in events if event.method == "values"]
    state = (await thread.get("/state"))["values"]
    assert state["messages"][-1]["content"][0]["text"] == "0 1 2 3 4 "


@pytest.mark.asyncio(loop_scope="session")
async def test_a_transformer_that_raises_ends_the_run_with_its_error(thread: Thread) -> None:
    run = await thread.start("broken", {"count": 1000, "pause": 0.01})
    assert (await thread.follow())[-1].data == {"event": "failed", "graph_name": "broken", "error": "two is too much"}
    assert (await thread.get(f"/runs/{run}"))["status"] == "error"
    reached = (await thread.get("/state"))["values"]["n"]
    await thread.start("walker", {"text": "a"})
    await thread.follow(times(2))
    assert reached < 1000, "the graph has stopped"


@pytest.mark.asyncio(loop_scope="session")
async def test_transformers_see_the_error_of_a_graph(thread: Thread) -> None:
    await thread.start("failing_watched", {"text": "a"})
    events = await thread.follow(channels=EVERY)
    assert custom(events) == [{"name": "count", "payload": "no luck"}]
    assert events[-1].data["error"] == "no luck"


@pytest.mark.asyncio(loop_scope="session")
async def test_a_run_is_cancelled_whatever_its_transformers_wait_for(thread: Thread) -> None:
    run = await thread.start("stuck", {"count": 100_000, "pause": 0.01})
    await thread.follow(lambda event: event.method == "values" and event.data.get("n") == 3)
    await thread.post(f"/runs/{run}/cancel?wait=true")
    events = await thread.follow()
    assert events[-1].root("interrupted")
    assert (await thread.get(f"/runs/{run}"))["status"] == "interrupted"


@pytest.mark.parametrize("mode", ["custom", "updates", "values"])
@pytest.mark.asyncio(loop_scope="session")
async def test_classic_streams_show_nothing_of_transformers(thread: Thread, mode: str) -> None:
    await thread.start("steps", {"count": 1})
    body = {"assistant_id": "walker", "input": {"text": "a"}, "stream_mode": mode}
    async with thread.http.post(f"{thread.path}/runs/stream", json=body) as answer:
        text = await answer.text()
    assert "nodes" not in text
    assert "mood" not in text
