"""langgraph's `RemoteGraph`: one of our graphs as a node of a graph elsewhere, as if it ran there."""

from __future__ import annotations

import importlib.util
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.pregel.remote import RemoteException, RemoteGraph
from langgraph.types import Command
from langgraph_sdk.client import LangGraphClient

from tests.e2e.conftest import PROJECT
from tests.stack.server import LiveServer

GRAPHS = Path(__file__).parents[1] / "contract" / "graphs"
TASK_ID = re.compile(r":[0-9a-f-]{36}")


def project_module(name: str, folder: Path = GRAPHS) -> Any:
    """A module of the server's project, to be run here."""
    spec = importlib.util.spec_from_file_location(f"here_{name}", folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    result = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(result)
    return result


def around(node: Any, schema: Any) -> Any:
    """A graph here that has that graph as a node."""

    def after(state: Any) -> dict[str, Any]:
        return {}

    builder = StateGraph(schema).add_node("remote", node).add_node("after", after)
    builder.add_edge(START, "remote").add_edge("remote", "after").add_edge("after", END)
    return builder.compile(checkpointer=InMemorySaver())


def new_thread() -> Any:
    return {"configurable": {"thread_id": str(uuid.uuid4())}}


async def over(client: LangGraphClient, config: Any) -> None:
    """Returns once nothing runs on the thread. A node stops listening when it sees an interrupt, a little before the run's end."""
    thread = config["configurable"]["thread_id"]
    for run in await client.runs.list(thread):
        await client.runs.join(thread, run["run_id"])


async def streamed(graph: Any, config: Any, given: Any, modes: list[str]) -> list[Any]:
    """(namespace without task ids, mode, data) of all events."""
    return [
        (tuple(TASK_ID.sub("", part) for part in namespace), mode, data)
        async for namespace, mode, data in graph.astream(given, config, stream_mode=modes, subgraphs=True)
    ]


@pytest.mark.parametrize("modes", [["values"], ["updates"], ["custom"], ["values", "updates", "custom"]])
async def test_a_node_streams_from_the_server_what_it_would_stream_here(server: LiveServer, modes: list[str]) -> None:
    nested = project_module("nested")
    given = {"trail": ["start"]}
    there = await streamed(around(RemoteGraph("nested", url=server.url), nested.State), new_thread(), given, modes)
    here = await streamed(around(nested.graph, nested.State), new_thread(), given, modes)
    assert there == here
    assert any(len(namespace) == 3 for namespace, _, _ in there), "those of its subgraphs as well"


async def test_words_of_a_model_on_the_server_arrive_as_they_are_said(server: LiveServer) -> None:
    from langgraph.graph import MessagesState

    graph = around(RemoteGraph("agent", url=server.url), MessagesState)
    said: Any = {"messages": [{"role": "user", "content": "one two three"}]}
    words = [
        message["content"]
        for _, _, (message, _) in await streamed(graph, new_thread(), said, ["messages"])
        if isinstance(message, dict) and message["type"] == "AIMessageChunk"
    ]
    assert "".join(words) == "You said: one two three"
    assert len([word for word in words if word]) == 5


@pytest.mark.parametrize(
    ("name", "given", "asked", "result"),
    [
        (
            "interrupting",
            {"draft": "x"},
            {"question": "approve?", "draft": "draft of x"},
            ("final", "draft of x -> yes"),
        ),
        ("nested", {"pause": True}, {"ask": "leaf"}, ("leaf_said", "yes")),
    ],
)
async def test_an_interrupt_on_the_server_is_one_here_and_is_answered_here(
    server: LiveServer, client: LangGraphClient, name: str, given: Any, asked: Any, result: tuple[str, str]
) -> None:
    """Answered by the interrupt's id: langgraph passes a bare answer on to no remote graph."""
    graph, config = around(RemoteGraph(name, url=server.url), project_module(name).State), new_thread()
    stopped = await graph.ainvoke(given, config)
    (interrupt,) = stopped["__interrupt__"]
    assert interrupt.value == asked
    state = await graph.aget_state(config)
    assert state.next == ("remote",)
    assert state.tasks[0].interrupts[0].value == asked
    values = await graph.ainvoke(Command(resume={interrupt.id: "yes"}), config)
    key, expected = result
    assert values[key] == expected
    assert (await graph.aget_state(config)).next == ()
    await over(client, config)
    statuses = [run["status"] for run in await client.runs.list(config["configurable"]["thread_id"])]
    assert statuses == ["success", "success"]


async def test_the_state_of_a_node_is_read_through_the_graph_around_it(server: LiveServer) -> None:
    graph = around(RemoteGraph("nested", url=server.url), project_module("nested").State)
    config = new_thread()
    await graph.ainvoke({"pause": True}, config)
    ((task,), (plain,)) = (await graph.aget_state(config, subgraphs=True)).tasks, (await graph.aget_state(config)).tasks
    # down to the innermost of the server's subgraphs
    assert task.state.next == ("child",)
    assert task.state.tasks[0].state.next == ("inner",)
    assert task.state.tasks[0].state.tasks[0].state.next == ("leaf",)
    # and by the namespace that the graph around it has for it
    assert (await graph.aget_state(plain.state)).values == {"trail": ["before"], "pause": True}
    past = [entry async for entry in graph.aget_state_history(plain.state)]
    assert [entry.next for entry in past] == [("child",), ("before",), ("__start__",)]
    assert [entry async for entry in graph.aget_state_history(plain.state, limit=1)] == past[:1]


async def test_history_is_filtered_and_a_fork_of_it_runs_on(server: LiveServer) -> None:
    remote, config = RemoteGraph("counter", url=server.url), new_thread()
    await remote.ainvoke({"by": 1}, config)
    await remote.ainvoke({"by": 2}, config)
    past = [entry async for entry in remote.aget_state_history(config, limit=100)]
    assert [entry.metadata["step"] for entry in past if entry.metadata] == [6, 5, 4, 3, 2, 1, 0, -1]
    older = [entry async for entry in remote.aget_state_history(config, before=past[3].config, limit=2)]
    assert [entry.values for entry in older] == [entry.values for entry in past[4:6]]
    inputs = [entry async for entry in remote.aget_state_history(config, filter={"source": "input"}, limit=100)]
    assert [entry.next for entry in inputs] == [("__start__",)] * 2
    at = past[5]
    assert at.next == ("double",)
    assert (await remote.aget_state(at.config)).values == at.values == {"by": 1, "total": 1, "log": ["add:1"]}
    fork = await remote.aupdate_state(at.config, {"total": 10}, as_node="add")
    assert (await remote.aget_state(fork)).values["total"] == 11
    values: Any = await remote.ainvoke(None, fork)
    assert values["total"] == 22
    assert (await remote.aget_state(config)).values == values


async def test_a_command_for_the_graph_around_is_obeyed_there(server: LiveServer) -> None:
    state = project_module("handing_over", PROJECT.parent).State
    team = StateGraph(state).add_node("agent", RemoteGraph("handing_over", url=server.url)).add_edge(START, "agent")
    around_it = StateGraph(state).add_node("team", team.compile()).add_node("expert", lambda given: {"log": ["expert"]})
    graph = around_it.add_edge(START, "team").compile()
    values = await graph.ainvoke({"log": []})
    assert values == {"log": ["handed over", "expert"], "subject": "refund"}


async def test_a_command_for_the_graph_around_is_streamed_before_the_run_fails(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    parts = [
        part async for part in client.runs.stream(thread, "handing_over", input={"log": []}, stream_mode="updates")
    ]
    assert [part.event for part in parts] == ["metadata", "updates", "command", "error"]
    assert parts[2].data == {
        "graph": "__parent__",
        "update": {"subject": "refund", "log": ["handed over"]},
        "resume": None,
        "goto": "expert",
    }
    assert parts[3].data["error"] == "ParentCommand"


async def test_a_failure_on_the_server_is_one_here(server: LiveServer) -> None:
    failing = project_module("failing")
    graph = around(RemoteGraph("failing", url=server.url), failing.State)
    with pytest.raises(RemoteException, match="bad luck"):
        await graph.ainvoke({"message": "bad luck"}, new_thread())


def test_the_synchronous_interface_does_the_same(server: LiveServer) -> None:
    interrupting = project_module("interrupting")
    remote = RemoteGraph("interrupting", url=server.url)
    graph, config = around(remote, interrupting.State), new_thread()
    (interrupt,) = graph.invoke({"draft": "x"}, config)["__interrupt__"]
    events = list(graph.stream(Command(resume={interrupt.id: "yes"}), config, stream_mode="updates", subgraphs=True))
    assert [(len(namespace), list(data)) for namespace, data in events] == [
        (1, ["ask"]),
        (1, ["finish"]),
        (0, ["remote"]),
        (0, ["after"]),
    ]
    assert remote.get_state(config).values["final"] == "draft of x -> yes"
    assert [entry.next for entry in remote.get_state_history(config, limit=2)] == [(), ("finish",)]
    updated = remote.update_state(config, {"final": "edited"})
    assert remote.get_state(updated).values["final"] == "edited"
    assert {node.name for node in remote.get_graph().nodes.values()} >= {"prepare", "ask", "finish"}
