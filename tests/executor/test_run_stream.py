"""A graph's stream compared with the recorded streams of the contract: the same events, the same shapes, the same order."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.store.memory import InMemoryStore
from langlog_backbone.process.settings import Settings
from langlog_backbone.project.config import GraphSpec, read_project
from langlog_executor.frames.protocol_events import ProtocolEvents
from langlog_executor.frames.run_stream import RunStream
from langlog_executor.graphs.loading import Graphs, load_graphs
from langlog_executor.graphs.run_input import read_kwargs
from langlog_executor.worker.graph_attempt import Ended, GraphAttempt
from langlog_schemas.ids import default_assistant_id
from langlog_schemas.messages import Task

from tests.stack.releases import current_langgraph

CONTRACT = Path(__file__).parent.parent / "contract"
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}")
VOLATILE = {
    "timestamp",
    "langgraph_api_version",
    "langgraph_version",
    "lc_versions",
    "langgraph_plan",
    "langgraph_api_url",
    "__request_start_time_ms__",
}
"""Free in value: versions of libraries are not part of the contract, so the recorded ones need not be the installed ones."""
SERVER_KEYS = {
    "langgraph_auth_user": None,
    "langgraph_auth_user_id": "",
    "langgraph_auth_permissions": [],
    "langgraph_request_id": "00000000-0000-4000-8000-000000000000",
    "__request_start_time_ms__": 0,
    "__after_seconds__": 0,
    "user_id": "",
}


def recorded(file: str) -> Iterator[tuple[str, dict[str, Any], list[dict[str, Any]]]]:
    """Name, request and events of each recorded stream that went on to its end on a thread without a past."""
    runs: set[str] = set()
    for line in (CONTRACT / "recordings" / f"{file}.jsonl").read_text().splitlines():
        exchange = json.loads(line)
        request, response = exchange.get("request") or {}, exchange.get("response") or {}
        path = request.get("path", "")
        if exchange.get("config") != "langgraph.json" or "/runs" not in path or request["method"] != "POST":
            continue
        first = path not in runs and path.rpartition("/runs")[0] not in runs
        runs.add(path)
        runs.add(path.rpartition("/runs")[0])
        if path.endswith("/runs/stream") and first and response.get("closed_by") == "server":
            yield f"{exchange['case']}-{exchange['step']}", request["json"], response["sse"]


STREAMS = [x for x in [*recorded("streaming"), *recorded("runs")] if "heartbeat" not in x[0]]


@pytest.fixture(scope="module")
def graphs() -> Graphs:
    return load_graphs(read_project(CONTRACT / "graphs" / "langgraph.json"))


def task_for(body: dict[str, Any]) -> Task:
    graph_id = body["assistant_id"]
    assistant = default_assistant_id(graph_id)
    run_id, thread_id = str(uuid.uuid4()), str(uuid.uuid4())
    ids = {"run_id": run_id, "thread_id": thread_id, "graph_id": graph_id, "assistant_id": assistant}
    modes = body.get("stream_mode") or ["values"]
    kwargs = {
        "input": body.get("input"),
        "command": body.get("command"),
        "config": {"configurable": {**SERVER_KEYS, **ids}},
        "context": {},
        "stream_mode": [modes] if isinstance(modes, str) else modes,
        "subgraphs": body.get("stream_subgraphs", False),
        "interrupt_before": body.get("interrupt_before"),
        "interrupt_after": body.get("interrupt_after"),
        "feedback_keys": body.get("feedback_keys"),
    }
    return Task(
        run_id=run_id,
        thread_id=thread_id,
        attempt=1,
        assistant_id=assistant,
        graph_id=graph_id,
        kwargs=json.dumps(kwargs).encode(),
        metadata=json.dumps({"created_by": "system", "graph_id": graph_id, "assistant_id": assistant}).encode(),
        created_at="2026-01-01T00:00:00.000000+00:00",
        fresh=True,
    )


async def streamed(graphs: Graphs, task: Task, settings: Settings | None = None) -> tuple[list[tuple[str, Any]], Ended]:
    events: list[tuple[str, Any]] = [("metadata", {"run_id": task.run_id, "attempt": task.attempt})]
    attempt = GraphAttempt(
        task,
        read_kwargs(task),
        graphs,
        InMemorySaver(),
        InMemoryStore(),
        settings or Settings(),
        lambda name, data: events.append((name, json.loads(data))),
    )
    ended = await attempt.run()
    return events, ended


def shape(value: Any) -> Any:
    """Without ids, times and versions; keys sorted by being compared as dicts."""
    if isinstance(value, dict):
        return {ID.sub("<id>", k): shape(v) for k, v in value.items() if k not in VOLATILE}
    if isinstance(value, list):
        return [shape(x) for x in value]
    if isinstance(value, str):
        return ID.sub("<id>", value)
    return value


@current_langgraph
@pytest.mark.parametrize(("name", "body", "events"), STREAMS, ids=[x[0] for x in STREAMS])
async def test_a_stream_is_as_recorded(
    name: str, body: dict[str, Any], events: list[dict[str, Any]], graphs: Graphs
) -> None:
    got, _ = await streamed(graphs, task_for(body))
    wanted = [(shape(e["event"]), shape(e["data"])) for e in events if "event" in e]
    assert [(shape(name), shape(data)) for name, data in got if not name.startswith("@")] == wanted


class OddError(Exception):
    pass


async def test_a_failed_task_is_told_as_the_run_s_own_error_is() -> None:
    """In every mode that tells how a task ended, of a subgraph's task too."""

    def fail(state: Any) -> Any:
        raise OddError("no luck")

    child = StateGraph(dict).add_node("fail", fail).add_edge(START, "fail").compile()
    graph = StateGraph(dict).add_node("child", child).add_edge(START, "child").compile()
    emitted: list[tuple[str, Any]] = []
    stream = RunStream(
        ["tasks", "debug"],
        lambda name, data: emitted.append((name.partition("|")[0], msgspec.json.decode(data))),
        ProtocolEvents(lambda name, data: None, "graph"),
        subgraphs=True,
    )
    chunks = graph.astream({}, stream_mode=list(stream.library_modes), subgraphs=True)
    with pytest.raises(OddError):
        await stream.follow(chunks)
    tasks = [data["error"] for name, data in emitted if name == "tasks" and "error" in data]
    debug = [data["payload"]["error"] for name, data in emitted if name == "debug" and data["type"] == "task_result"]
    assert tasks == debug == [{"error": "OddError", "message": "no luck"}] * 2


