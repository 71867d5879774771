"""Graphs whose threads are carried over: messages, questions, subgraphs, joins, sent tasks, states with classes, errors."""

import operator
from typing import Annotated, Any

from langchain_core.messages import AIMessage, ToolMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Send, interrupt
from pydantic import BaseModel
from typing_extensions import TypedDict


def model(state: MessagesState) -> dict[str, Any]:
    last = state["messages"][-1]
    if last.type == "human" and str(last.content).startswith("add"):
        a, b = (int(word) for word in str(last.content).split()[1:3])
        call = {"name": "add", "args": {"a": a, "b": b}, "id": f"call-{len(state['messages'])}"}
        return {"messages": [AIMessage("", tool_calls=[call])]}
    return {"messages": [AIMessage(f"{len(state['messages'])}: {last.content}", response_metadata={"model": "fake"})]}


def tools(state: MessagesState) -> dict[str, Any]:
    calls = state["messages"][-1].tool_calls  # a message, not its JSON
    return {"messages": [ToolMessage(str(sum(c["args"].values())), tool_call_id=c["id"]) for c in calls]}


def after_model(state: MessagesState) -> str:
    return "tools" if getattr(state["messages"][-1], "tool_calls", None) else END


agent = (
    StateGraph(MessagesState)
    .add_node("model", model)
    .add_node("tools", tools)
    .add_edge(START, "model")
    .add_conditional_edges("model", after_model, ["tools", END])
    .add_edge("tools", "model")
    .compile()
)


class Asking(TypedDict, total=False):
    draft: str
    answer: Any
    final: str


def prepare(state: Asking) -> Asking:
    return {"draft": "draft of " + state.get("draft", "nothing")}


def ask(state: Asking) -> Asking:
    return {"answer": interrupt({"question": "approve?", "draft": state["draft"]})}


def finish(state: Asking) -> Asking:
    return {"final": f"{state['draft']} -> {state['answer']}"}


asking = (
    StateGraph(Asking)
    .add_node("prepare", prepare)
    .add_node("ask", ask)
    .add_node("finish", finish)
    .add_edge(START, "prepare")
    .add_edge("prepare", "ask")
    .add_edge("ask", "finish")
    .add_edge("finish", END)
    .compile()
)


class Trail(TypedDict, total=False):
    trail: Annotated[list[str], operator.add]
    said: Any


def leaf(state: Trail) -> Trail:
    return {"said": interrupt({"ask": "leaf"})}


inner = StateGraph(Trail).add_node("leaf", leaf).add_edge(START, "leaf").add_edge("leaf", END).compile()
child = (
    StateGraph(Trail)
    .add_node("step", lambda _: {"said": "nothing yet"})
    .add_node("inner", inner)
    .add_edge(START, "step")
    .add_edge("step", "inner")
    .add_edge("inner", END)
    .compile()
)


def child_node(state: Trail) -> Trail:
    return {"trail": ["after"]}


nested = (
    StateGraph(Trail)
    .add_node("before", lambda _: {"trail": ["before"]})
    .add_node("child", child)
    .add_node("after", child_node)
    .add_edge(START, "before")
    .add_edge("before", "child")
    .add_edge("child", "after")
    .add_edge("after", END)
    .compile()
)


class Joined(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def slow_question(state: Joined) -> Joined:
    return {"log": [f"answer {interrupt('b?')}"]}


joined = (
    StateGraph(Joined)
    .add_node("a", lambda _: {"log": ["a"]})
    .add_node("b1", lambda _: {"log": ["b1"]})
    .add_node("b2", slow_question)
    .add_node("c", lambda _: {"log": ["c"]})
    .add_edge(START, "a")
    .add_edge(START, "b1")
    .add_edge("b1", "b2")
    .add_edge(["a", "b2"], "c")
    .add_edge("c", END)
    .compile()
)


class Plan(BaseModel):
    title: str
    steps: list[str] = []


class Planning(TypedDict, total=False):
    plan: Plan
    done: Annotated[list[str], operator.add]


def make(state: Planning) -> Planning:
    return {"plan": Plan(title="trip", steps=["pack", "go"])}


def follow(state: Planning) -> Planning:
    interrupt("go on?")
    return {"done": list(state["plan"].steps)}  # a class, not its JSON


planning = (
    StateGraph(Planning)
    .add_node("make", make)
    .add_node("follow", follow)
    .add_edge(START, "make")
    .add_edge("make", "follow")
    .add_edge("follow", END)
    .compile()
)


class Sending(TypedDict, total=False):
    items: list[int]
    squares: Annotated[list[int], operator.add]


def square(task: dict[str, int]) -> Sending:
    return {"squares": [task["item"] ** 2]}


sending = (
    StateGraph(Sending)
    .add_node("square", square)
    .add_conditional_edges(START, lambda state: [Send("square", {"item": i}) for i in state["items"]], ["square"])
    .add_edge("square", END)
    .compile()
)


def fail(_: Asking) -> Asking:
    raise ValueError("it broke")


failing = StateGraph(Asking).add_node("fail", fail).add_edge(START, "fail").compile()


def longer(log: list[str] | None, writes: list[list[str]]) -> list[str]:
    return [*(log or []), *(word for write in writes for word in write)]


try:
    from langgraph.channels.delta import DeltaChannel

    kept: Any = DeltaChannel(longer, snapshot_frequency=3)
except ImportError:  # before langgraph 1.2
    kept = operator.add


class Growing(TypedDict, total=False):
    log: Annotated[list[str], kept]


def more(state: Growing) -> Growing:
    return {"log": [f"more {len(state.get('log', []))}"]}


growing = (
    StateGraph(Growing)
    .add_node("more", more)
    .add_node("ask", lambda _: {"log": [f"answer {interrupt('go on?')}"]})
    .add_edge(START, "more")
    .add_edge("more", "ask")
    .add_edge("ask", END)
    .compile()
)
