"""The official Python client's thread streams hold a conversation, asynchronous and not, over both transports."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest
from langgraph_sdk import get_client, get_sync_client

from tests.stack.server import LiveServer

Transport = Literal["sse", "websocket"]
LIMIT_S = 90.0
ENDS = ("completed", "failed", "interrupted")

pytestmark = pytest.mark.parametrize("transport", ["sse", "websocket"])


def human(text: str) -> dict[str, Any]:
    return {"messages": [{"type": "human", "content": text}]}


def counted(numbers: int) -> str:
    return " ".join(str(n) for n in range(numbers))


def said(state: dict[str, Any]) -> list[str]:
    """The text of each message, whichever form it has."""
    return [
        content if isinstance(content := message["content"], str) else "".join(b.get("text", "") for b in content)
        for message in state["messages"]
    ]


async def test_an_answer_is_read_word_by_word(server: LiveServer, transport: Transport) -> None:
    client = get_client(url=server.url)
    async with asyncio.timeout(LIMIT_S), client.threads.stream(assistant_id="assistant", transport=transport) as thread:
        await thread.run.start(input=human("count 12"))
        # a message fills while the messages are read, so its words are asked for afterwards
        messages = [message async for message in thread.messages]
        words = [word for message in messages for word in [piece async for piece in message.text]]
        assert words == ["0"] + [f" {n}" for n in range(1, 12)]
        assert said(await thread.output) == ["count 12", counted(12)]


async def test_a_tool_waits_for_an_answer_of_ours(server: LiveServer, transport: Transport) -> None:
    client = get_client(url=server.url)
    async with asyncio.timeout(LIMIT_S), client.threads.stream(assistant_id="assistant", transport=transport) as thread:
        await thread.run.start(input=human("weather in Rome"))
        # the SDK receives the question on a connection of its own, and ends the snapshots then: they may lack those that are under way
        snapshots = [snapshot async for snapshot in thread.values]
        await interrupted(thread)
        state = await client.threads.get_state(thread.thread_id)
        snapshots.append(state["values"])
        assert snapshots[-1]["messages"][-1]["tool_calls"][0]["args"] == {"place": "Rome"}
        assert [i["value"] for i in state["interrupts"]] == [{"question": "look up Rome?"}]
        await thread.run.respond("yes")
        assert said(await thread.output)[-2:] == ["sunny in Rome", "You said: sunny in Rome"]


async def test_what_a_subgraph_does_comes_under_its_name(server: LiveServer, transport: Transport) -> None:
    client = get_client(url=server.url)
    async with asyncio.timeout(LIMIT_S), client.threads.stream(assistant_id="assistant", transport=transport) as thread:
        await thread.run.start(input=human("research bees"))
        assert [handle.graph_name async for handle in thread.subgraphs] == ["library"]
    async with asyncio.timeout(LIMIT_S):
        async with client.threads.stream(thread.thread_id, assistant_id="assistant", transport=transport) as thread:
            words = [
                event["params"]["data"]["delta"]["text"]
                async for event in raw(thread, namespaces=[["library"]])
                if event["params"]["data"].get("event") == "content-block-delta"
                and [step.partition(":")[0] for step in event["params"]["namespace"]] == ["library", "shelf"]
            ]
        assert "".join(words) == "You said: I read about research bees"
        assert said(await thread.output)[-1] == "You said: I read about research bees"


async def test_a_cancelled_run_ends_the_stream(server: LiveServer, transport: Transport) -> None:
    client = get_client(url=server.url)
    async with asyncio.timeout(LIMIT_S), client.threads.stream(assistant_id="assistant", transport=transport) as thread:
        run_id = (await thread.run.start(input=human("count 1000")))["run_id"]
        asked = False
        async for event in thread.subscribe(["messages", "lifecycle"]):
            if event["method"] == "messages" and not asked:
                asked = True
                await client.runs.cancel(thread.thread_id, run_id)
            if event["method"] == "lifecycle" and event["params"]["data"]["event"] == "interrupted":
                break
        assert (await client.runs.get(thread.thread_id, run_id))["status"] == "interrupted"


async def test_who_leaves_in_the_middle_and_comes_back_misses_nothing(server: LiveServer, transport: Transport) -> None:
    client = get_client(url=server.url)
    async with asyncio.timeout(LIMIT_S):
        async with client.threads.stream(assistant_id="assistant", transport=transport) as first:
            async for event in raw(first, start="count 60"):
                if event["method"] == "messages" and event["params"]["data"]["event"] == "content-block-delta":
                    break
        async with client.threads.stream(first.thread_id, assistant_id="assistant", transport=transport) as second:
            again = [event async for event in raw(second)]
    assert [event["seq"] for event in again] == list(range(1, len(again) + 1))
    deltas = [
        e["params"]["data"]["delta"]["text"] for e in again if e["params"]["data"].get("event") == "content-block-delta"
    ]
    assert "".join(deltas) == counted(60)


async def test_a_run_that_another_client_started_is_heard_too(server: LiveServer, transport: Transport) -> None:
    client = get_client(url=server.url)
    thread_id = (await client.threads.create())["thread_id"]
    async with asyncio.timeout(LIMIT_S):
        async with client.threads.stream(thread_id, assistant_id="assistant", transport=transport) as thread:
            reading = asyncio.create_task(all_of(raw(thread)))
            await client.runs.wait(thread_id, "assistant", input=human("count 5"))
            live = await reading
        async with client.threads.stream(thread_id, assistant_id="assistant", transport=transport) as late:
            assert [(e["seq"], e["method"]) async for e in raw(late)] == [(e["seq"], e["method"]) for e in live]
    assert {"lifecycle", "values"} <= {event["method"] for event in live}


def test_the_client_without_asyncio_holds_the_same_conversation(server: LiveServer, transport: Transport) -> None:
    client = get_sync_client(url=server.url)
    with client.threads.stream(assistant_id="assistant", transport=transport) as thread:
        thread.run.start(input=human("weather in Oslo"))
        snapshots = list(thread.values)
        assert snapshots[-1]["messages"][-1]["tool_calls"][0]["args"] == {"place": "Oslo"}
        while not thread.interrupted:
            time.sleep(0.01)
        state = client.threads.get_state(thread.thread_id)
        asked = [{"id": i["interrupt_id"], "value": i["value"]} for i in thread.interrupts]
        assert asked == [{"id": i["id"], "value": i["value"]} for i in state["interrupts"]]
        thread.run.respond("yes")
        assert said(thread.output)[-2:] == ["sunny in Oslo", "You said: sunny in Oslo"]
    with client.threads.stream(assistant_id="assistant", transport=transport) as thread:
        thread.run.start(input=human("count 8"))
        assert ["".join(message.text) for message in thread.messages] == [counted(8)]
        assert said(thread.output)[-1] == counted(8)


async def test_several_projections_are_read_in_the_order_of_the_server(
    server: LiveServer, transport: Transport
) -> None:
    client = get_client(url=server.url)
    async with asyncio.timeout(LIMIT_S), client.threads.stream(assistant_id="assistant", transport=transport) as thread:
        await thread.run.start(input=human("count 3"), metadata={"why": "test"}, config={"tags": ["t"]})
        answer = [item async for item in thread.interleave_projections(["values", "messages", "tool_calls", "note"])]
        assert [name for name, _ in answer if name == "messages"] == ["messages"]
        assert said([item for name, item in answer if name == "values"][-1]) == ["count 3", counted(3)]
        assert said(await thread.output.with_timeout(LIMIT_S)) == ["count 3", counted(3)]
        thread.observe_applied_through_seq(10**6)
    runs: Any = await client.runs.list(thread.thread_id)
    assert [(run["metadata"]["why"], run["kwargs"]["config"]["tags"]) for run in runs] == [("test", ["t"])]


async def test_what_a_run_does_not_do_ends_without_a_word(server: LiveServer, transport: Transport) -> None:
    client = get_client(url=server.url)
    async with asyncio.timeout(LIMIT_S):
        for name in ("tool_calls", "subgraphs", "subagents", "extensions"):
            async with client.threads.stream(assistant_id="assistant", transport=transport) as thread:
                await thread.run.start(input=human("count 2"))
                projection: Any = getattr(thread, name)
                assert [item async for item in (projection["note"] if name == "extensions" else projection)] == []


async def test_the_drawing_of_the_assistant_is_to_be_had(server: LiveServer, transport: Transport) -> None:
    client = get_client(url=server.url)
    async with asyncio.timeout(LIMIT_S), client.threads.stream(assistant_id="assistant", transport=transport) as thread:
        assert {node["id"] for node in (await thread.agent.get_tree())["nodes"]} >= {"answer", "library"}
        assert any("shelf" in str(node["id"]) for node in (await thread.agent.get_tree(xray=True))["nodes"])
        await thread.close()


DRIVEN = {
    "agent",
    "close",
    "events",
    "extensions",
    "interleave_projections",
    "interrupted",
    "interrupts",
    "messages",
} | {
    *("observe_applied_through_seq", "output", "run", "subagents", "subgraphs", "subscribe", "tool_calls", "values"),
    *("assistant_id", "thread_id"),
}
"""Members of a thread stream that this file uses."""


@pytest.mark.parametrize("make", [get_client, get_sync_client])
def test_no_member_of_a_thread_stream_is_forgotten(server: LiveServer, transport: Transport, make: Any) -> None:
    result = make(url=server.url).threads.stream(assistant_id="assistant", transport=transport)
    assert {name for name in dir(type(result)) if not name.startswith("_")} <= DRIVEN
    assert {name for name in vars(result) if not name.startswith("_")} <= DRIVEN
    for name in ("run", "agent"):
        members = {member for member in dir(getattr(result, name)) if not member.startswith("_")}
        assert members <= {"start", "respond", "get_tree"}


async def interrupted(thread: Any) -> None:
    """Until the stream's own watcher, which has no signal for it, has received the interrupt."""
    while not thread.interrupted:
        await asyncio.sleep(0.01)


async def raw(
    thread: Any, start: str | None = None, namespaces: list[list[str]] | None = None
) -> AsyncIterator[dict[str, Any]]:
    """Return every event until the run's end; with ``namespaces`` those of messages there."""
    if start is not None:
        await thread.run.start(input=human(start))
    events = thread.events if namespaces is None else thread.subscribe(["messages"], namespaces=namespaces)
    async with contextlib.aclosing(events) if hasattr(events, "aclose") else contextlib.nullcontext():
        async for event in events:
            if event["type"] != "event":  # a WebSocket brings answers to commands too
                continue
            yield event
            params = event["params"]
            if event["method"] == "lifecycle" and not params["namespace"] and params["data"]["event"] in ENDS:
                return


async def all_of(events: AsyncIterator[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event async for event in events]
