"""A graph that ends, and one that runs until it is stopped."""

import asyncio

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    n: int


async def one(state: State) -> State:
    return {"n": state.get("n", 0) + 1}


async def hang(state: State) -> State:
    await asyncio.Event().wait()
    return {}


steps = StateGraph(State).add_node("one", one).add_edge(START, "one").add_edge("one", END).compile()
hangs = StateGraph(State).add_node("hang", hang).add_edge(START, "hang").add_edge("hang", END).compile()
