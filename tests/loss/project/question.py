"""One question; each answer that the graph gets stays in its state."""

import operator
from typing import Annotated

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    answers: Annotated[list[str], operator.add]


async def ask(state: State) -> State:
    return {"answers": [interrupt("?")]}


builder = StateGraph(State)
builder.add_node("ask", ask)
builder.add_edge(START, "ask")
builder.add_edge("ask", END)
graph = builder.compile()
