"""Two steps; the second fails until a file is there."""

import operator
from pathlib import Path
from typing import Annotated

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    marker: str
    done: Annotated[list[str], operator.add]


def first(state: State) -> dict[str, list[str]]:
    return {"done": ["first"]}


def second(state: State) -> dict[str, list[str]]:
    if not Path(state["marker"]).exists():
        raise FileNotFoundError("the marker is not there")
    return {"done": ["second"]}


graph = (
    StateGraph(State)
    .add_node("first", first)
    .add_node("second", second)
    .add_edge(START, "first")
    .add_edge("first", "second")
    .add_edge("second", END)
    .compile()
)
