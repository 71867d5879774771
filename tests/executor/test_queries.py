"""Queries that need the graph, sent through Redis and answered by a worker's query server (wire contract §2 and §4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from langlog_backbone.context import Backbone
from langlog_backbone.project.config import read_project
from langlog_backbone.redis import channels
from langlog_backbone.time.clock import new_id, now_ms
from langlog_executor.checkpoints.checkpointer import LogCheckpointer
from langlog_executor.checkpoints.reader import CheckpointReader
from langlog_executor.graphs.loading import Graphs, load_graphs
from langlog_executor.queries.server import QueryServer
from langlog_executor.runtime.command_sender import CommandSender
from langlog_executor.runtime.graph_loops import GraphLoops
from langlog_executor.runtime.io_loop import IoLoop
from langlog_executor.runtime.records import RunRecords
from langlog_schemas import commands, messages
from langlog_schemas.commands import CreateThread, UpdateState
from langlog_schemas.messages import Answer, Query

from tests.stack.releases import current_langgraph

PROJECT = Path(__file__).parents[1] / "contract" / "graphs" / "langgraph.json"
Ask = Callable[..., Awaitable[Answer]]
LIMIT_S = 60

pytestmark = pytest.mark.parametrize("log_kind", ["sqlite"])


@pytest.fixture(scope="session")
def graphs() -> Graphs:
    return load_graphs(read_project(PROJECT))


@pytest.fixture
async def ask(backbone: Backbone, io: IoLoop, graphs: Graphs) -> AsyncIterator[Ask]:
    """Asks as a gateway does."""
    loops = GraphLoops(io, threads=4)
    server = asyncio.create_task(QueryServer(io, graphs, loops, CheckpointReader(io), None).serve())
    waiting: dict[str, asyncio.Future[Answer]] = {}

    def heard(data: bytes) -> None:
        assert data[:1] == b"A"
        answer = messages.decode_answer(data[1:])
        waiting.pop(answer.id).set_result(answer)

    await backbone.bus.subscribe(channels.gateway("g1"), heard)

    async def ask(kind: str, /, **body: Any) -> Answer:
        query = Query(
            id=new_id(), kind=kind, reply_to="g1", body=msgspec.json.encode(body), deadline_ms=now_ms() + LIMIT_S * 1000
        )
        waiting[query.id] = asyncio.get_running_loop().create_future()
        await backbone.pipe.call("LPUSH", backbone.pipe.key("queries"), messages.encode(query))
        return await asyncio.wait_for(waiting[query.id], LIMIT_S)

    yield ask
    server.cancel()
    await asyncio.gather(server, return_exceptions=True)
    loops.stop()


@pytest.fixture
async def run(io: IoLoop, graphs: Graphs) -> Callable[..., Awaitable[str]]:
    """Runs a graph on a thread, as a worker does, and waits until the read model holds its checkpoints."""
    reader = CheckpointReader(io)
    sender = CommandSender(io)

    async def run(graph_id: str, given: Any, thread_id: str | None = None, **configurable: Any) -> str:
        if thread_id is None:
            thread_id = new_id()
            await sender.send([CreateThread(thread_id=thread_id, metadata={"graph_id": graph_id})])
        saver = LogCheckpointer(RunRecords(io, None, thread_id), reader)
        config: Any = {
            "configurable": {"thread_id": thread_id, "graph_id": graph_id, "user_id": "", **configurable},
            "metadata": {"graph_id": graph_id, "created_by": "system"},
        }
        async with graphs.open(graph_id, config, checkpointer=saver) as graph:
            await graph.ainvoke(given, config)
        await saver.aget_tuple({"configurable": {"thread_id": thread_id}})
        return thread_id

    return run


@pytest.fixture
async def update(ask: Ask, io: IoLoop) -> Callable[..., Awaitable[dict[str, Any]]]:
    """Query an update and have it decided; return the new checkpoint."""
    sender = CommandSender(io)

    async def update(kind: str = "update_state", /, **body: Any) -> dict[str, Any]:
        body.setdefault("metadata", {"graph_id": body["graph_id"], "thread_id": body["thread_id"]})
        answer = await ask(kind, **body)
        assert answer.status == 200, answer.detail
        decoded = msgspec.json.decode(answer.body, type=dict[str, msgspec.Raw])
        command = commands.decode(UpdateState.TYPE, bytes(decoded["command"]))
        await sender.send([command])
        return msgspec.json.decode(decoded["checkpoint"]) if "checkpoint" in decoded else {}

    return update


async def answered(answering: Awaitable[Answer]) -> Any:
    answer = await answering
    assert answer.status == 200, answer.detail
    return msgspec.json.decode(answer.body)


async def test_the_state_of_a_thread_shows_its_latest_checkpoint(ask: Ask, run: Any) -> None:
    thread_id = await run("counter", {"by": 3})
    state = await answered(ask("state", graph_id="counter", thread_id=thread_id))
    assert state["values"] == {"by": 3, "total": 6, "log": ["add:3", "double"]}
    assert state["next"] == []
    assert state["tasks"] == []
    assert state["interrupts"] == []
    assert state["metadata"] == {
        "graph_id": "counter",
        "thread_id": thread_id,
        "created_by": "system",
        "user_id": "",
        "source": "loop",
        "step": 2,
        "parents": {},
    }
    assert set(state["checkpoint"]) == {"checkpoint_id", "thread_id", "checkpoint_ns"}
    assert state["checkpoint"]["thread_id"] == thread_id
    assert state["checkpoint_id"] == state["checkpoint"]["checkpoint_id"]
    assert state["parent_checkpoint_id"] == state["parent_checkpoint"]["checkpoint_id"]
    assert state["created_at"].endswith("+00:00")


async def test_a_thread_without_checkpoints_has_an_empty_state(ask: Ask) -> None:
    state = await answered(ask("state", graph_id="counter", thread_id=new_id()))
    assert state == {
        "values": {},
        "next": [],
        "tasks": [],
        "metadata": None,
        "created_at": None,
        "checkpoint": None,
        "parent_checkpoint": None,
        "interrupts": [],
        "checkpoint_id": None,
        "parent_checkpoint_id": None,
    }


@pytest.mark.parametrize("unknown", ["1f1e572a-4bea-6b1b-8002-850bd8f9734d", "zzz"])
async def test_an_unknown_checkpoint_gives_an_empty_state_that_repeats_the_id(ask: Ask, run: Any, unknown: str) -> None:
    thread_id = await run("counter", {"by": 3})
    state = await answered(ask("state", graph_id="counter", thread_id=thread_id, checkpoint_id=unknown))
    assert state["values"] == {}
    assert state["checkpoint_id"] == unknown
    assert state["checkpoint"] == {"checkpoint_id": unknown, "thread_id": thread_id, "checkpoint_ns": ""}
    assert state["created_at"] is None


async def test_a_past_checkpoint_shows_what_its_tasks_gave(ask: Ask, run: Any) -> None:
    thread_id = await run("counter", {"by": 3})
    history = await answered(ask("history", graph_id="counter", thread_id=thread_id, limit=10))
    assert [s["metadata"]["step"] for s in history] == [2, 1, 0, -1]
    assert [s["next"] for s in history] == [[], ["double"], ["add"], ["__start__"]]
    past = await answered(
        ask("state", graph_id="counter", thread_id=thread_id, checkpoint_id=history[1]["checkpoint_id"])
    )
    assert past == history[1]
    (task,) = past["tasks"]
    assert task == {
        "id": task["id"],
        "name": "double",
        "path": ["__pregel_pull", "double"],
        "error": None,
        "interrupts": [],
        "checkpoint": None,
        "state": None,
        "result": {"total": 3, "log": ["double"]},
    }


async def test_history_is_limited_filtered_and_continued(ask: Ask, run: Any) -> None:
    thread_id = await run("counter", {"by": 3})
    everything = await answered(ask("history", graph_id="counter", thread_id=thread_id, limit=10))
    assert await answered(ask("history", graph_id="counter", thread_id=thread_id)) == everything[:1]
    before = everything[1]["checkpoint_id"]
    assert (
        await answered(ask("history", graph_id="counter", thread_id=thread_id, limit=2, before=before))
        == everything[2:4]
    )
    assert [
        s["metadata"]["step"]
        for s in await answered(
            ask("history", graph_id="counter", thread_id=thread_id, limit=9, metadata={"source": "input"})
        )
    ] == [-1]


async def test_interrupts_show_in_the_state_and_answered_ones_do_not(ask: Ask, run: Any) -> None:
    thread_id = await run("nested", {"pause": True})
    state = await answered(ask("state", graph_id="nested", thread_id=thread_id))
    assert state["next"] == ["child"]
    (task,) = state["tasks"]
    assert state["interrupts"] == task["interrupts"]
    assert [i["value"] for i in state["interrupts"]] == [{"ask": "leaf"}]
    assert set(state["interrupts"][0]) == {"id", "value"}
    assert task["checkpoint"] == {"thread_id": thread_id, "checkpoint_ns": f"child:{task['id']}"}
    assert task["state"] is None


async def test_subgraph_states_are_nested_and_can_be_asked_for_by_namespace(ask: Ask, run: Any) -> None:
    thread_id = await run("nested", {"pause": True})
    state = await answered(ask("state", graph_id="nested", thread_id=thread_id, subgraphs=True))
    (task,) = state["tasks"]
    assert task["checkpoint"] is None
    child = task["state"]
    assert child["values"] == {"pause": True, "child_only": "x"}
    assert child["next"] == ["inner"]
    namespace = f"child:{task['id']}"
    assert child["checkpoint"]["checkpoint_ns"] == namespace
    assert child["checkpoint"]["checkpoint_map"] == {"": state["checkpoint_id"], namespace: child["checkpoint_id"]}
    assert child["metadata"]["checkpoint_ns"] == namespace
    assert child["metadata"]["checkpoint_map"] == {"": state["checkpoint_id"]}
    assert child["metadata"]["langgraph_node"] == "child"
    assert child["metadata"]["langgraph_triggers"] == ["branch:to:child"]
    assert child["metadata"]["langgraph_path"] == ["__pregel_pull", "child"]
    (inner,) = child["tasks"]
    assert inner["state"]["next"] == ["leaf"]
    assert (
        await answered(ask("state", graph_id="nested", thread_id=thread_id, checkpoint_ns=namespace, subgraphs=True))
        == child
    )
    history = await answered(ask("history", graph_id="nested", thread_id=thread_id, checkpoint_ns=namespace, limit=10))
    assert [s["metadata"]["step"] for s in history] == [1, 0, -1]


@current_langgraph
async def test_an_update_goes_through_reducers_and_drops_unknown_keys(ask: Ask, run: Any, update: Any) -> None:
    thread_id = await run("counter", {"by": 3})
    place = {"graph_id": "counter", "thread_id": thread_id}
    checkpoint = await update(**place, values={"total": 10, "log": ["patched"], "zzz": 1})
    state = await answered(ask("state", **place))
    assert state["values"] == {"by": 3, "total": 16, "log": ["add:3", "double", "patched"]}
    assert state["checkpoint"] == checkpoint
    assert state["metadata"] == {
        "graph_id": "counter",
        "thread_id": thread_id,
        "source": "update",
        "step": 3,
        "parents": {},
    }
    assert state["next"] == []
    await update(**place, values={"total": 1, "log": ["as add"]}, as_node="add")
    state = await answered(ask("state", **place))
    assert state["next"] == ["double"]
    assert state["values"]["log"] == ["add:3", "double", "patched", "as add"]


async def test_an_update_of_a_past_checkpoint_makes_a_branch(ask: Ask, run: Any, update: Any) -> None:
    thread_id = await run("counter", {"by": 3})
    place = {"graph_id": "counter", "thread_id": thread_id}
    history = await answered(ask("history", **place, limit=10))
    past = history[1]["checkpoint_id"]
    checkpoint = await update(**place, values={"total": 100}, checkpoint_id=past)
    state = await answered(ask("state", **place))
    assert state["checkpoint"] == checkpoint
    assert state["parent_checkpoint_id"] == past
    assert state["values"] == {"by": 3, "total": 103, "log": ["add:3"]}
    assert state["next"] == ["double"]
    assert state["metadata"]["checkpoint_id"] == past


@pytest.mark.parametrize(
    ("as_node", "values", "source", "next"),
    [
        ("__end__", None, "update", []),
        ("__copy__", None, "fork", ["double"]),
        ("__start__", {"by": 5}, "update", ["add"]),
        ("__input__", {"by": 5}, "input", ["__start__", "double"]),
        (None, None, "update", ["double"]),
    ],
)
async def test_updates_end_copy_and_start_anew(
    ask: Ask, run: Any, update: Any, as_node: str | None, values: Any, source: str, next: list[str]
) -> None:
    thread_id = await run("counter", {"by": 3})
    place = {"graph_id": "counter", "thread_id": thread_id}
    await update(**place, values={"total": 1}, as_node="add")
    await update(**place, values=values, as_node=as_node)
    state = await answered(ask("state", **place))
    assert state["metadata"]["source"] == source
    if as_node is not None:
        assert state["next"] == next


async def test_a_subgraph_can_be_updated(ask: Ask, run: Any, update: Any) -> None:
    thread_id = await run("nested", {"pause": True})
    place = {"graph_id": "nested", "thread_id": thread_id}
    (task,) = (await answered(ask("state", **place)))["tasks"]
    namespace = f"child:{task['id']}"
    checkpoint = await update(**place, values={"child_only": "patched"}, checkpoint_ns=namespace)
    assert checkpoint["checkpoint_ns"] == namespace
    assert set(checkpoint["checkpoint_map"]) == {"", namespace}
    child = await answered(ask("state", **place, checkpoint_ns=namespace))
    assert child["values"]["child_only"] == "patched"
    assert child["checkpoint"] == checkpoint


async def test_what_cannot_be_updated_is_refused_and_what_a_reducer_raises_is_500(ask: Ask, run: Any) -> None:
    thread_id = await run("counter", {"by": 3})
    place = {"graph_id": "counter", "thread_id": thread_id}
    answer = await ask("update_state", **place, values={"total": 1}, as_node="zzz")
    assert (answer.status, answer.detail) == (400, "Node zzz does not exist")
    answer = await ask("update_state", **place, values={"total": "str"})
    assert answer.status == 500
    assert (answer.detail or "").startswith("TypeError: unsupported operand type(s) for +")
    answer = await ask("update_state", **place, values={"total": 1}, checkpoint_ns="zzz:1")
    assert (answer.status, answer.detail) == (400, "Subgraph zzz not found")


async def test_supersteps_fill_a_new_thread(ask: Ask, update: Any, io: IoLoop) -> None:
    thread_id = new_id()
    await CommandSender(io).send([CreateThread(thread_id=thread_id, metadata={"graph_id": "counter"})])
    place = {"graph_id": "counter", "thread_id": thread_id}
    await update(
        "supersteps",
        **place,
        supersteps=[
            {"updates": [{"values": {"by": 2}, "as_node": "__input__"}]},
            {"updates": [{"values": {"by": 2}, "as_node": "__start__"}]},
            {"updates": [{"values": {"total": 2, "log": ["add:2"]}, "as_node": "add"}]},
            {"updates": [{"command": {"update": {"total": 4, "log": ["double"]}}, "as_node": "double"}]},
        ],
    )
    state = await answered(ask("state", **place))
    assert state["values"] == {"by": 2, "total": 6, "log": ["add:2", "double"]}
    assert len(await answered(ask("history", **place, limit=10))) == 4
    answer = await ask("supersteps", **place, supersteps=[{"updates": [{"values": {}, "as_node": "zzz"}]}])
    assert (answer.status, answer.detail) == (400, "Node zzz does not exist")


async def test_the_state_without_a_run_is_that_of_the_checkpoints_left(ask: Ask, run: Any) -> None:
    first, second = new_id(), new_id()
    thread_id = await run("counter", {"by": 3}, run_id=first)
    await run("counter", {"by": 1}, thread_id, run_id=second)
    place = {"graph_id": "counter", "thread_id": thread_id}
    assert await answered(ask("state_without_run", **place, run_id=second)) == {
        "values": {"by": 3, "total": 6, "log": ["add:3", "double"]},
        "next": [],
        "interrupts": {},
    }
    alone = await run("counter", {"by": 3}, run_id=first)
    assert await answered(ask("state_without_run", graph_id="counter", thread_id=alone, run_id=first)) == {
        "values": None,
        "next": [],
        "interrupts": {},
    }


async def test_drawings_show_nodes_and_edges_to_the_depth_asked_for(ask: Ask) -> None:
    assert await answered(ask("graph", graph_id="echo", config={})) == {
        "nodes": [
            {"id": "__start__", "type": "runnable", "data": {"name": "__start__"}},
            {"id": "echo", "type": "runnable", "data": {"name": "echo"}},
            {"id": "__end__"},
        ],
        "edges": [{"source": "__start__", "target": "echo"}, {"source": "echo", "target": "__end__"}],
    }
    deep = await answered(ask("graph", graph_id="nested", config={}, xray=True))
    assert "child:inner:leaf" in [node["id"] for node in deep["nodes"]]
    one = await answered(ask("graph", graph_id="nested", config={}, xray=1))
    assert "child:inner" in [node["id"] for node in one["nodes"]]


async def test_subgraphs_and_schemas(ask: Ask) -> None:
    members = {"input_schema", "output_schema", "state_schema", "config_schema", "context_schema"}
    result = await answered(ask("subgraphs", graph_id="nested"))
    assert list(result) == ["child"]
    assert set(result["child"]) == members
    assert set(await answered(ask("subgraphs", graph_id="nested", recurse=True))) == {"child", "child|inner"}
    assert await answered(ask("subgraphs", graph_id="nested", namespace="zzz")) == {}
    schemas = await answered(ask("schemas", graph_id="counter"))
    assert set(schemas) == {"graph_id", *members}
    assert schemas["state_schema"]["title"] == "counter_state"


async def test_what_nobody_can_answer_is_told_at_once(ask: Ask) -> None:
    assert (await ask("state", graph_id="zzz", thread_id="t")).status == 404
    assert (await ask("nonsense", graph_id="counter")).status == 400
    assert (await ask("state", graph_id="counter")).status == 422


async def test_a_question_past_its_deadline_is_dropped(ask: Ask, backbone: Backbone) -> None:
    late = Query(id="late", kind="schemas", reply_to="g1", body=b'{"graph_id": "counter"}', deadline_ms=now_ms() - 1)
    await backbone.pipe.call("LPUSH", backbone.pipe.key("queries"), messages.encode(late))
    # an answer to it would break the handler, which knows only what it asked for
    assert (await ask("schemas", graph_id="counter")).status == 200


async def test_many_questions_at_once_are_all_answered(ask: Ask, run: Any) -> None:
    thread_id = await run("counter", {"by": 3})
    states = await asyncio.gather(
        *(answered(ask("state", graph_id="counter", thread_id=thread_id)) for _ in range(200))
    )
    assert all(state == states[0] for state in states)
