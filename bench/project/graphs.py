"""Graphs of the benchmark: nodes do as little as possible, so that the server is measured."""

import asyncio
import operator
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from typing_extensions import TypedDict


class Echo(TypedDict, total=False):
    text: str
    echoed: str


def shout(state: Echo) -> Echo:
    return {"echoed": state["text"].upper()}


echo = StateGraph(Echo).add_node("shout", shout).add_edge(START, "shout").add_edge("shout", END).compile()
"""One node."""


class Ticks(TypedDict, total=False):
    ticks: int
    interval: float
    delay: float


async def tick(state: Ticks) -> Ticks:
    write = get_stream_writer()
    await asyncio.sleep(state.get("delay", 0))
    for _ in range(state["ticks"]):
        write({"t": time.monotonic_ns()})
        await asyncio.sleep(state["interval"])
    return {}


ticker = StateGraph(Ticks).add_node("tick", tick).add_edge(START, "tick").add_edge("tick", END).compile()
"""Emits custom events with the time of their emission, nanoseconds of the machine's monotonic clock."""


class Steps(TypedDict, total=False):
    left: int


def step(state: Steps) -> Steps:
    return {"left": state["left"] - 1}


steps = (
    StateGraph(Steps)
    .add_node("step", step)
    .add_edge(START, "step")
    .add_conditional_edges("step", lambda state: "step" if state["left"] > 0 else END, ["step", END])
    .compile()
)
"""Executes the number of supersteps in the input."""


class Waiting(TypedDict, total=False):
    seconds: float


async def wait(state: Waiting) -> Waiting:
    await asyncio.sleep(state["seconds"])
    return {}


waiting = StateGraph(Waiting).add_node("wait", wait).add_edge(START, "wait").add_edge("wait", END).compile()
"""A node that waits, as for a model."""


class Counter(TypedDict, total=False):
    total: Annotated[int, operator.add]


def add(state: Counter) -> Counter:
    return {"total": 1}


counter = StateGraph(Counter).add_node("add", add).add_edge(START, "add").add_edge("add", END).compile()
"""Counts its runs on a thread, which shows a lost update."""


def answer(state: MessagesState) -> MessagesState:
    question = state["messages"][-1].text
    return {"messages": [AIMessage(f"You asked: {question} The timetable says that one leaves every two hours.")]}


chat = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer").add_edge("answer", END).compile()
"""A conversation: its state grows by two messages a run."""


class Clock(BaseChatModel):
    """Streams the current time, word by word, in the requested number and interval (seconds): ``"400 0.05"``."""

    @property
    def _llm_type(self) -> str:
        return "clock"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(str(time.monotonic_ns())))])

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        count, interval = messages[-1].text.split()
        for _ in range(int(count)):
            yield ChatGenerationChunk(message=AIMessageChunk(f"{time.monotonic_ns()} "))
            await asyncio.sleep(float(interval))


clock = Clock()


async def speak(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await clock.ainvoke(state["messages"])]}


speaker = StateGraph(MessagesState).add_node("speak", speak).add_edge(START, "speak").add_edge("speak", END).compile()
"""A model that streams word by word, each the time of its emission: nanoseconds of the machine's monotonic clock."""
