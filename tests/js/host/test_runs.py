"""Graphs in TypeScript over HTTP, by the official client: runs, streams, threads, store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError

from tests.js.host import stack
from tests.stack.server import LiveServer, kafka_env

LIMIT_S = 90.0


@pytest.fixture(scope="module", params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def server(
    request: pytest.FixtureRequest, host_program: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveServer]:
    env = kafka_env(request.getfixturevalue("kafka")) if request.param == "kafka" else {}
    folder = tmp_path_factory.mktemp(f"js-{request.param}")
    project = stack.copied_project(folder / "project")
    with LiveServer(project / "langgraph.json", folder, {"LANGLOG_WORKERS": "1", **env}).up() as live:
        yield live


@pytest.fixture
async def client(server: LiveServer) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=server.url) as opened:
        yield opened


async def new_thread(client: LangGraphClient) -> str:
    return (await client.threads.create())["thread_id"]


async def streamed(client: LangGraphClient, thread: str | None, graph: str, given: Any, **options: Any) -> list[Any]:
    return [part async for part in client.runs.stream(thread, graph, input=given, **options)]


async def test_a_run_is_waited_for(client: LangGraphClient) -> None:
    assert await client.runs.wait(None, "echo", input={"text": "hi"}) == {"text": "hi", "seen": ["said hi"]}


async def test_a_thread_keeps_what_its_runs_have_written(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    await client.runs.wait(thread, "echo", input={"text": "one"})
    await client.runs.wait(thread, "echo", input={"text": "two"})
    state = await client.threads.get_state(thread)
    assert state["values"] == {"text": "two", "seen": ["said one", "said two"]}
    assert (await client.threads.get(thread))["values"] == state["values"]
    history = await client.threads.get_history(thread, limit=10)
    assert [entry["values"].get("seen") for entry in history[::3]] == [["said one", "said two"], ["said one"]]
    first = history[3]["checkpoint"]
    assert (await client.threads.get_state(thread, checkpoint=first))["values"]["seen"] == ["said one"]
    before = await client.threads.get_history(thread, limit=1, before=first)
    assert before[0]["checkpoint"] == history[4]["checkpoint"]


async def test_every_mode_is_streamed(client: LangGraphClient) -> None:
    modes = ["values", "updates", "debug", "tasks", "checkpoints", "custom"]
    parts = await streamed(client, await new_thread(client), "nested", {}, stream_mode=modes, stream_subgraphs=True)
    assert {part.event.partition("|")[0] for part in parts} == {"metadata", *modes}
    subgraph = {part.event.partition("|")[2] for part in parts} - {""}
    assert len(subgraph) == 1 and next(iter(subgraph)).startswith("child:")
    assert [part.data for part in parts if part.event == "values"][-1]["trail"] == ["before", "after"]
    checkpoints = [part.data for part in parts if part.event == "checkpoints"]
    assert [entry["metadata"]["step"] for entry in checkpoints] == [-1, 0, 1, 2, 3]
    assert all(not name.startswith("__") for entry in checkpoints for name in entry["config"]["configurable"])
    debug = [part.data["type"] for part in parts if part.event == "debug"]
    assert {"checkpoint", "task", "task_result"} == set(debug)


async def test_messages_are_streamed_as_they_grow(client: LangGraphClient) -> None:
    given = {"messages": [{"role": "user", "content": "hi"}]}
    parts = await streamed(client, None, "chat", given, stream_mode=["messages", "messages-tuple"])
    tuples = [part.data[0] for part in parts if part.event == "messages"]
    assert "".join(message["content"] for message in tuples) == "one two three"
    parts = await streamed(client, None, "chat", given, stream_mode=["messages"])
    assert [part.event for part in parts[:2]] == ["metadata", "messages/metadata"]
    assert [part.data for part in parts if part.event == "messages/partial"][-1][0]["content"] == "one two three"
    events = await streamed(client, None, "chat", given, stream_mode=["events", "values"])
    assert {"on_chain_start", "on_chat_model_stream", "on_chain_end"} <= {
        part.data["event"] for part in events if part.event == "events"
    }
    assert any(part.event == "values" for part in events)


async def test_calls_of_tools_are_streamed_as_the_library_has_them(client: LangGraphClient) -> None:
    call = {"name": "add", "args": {"a": 1, "b": 2}, "id": "c1", "type": "tool_call"}
    given = {"messages": [{"role": "assistant", "content": "", "tool_calls": [call]}]}
    for modes in (["tools"], ["tools", "events"]):
        parts = await streamed(client, None, "tools", given, stream_mode=modes)
        started, ended = [part.data for part in parts if part.event == "tools"]
        assert (started["event"], started["toolCallId"], started["name"]) == ("on_tool_start", "c1", "add")
        assert (ended["event"], ended["toolCallId"], ended["output"]["content"]) == ("on_tool_end", "c1", "3")


@pytest.mark.parametrize("asks", [False, True])
async def test_untracked_values_are_part_of_the_output_and_of_nothing_that_is_kept(
    client: LangGraphClient, asks: bool
) -> None:
    thread = await new_thread(client)
    given = {"steps": 1, "token": "secret", "ask": asks}
    output: Any = await client.runs.wait(thread, "untracked", input=given)
    assert ("__interrupt__" in output, output["token"]) == (asks, "made from secret")
    kept: Any = await client.threads.get_state(thread)
    assert kept["values"] == {k: v for k, v in output.items() if k not in ("token", "__interrupt__")}
    assert (await client.threads.get(thread))["values"] == kept["values"]


async def test_mode_events_has_the_limit_of_steps_that_other_modes_have(client: LangGraphClient) -> None:
    cases = [
        ("long", 24, None, True),
        ("long", 40, None, False),
        ("long", 40, 60, True),
        ("long", 9, 5, False),
        ("short", 4, None, True),
        ("short", 9, None, False),
        ("short", 9, 20, True),
        ("far", 40, None, True),
        ("far", 70, None, False),
        ("far", 30, 20, False),
    ]
    for mode in ("values", "events", "tools"):
        for graph, steps, limit, reaches in cases:
            config: Any = {} if limit is None else {"recursion_limit": limit}
            parts = await streamed(client, None, graph, {"left": steps}, stream_mode=[mode], config=config)
            failed = [part.data["error"] for part in parts if part.event == "error"]
            assert failed == ([] if reaches else ["GraphRecursionError"]), (mode, graph, steps, limit)


async def test_a_command_of_no_effect_counts_as_none(client: LangGraphClient, server: LiveServer) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http:
        for command in ({"resume": None}, {"goto": []}, {"update": {}}, {"unknown": 1}):
            body = {"assistant_id": "echo", "input": {"text": "hi"}, "command": command}
            assert (await http.post("/runs/wait", json=body)).json() == {"text": "hi", "seen": ["said hi"]}


async def test_an_interrupt_is_answered(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    waits: Any = await client.runs.wait(thread, "asking", input={"draft": "x"})
    question = {"question": "approve?", "draft": "draft of x"}
    assert waits["__interrupt__"][0]["value"] == question
    found = await client.threads.get(thread)
    assert found["status"] == "interrupted"
    (interrupt,) = next(iter(found["interrupts"].values()))
    assert interrupt["value"] == question
    state = await client.threads.get_state(thread)
    assert state["next"] == ["ask"] and state["interrupts"] == [interrupt]
    done: Any = await client.runs.wait(thread, "asking", command={"resume": {interrupt["id"]: "yes"}})
    assert done["final"] == "draft of x -> yes"
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_a_node_can_be_stopped_at(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    await client.runs.wait(thread, "echo", input={"text": "a"}, interrupt_before=["echo"])
    state = await client.threads.get_state(thread)
    assert state["next"] == ["echo"] and state["values"]["seen"] == []
    done: Any = await client.runs.wait(thread, "echo", input=None)
    assert done["seen"] == ["said a"]


async def test_a_subgraph_that_waits_is_seen_and_answered(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    await client.runs.wait(thread, "nested", input={"pause": True})
    state = await client.threads.get_state(thread, subgraphs=True)
    (task,) = state["tasks"]
    assert task["name"] == "child" and task["state"]["next"] == ["leaf"]
    inner = await client.threads.get_state(thread, checkpoint=task["state"]["checkpoint"])
    assert inner["values"] == {"pause": True}
    done: Any = await client.runs.wait(thread, "nested", command={"resume": "said"})
    assert done["leaf_said"] == "said" and done["trail"] == ["before", "after"]


async def test_a_state_is_updated(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    await client.runs.wait(thread, "asking", input={"draft": "x"})
    await client.threads.update_state(thread, {"answer": "mine"}, as_node="ask")
    state = await client.threads.get_state(thread)
    assert state["values"]["answer"] == "mine" and state["next"] == ["finish"]
    done: Any = await client.runs.wait(thread, "asking", input=None)
    assert done["final"] == "draft of x -> mine"
    with pytest.raises(Exception, match="does not exist"):
        await client.threads.update_state(thread, {"answer": "mine"}, as_node="nowhere")


async def test_a_command_updates_and_goes_on(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    await client.runs.wait(thread, "asking", input={"draft": "x"})
    done: Any = await client.runs.wait(thread, "asking", command={"update": {"answer": "told"}, "goto": "finish"})
    assert done["final"] == "draft of x -> told"


async def test_a_node_that_throws_fails_its_run(client: LangGraphClient, server: LiveServer) -> None:
    thread = await new_thread(client)
    with pytest.raises(Exception, match="TooShort: s is too short"):
        await client.runs.wait(thread, "failing", input={"text": "s"})
    assert (await client.threads.get(thread))["status"] == "error"
    state = await client.threads.get_state(thread)
    assert state["tasks"][0]["error"] == "TooShort: s is too short"
    assert state["values"]["seen"] == ["first"]
    failed = server.wait_for(lambda event: event.get("event") == "run.failed" and event.get("graph_id") == "failing")
    assert "src/failing.ts:11" in failed["traceback"] and "caused by: Error: a cause" in failed["traceback"]


async def test_the_console_of_a_graph_is_in_the_log_with_its_run(client: LangGraphClient, server: LiveServer) -> None:
    thread = await new_thread(client)
    run = await client.runs.create(thread, "echo", input={"text": "loud and clear"})
    await client.runs.join(thread, run["run_id"])

    line = await asyncio.to_thread(server.wait_for, lambda event: event.get("text") == "echo loud and clear")
    assert (line["event"], line["level"]) == ("graph.console", "info")
    assert (line["run_id"], line["thread_id"], line["graph_id"]) == (run["run_id"], thread, "echo")


async def test_the_store_is_the_servers(client: LangGraphClient) -> None:
    await client.store.put_item(["memories", "ada"], "tea", {"text": "tea"})
    done: Any = await client.runs.wait(None, "memory", input={"user": "ada", "remember": "jam"})
    assert done["recalled"] == ["jam", "tea"]
    items = await client.store.search_items(["memories", "ada"])
    assert sorted(item["key"] for item in items["items"]) == ["jam", "tea"]


async def test_a_function_makes_a_graph_for_each_config(client: LangGraphClient) -> None:
    loud = {"configurable": {"style": "loud"}}
    assert (await client.runs.wait(None, "made", input={"text": "a"}, config=loud)) == {"text": "a", "styled": "A"}
    assert (await client.runs.wait(None, "made", input={"text": "a"}))["styled"] == "a"
    assistant = await client.assistants.create("made", config=loud)
    drawn = await client.assistants.get_graph(assistant["assistant_id"])
    assert "loud" in {node["id"] for node in drawn["nodes"]}


async def begun(client: LangGraphClient, thread: str, seconds: float = 600.0) -> str:
    """A run of the slow graph that is inside its node."""
    ids: list[str] = []
    given = {"seconds": seconds, "ticks": 600 if seconds > 10 else 4}
    parts = client.runs.stream(
        thread, "slow", input=given, stream_mode="custom", on_run_created=lambda run: ids.append(run["run_id"])
    )
    async for part in parts:
        if part.event == "custom":
            break
    return ids[0]


async def test_a_run_is_cancelled(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    run = await begun(client, thread)
    await client.runs.cancel(thread, run, wait=True)
    assert (await client.runs.get(thread, run))["status"] == "interrupted"
    state = await client.threads.get_state(thread)
    assert state["next"] == ["sleeper"] and state["values"]["done"] == ["begin"]
    assert state["tasks"][0]["error"] == "CancelledError()"


async def test_a_run_is_rolled_back(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    await client.runs.wait(thread, "slow", input={"seconds": 0})
    run = await begun(client, thread)
    await client.runs.cancel(thread, run, wait=True, action="rollback")
    assert (await client.threads.get_state(thread))["values"]["done"] == ["begin", "slept"]
    assert run not in [left["run_id"] for left in await client.runs.list(thread)]


async def test_a_thread_belongs_to_one_language(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    await client.runs.wait(thread, "echo", input={"text": "a"})
    with pytest.raises(Exception, match="written by a graph in JavaScript"):
        await client.runs.wait(thread, "python", input={"text": "b"})
    with pytest.raises(ConflictError, match="written by a graph in JavaScript"):
        await client.threads.get_state(thread)
    other = await new_thread(client)
    await client.runs.wait(other, "python", input={"text": "a"})
    with pytest.raises(Exception, match="written by a graph in Python"):
        await client.runs.wait(other, "echo", input={"text": "b"})
    with pytest.raises(ConflictError, match="written by a graph in Python"):
        await client.threads.get_state(other)


async def test_many_runs_at_once_keep_apart(client: LangGraphClient) -> None:
    texts = [f"text {n}" for n in range(40)]
    results = await asyncio.gather(*(client.runs.wait(None, "echo", input={"text": text}) for text in texts))
    assert [result["seen"] for result in results] == [[f"said {text}"] for text in texts]


async def test_a_large_state_passes(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    text = "ä\n" * 1_000_000
    done: Any = await client.runs.wait(thread, "echo", input={"text": text})
    assert done["text"] == text
    assert (await client.threads.get_state(thread))["values"]["seen"] == [f"said {text}"]


@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_a_conversation_over_the_streaming_protocol(client: LangGraphClient, transport: Any) -> None:
    async with asyncio.timeout(LIMIT_S), client.threads.stream(assistant_id="chat", transport=transport) as thread:
        await thread.run.start(input={"messages": [{"type": "human", "content": "hi"}]})
        messages = [message async for message in thread.messages]
        words = [piece for message in messages for piece in [piece async for piece in message.text]]
        assert "".join(words) == "one two three" and len(words) > 3
        assert (await thread.output)["messages"][-1]["content"] == "one two three"


async def test_subgraphs_and_questions_over_the_streaming_protocol(client: LangGraphClient) -> None:
    async with asyncio.timeout(LIMIT_S), client.threads.stream(assistant_id="nested") as thread:
        await thread.run.start(input={"pause": True})
        assert [handle.graph_name async for handle in thread.subgraphs] == ["child"]
        state = await client.threads.get_state(thread.thread_id)
        assert [interrupt["value"] for interrupt in state["interrupts"]] == [{"ask": "leaf"}]
        (question,) = thread.interrupts
        assert [label.partition(":")[0] for label in question["namespace"]] == ["child"]
        await thread.run.respond("said")
        assert (await thread.output)["leaf_said"] == "said"


async def test_a_long_run_moves_to_another_worker_at_its_next_step(client: LangGraphClient, server: LiveServer) -> None:
    thread = await new_thread(client)
    run = await begun(client, thread, seconds=2.0)
    (worker,) = server.workers()
    worker.terminate()
    done: Any = await client.runs.join(thread, run)
    assert done["done"] == ["begin", "slept"]
    assert (await client.runs.get(thread, run))["status"] == "success"