@pytest.mark.parametrize("modes", [["values"], ["values", "events"]])
@pytest.mark.parametrize(("own", "steps", "error"), [(40, 30, None), (3, 5, "GraphRecursionError")])
async def test_the_limit_of_steps_is_the_graph_s_own_in_each_mode(
    modes: list[str], own: int, steps: int, error: str | None
) -> None:
    """Mode ``events`` is langchain's, whose own default is 25."""
    count = StateGraph(dict).add_node("count", lambda state: {"n": state["n"] + 1}).add_edge(START, "count")
    count.add_conditional_edges("count", lambda state: END if state["n"] == steps else "count", ["count", END])
    graph = count.compile().with_config(recursion_limit=own)
    spec = GraphSpec(graph_id="count", position=0, source="count.py", attribute="graph")
    _, ended = await streamed(
        Graphs({"count": spec}, {"count": graph}),
        task_for({"assistant_id": "count", "input": {"n": 0}, "stream_mode": modes}),
    )
    assert (None if ended.error is None else ended.error.error) == error


@pytest.mark.parametrize("modes", [["updates"], ["updates", "events"]])
async def test_an_interrupt_is_streamed_once_the_log_has_it_in_each_mode(modes: list[str], graphs: Graphs) -> None:
    """A client that receives a question may query the thread's state, or answer, at once."""
    task = task_for({"assistant_id": "interrupting", "input": {}, "stream_mode": modes})
    said: list[str] = []

    async def recorded() -> None:
        said.append("recorded")

    attempt = GraphAttempt(
        task,
        read_kwargs(task),
        graphs,
        InMemorySaver(),
        InMemoryStore(),
        Settings(),
        lambda name, data: said.append("asked" if name == "updates" and b"__interrupt__" in data else "other"),
        recorded=recorded,
    )
    await attempt.run()
    assert "asked" in said
    assert "recorded" in said[: said.index("asked")]


def bound_elsewhere() -> BaseException:
    """Return the error of a client that wraps all its errors, without saying why."""
    try:
        try:
            raise RuntimeError("<asyncio.locks.Event object at 0x7f> is bound to a different event loop")
        except RuntimeError as error:
            raise OddError("Connection error.") from error
    except OddError as error:
        return error


def in_a_circle() -> BaseException:
    error = OddError("of itself")
    error.__cause__ = error
    return error


@pytest.mark.parametrize("isolated", [True, False])
@pytest.mark.parametrize(
    ("error", "hint"),
    [(bound_elsewhere(), True), (RuntimeError("Event loop is closed"), True), (in_a_circle(), False)],
)
async def test_an_object_of_another_event_loop_is_named_as_the_cause(
    error: BaseException, hint: bool, isolated: bool
) -> None:
    def fail(state: Any) -> Any:
        raise error

    graph = StateGraph(dict).add_node("fail", fail).add_edge(START, "fail").compile()
    spec = GraphSpec(graph_id="fail", position=0, source="fail.py", attribute="graph")
    with structlog.testing.capture_logs() as lines:
        await streamed(
            Graphs({"fail": spec}, {"fail": graph}),
            task_for({"assistant_id": "fail", "input": {}}),
            Settings(isolated_loops=isolated),
        )
    (line,) = [line for line in lines if line["event"] == "run.failed"]
    assert ("event loop" in line.get("hint", "")) == hint
    assert ("BG_JOB_ISOLATED_LOOPS" in line.get("hint", "")) == (hint and isolated)
