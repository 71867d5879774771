"""Graphs that are followed: many states, words of a model one by one, questions, tools."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import interrupt
from typing_extensions import TypedDict


class Steps(TypedDict, total=False):
    count: int
    pause: float
    bytes: int
    n: int
    padding: str
    gate: str


async def step(state: Steps) -> Steps:
    await asyncio.sleep(state.get("pause", 0))
    last = state.get("n", 0) + 1 == state["count"]
    while last and "gate" in state and not Path(state["gate"]).exists():
        await asyncio.sleep(0.01)  # a file is all that reaches a graph in another process
    return {"n": state.get("n", 0) + 1, "padding": "x" * state.get("bytes", 0)}


def more(state: Steps) -> str:
    return "step" if state["n"] < state["count"] else END


steps = StateGraph(Steps).add_node("step", step).add_edge(START, "step").add_conditional_edges("step", more).compile()
"""As many states as requested; with ``gate``, the last one once that file is there."""


class Speaker(BaseChatModel):
    """Says the numbers up to a given one, a word at a time."""

    @property
    def _llm_type(self) -> str:
        return "speaker"

    def _words(self, messages: list[BaseMessage]) -> list[str]:
        return [f"{n} " for n in range(int(str(messages[-1].content)))]

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        text = "".join(self._words(messages))
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])

    async def _astream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        for word in self._words(messages):
            await asyncio.sleep(0.002)
            yield ChatGenerationChunk(message=AIMessageChunk(word))


model = Speaker()


async def speak(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await model.ainvoke(state["messages"])]}


talker = StateGraph(MessagesState).add_node("speak", speak).add_edge(START, "speak").add_edge("speak", END).compile()


class Asked(TypedDict, total=False):
    text: str
    answer: Any


def ask(state: Asked) -> Asked:
    return {"answer": interrupt({"about": state["text"]})}


asker = StateGraph(Asked).add_node("ask", ask).add_edge(START, "ask").add_edge("ask", END).compile()
inner_asker = StateGraph(Asked).add_node("asker", asker).add_edge(START, "asker").add_edge("asker", END).compile()
"""Asks two graphs down."""
outer_asker = StateGraph(Asked).add_node("inner", inner_asker).add_edge(START, "inner").add_edge("inner", END).compile()


@tool
def double(n: int) -> int:
    """Twice a number."""
    return 2 * n


def call(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage("", tool_calls=[{"name": "double", "args": {"n": 21}, "id": "call-1"}])]}


tooler = (
    StateGraph(MessagesState)
    .add_node("call", call)
    .add_node("tools", ToolNode([double]))
    .add_edge(START, "call")
    .add_edge("call", "tools")
    .add_edge("tools", END)
    .compile()
)

caller = FakeMessagesListChatModel(
    responses=[AIMessage("", tool_calls=[{"name": "double", "args": {"n": 21}, "id": "call-1"}])]
)


async def ask_model(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await caller.ainvoke(state["messages"] or "double 21")]}


silent = StateGraph(MessagesState).add_node("ask", ask_model).add_edge(START, "ask").add_edge("ask", END).compile()
"""A model that cannot stream calls a tool without text."""


def fail(state: Asked) -> Asked:
    raise ValueError("no luck" if state.get("text") else "")


failing = StateGraph(Asked).add_node("fail", fail).add_edge(START, "fail").add_edge("fail", END).compile()


def report(state: Asked) -> Asked:
    write = get_stream_writer()
    write({"name": "progress", "done": 1})
    write({"name": "a|b"})
    write("plain")
    return {"text": "reported"}


reporting = StateGraph(Asked).add_node("report", report).add_edge(START, "report").add_edge("report", END)
quiet = reporting.compile()
