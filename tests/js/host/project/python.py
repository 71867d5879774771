"""A graph in Python beside those in TypeScript."""

import operator
from typing import Annotated

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    text: str
    seen: Annotated[list[str], operator.add]


def echo(state: State):
    return {"seen": [f"said {state.get('text', '')}"]}


graph = StateGraph(State).add_node("echo", echo).add_edge(START, "echo").add_edge("echo", END).compile()
