"""Stream transformers of a graph in an attempt of the streaming protocol."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import PIIMiddleware
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.store.memory import InMemoryStore
from langgraph.stream import StreamChannel, StreamTransformer
from langlog_backbone.process.settings import Settings
from langlog_backbone.project.config import GraphSpec
from langlog_executor.frames.transformers import speaking
from langlog_executor.graphs.loading import Graphs
from langlog_executor.graphs.run_input import read_kwargs
from langlog_executor.worker.graph_attempt import Ended, GraphAttempt
from langlog_schemas.runs.request import EVENT_STREAMING

from tests.executor.test_run_stream import task_for

Frames = list[tuple[str, Any]]


def attempt_of(graph: Any, given: Any, frames: Frames) -> GraphAttempt:
    spec = GraphSpec(graph_id="graph", position=0, source="graph.py", attribute="graph")
    task = task_for({"assistant_id": "graph", "input": given})
    kwargs = json.loads(task.kwargs)
    kwargs["config"]["configurable"][EVENT_STREAMING] = True
    task = msgspec.structs.replace(task, kwargs=json.dumps(kwargs).encode())
    return GraphAttempt(
        task,
        read_kwargs(task),
        Graphs({"graph": spec}, {"graph": graph}),
        InMemorySaver(),
        InMemoryStore(),
        Settings(),
        lambda name, data: frames.append((name, json.loads(data))),
    )


class Odd(StreamTransformer):
    """Native channels whose names are those of langgraph's own methods, and hooks that push."""

    _native = True
    required_stream_modes = ("values",)

    def __init__(self, scope: tuple[str, ...] = ()) -> None:
        super().__init__(scope)
        self._messages: StreamChannel[Any] = StreamChannel("messages")
        self._ends: StreamChannel[Any] = StreamChannel("ends|here")

    def init(self) -> dict[str, Any]:
        return {"odd": self._messages, "ends": self._ends}

    def process(self, event: Any) -> bool:
        if event["method"] == "values":
            self._messages.push({"odd": True})
        return True

    def fail(self, err: BaseException) -> None:
        self._ends.push(str(err))


async def test_a_channel_with_the_name_of_a_method_is_sent_as_custom_data() -> None:
    graph = StateGraph(dict).add_node("one", lambda state: {"n": 1}).add_edge(START, "one").add_edge("one", END)
    frames: Frames = []
    ended = await attempt_of(graph.compile(transformers=[Odd]), {"n": 0}, frames).run()
    assert ended.error is None
    assert [data for name, data in frames if name.startswith("@custom")] == [
        {"name": "messages", "payload": {"odd": True}}
    ] * 2


async def test_a_run_that_is_handed_over_has_not_failed_for_its_readers() -> None:
    frames: Frames = []
    reached = asyncio.Event()

    async def one(state: Any) -> Any:
        reached.set()
        attempt.stop("drain")
        return {"n": 1}

    graph = StateGraph(dict).add_node("one", one).add_node("two", lambda state: {"n": 2})
    graph.add_edge(START, "one").add_edge("one", "two").add_edge("two", END)
    attempt = attempt_of(graph.compile(transformers=[Odd]), {"n": 0}, frames)
    assert (await attempt.run()).stopped == "drain"
    assert reached.is_set()
    assert not [data for _, data in frames if isinstance(data, dict) and data.get("name") == "ends|here"]


async def test_personal_data_that_an_agent_s_middleware_hides_is_hidden_from_clients() -> None:
    model = GenericFakeChatModel(messages=iter([AIMessage("write to bob@example.org today")]))
    hide = PIIMiddleware("email", strategy="redact", apply_to_output=True)
    agent = create_agent(model, middleware=[hide])
    frames: Frames = []
    ended = await attempt_of(agent, {"messages": [("user", "hi")]}, frames).run()
    assert ended.error is None
    shown = "".join(json.dumps(data) for name, data in frames if name.startswith(("@messages", "values")))
    assert "REDACTED_EMAIL" in shown
    assert "bob" not in shown


def test_an_agent_without_transformers_of_its_own_streams_as_before() -> None:
    agent = create_agent(GenericFakeChatModel(messages=iter([])))
    assert len(agent.stream_transformers) == 2
    assert not speaking(agent.stream_transformers)


@pytest.mark.parametrize("when", ["made", "begun", "ended"])
async def test_an_error_of_a_transformer_is_the_run_s(when: str) -> None:
    class Failing(Odd):
        def __init__(self, scope: tuple[str, ...] = ()) -> None:
            super().__init__(scope)
            if when == "made":
                raise ValueError("no")

        def init(self) -> dict[str, Any]:
            if when == "begun":
                raise ValueError("no")
            return super().init()

        def finalize(self) -> None:
            raise ValueError("no")

    graph = StateGraph(dict).add_node("one", lambda state: {"n": 1}).add_edge(START, "one").add_edge("one", END)
    ended: Ended = await attempt_of(graph.compile(transformers=[Failing]), {"n": 0}, []).run()
    assert ended.error is not None
    assert (ended.error.error, ended.error.message) == ("ValueError", "no")
