"""Graphs that are compiled with stream transformers, which langgraph before 1.2 does not have."""

import asyncio
from typing import Any

from graphs import Steps, fail, more, reporting, speak, step  # type: ignore[import-not-found]  # beside this file
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.stream import StreamChannel, StreamTransformer
from langgraph.stream.transformers import CustomTransformer, UpdatesTransformer
from langgraph.types import interrupt
from typing_extensions import TypedDict

reporter = reporting.compile(transformers=[CustomTransformer, UpdatesTransformer])
"""Streams its steps and what they write, since it was compiled so."""


class Walk(TypedDict, total=False):
    text: str
    answer: Any


class Watch(StreamTransformer):
    """Pushes each node that has finished, wherever it is, and the end."""

    required_stream_modes = ("updates",)

    def __init__(self, scope: tuple[str, ...] = ()) -> None:
        super().__init__(scope)
        self._nodes: StreamChannel[Any] = StreamChannel("nodes")
        self._count: StreamChannel[Any] = StreamChannel("count")
        self._here: StreamChannel[Any] = StreamChannel()
        self._seen = 0

    def init(self) -> dict[str, Any]:
        return {"nodes": self._nodes, "count": self._count, "here": self._here}

    def process(self, event: Any) -> bool:
        if event["method"] == "updates":
            self._seen += 1
            for node in event["params"]["data"]:
                self._nodes.push({"node": node, "depth": len(event["params"]["namespace"])})
            self._here.push("for readers in the process")
        return True

    def finalize(self) -> None:
        self._count.push(self._seen)

    def fail(self, err: BaseException) -> None:
        self._count.push(str(err))


class Mood(StreamTransformer):
    """Native, as langgraph's own are: its channel has the name of the method."""

    _native = True
    required_stream_modes = ("values",)

    def __init__(self, scope: tuple[str, ...] = ()) -> None:
        super().__init__(scope)
        self._mood: StreamChannel[str] = StreamChannel("mood")

    def init(self) -> dict[str, Any]:
        return {"mood": self._mood}

    def process(self, event: Any) -> bool:
        if event["method"] == "values" and event["params"]["namespace"] == []:
            self._mood.push("good")
        return True


def walk(state: Walk) -> Walk:
    return {"text": state["text"] + "!"}


def ask(state: Walk) -> Walk:
    return {"answer": interrupt("well?")}


inner = StateGraph(Walk).add_node("deep", walk).add_edge(START, "deep").add_edge("deep", END).compile()
walker = (
    StateGraph(Walk)
    .add_node("near", walk)
    .add_node("inner", inner)
    .add_edge(START, "near")
    .add_edge("near", "inner")
    .add_edge("inner", END)
    .compile(transformers=[Watch, Mood])
)
halting = (
    StateGraph(Walk)
    .add_node("near", walk)
    .add_node("ask", ask)
    .add_edge(START, "near")
    .add_edge("near", "ask")
    .add_edge("ask", END)
    .compile(transformers=[lambda scope: Watch(scope)])
)
failing = (
    StateGraph(Walk).add_node("fail", fail).add_edge(START, "fail").add_edge("fail", END).compile(transformers=[Watch])
)


class Mask(StreamTransformer):
    """Hides a word of a model, and the values of the whole graph."""

    before_builtins = True
    required_stream_modes = ("messages", "values")

    def init(self) -> dict[str, Any]:
        return {}

    async def aprocess(self, event: Any) -> bool:
        await asyncio.sleep(0)
        if event["method"] == "messages":
            payload = event["params"]["data"][0]
            if payload["event"] == "content-block-delta" and payload["delta"]["text"] == "3 ":
                payload["delta"]["text"] = "* "
        return bool(event["method"] != "values")


masked = (
    StateGraph(MessagesState)
    .add_node("speak", speak)
    .add_edge(START, "speak")
    .add_edge("speak", END)
    .compile(transformers=[Mask])
)


class Broken(StreamTransformer):
    required_stream_modes = ("values",)

    def init(self) -> dict[str, Any]:
        return {}

    def process(self, event: Any) -> bool:
        if event["method"] == "values" and event["params"]["data"].get("n") == 2:
            raise ValueError("two is too much")
        return True


stepping = StateGraph(Steps).add_node("step", step).add_edge(START, "step").add_conditional_edges("step", more)
broken = stepping.compile(transformers=[Broken])


class Stuck(StreamTransformer):
    """Schedules what never ends."""

    requires_async = True

    def init(self) -> dict[str, Any]:
        return {}

    def process(self, event: Any) -> bool:
        if not self._scheduled_task_set():
            self.schedule(asyncio.Event().wait())
        return True


stuck = stepping.compile(transformers=[Stuck])
