"""Nodes that keep something for later runs, asynchronous ones and one that is called in a thread."""

import asyncio
from datetime import timedelta
from typing import TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph_sdk.cache import cache_get, cache_set, swr


class State(TypedDict, total=False):
    key: str
    value: object
    found: object
    status: str


async def keep(state: State) -> State:
    before = await cache_get(state["key"])
    if "value" in state:
        await cache_set(state["key"], state["value"], ttl=timedelta(minutes=5))
    return {"found": before}


def look(state: State) -> State:
    async def load():
        return {"loaded": state["key"]}

    async def read():
        return await swr(state["key"] + "/swr", load, fresh_for=timedelta(minutes=5))

    result = asyncio.run(read())
    return {"status": result.status}


builder = StateGraph(State)
builder.add_node("keep", keep)
builder.add_node("look", look)
builder.add_edge(START, "keep")
builder.add_edge("keep", "look")
builder.add_edge("look", END)
graph = builder.compile()
