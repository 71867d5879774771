"""A graph whose state is as large as its input says."""

from typing import TypedDict

from langgraph.graph import START, StateGraph


class State(TypedDict, total=False):
    bytes: int
    bulk: str


def fill(state: State) -> State:
    return {"bulk": "x" * state["bytes"]}


builder = StateGraph(State)
builder.add_node("fill", fill)
builder.add_edge(START, "fill")
graph = builder.compile()
