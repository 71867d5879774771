"""Graphs whose past is looked at and run again. ``other``: what the first might become in a later version of the code."""

import operator
from typing import Annotated, Any

from langgraph.graph import END, START, StateGraph
from langgraph.store.base import BaseStore
from langgraph.types import interrupt
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    total: Annotated[int, operator.add]
    notes: Annotated[list[str], operator.add]


def first(state: State) -> State:
    return {"total": 2, "notes": ["first"]}


def second(state: State) -> State:
    return {"total": state["total"], "notes": [f"second of {state['total']}"]}


def other_second(state: State) -> State:
    print("user code may print: it must not get into the answer")
    return {"total": 40, "notes": [f"second of {state['total']}"]}


def ask(state: State) -> State:
    return {"notes": [interrupt({"question": "go on?"})]}


async def remember(state: State, *, store: BaseStore) -> State:
    before = await store.aget(("notes",), "count")
    count = (before.value["n"] if before else 0) + 1
    await store.aput(("notes",), "count", {"n": count})
    return {"total": count, "notes": [f"{count} times"]}


def _two(name: str, node: Any) -> Any:
    return (
        StateGraph(State)
        .add_node("first", first)
        .add_node(name, node)
        .add_edge(START, "first")
        .add_edge("first", name)
        .add_edge(name, END)
        .compile()
    )


graph = _two("second", second)
other = _two("second", other_second)
asks = _two("ask", ask)
memory = (
    StateGraph(State).add_node("remember", remember).add_edge(START, "remember").add_edge("remember", END).compile()
)
