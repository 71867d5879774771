"""A node that blocks its event loop, as careless user code does."""

import time

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    seconds: float
    done: bool


async def block(state: State) -> State:
    time.sleep(state.get("seconds", 3.0))
    return {"done": True}


graph = StateGraph(State).add_node("block", block).add_edge(START, "block").add_edge("block", END).compile()
