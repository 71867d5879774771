"""A node that emits a custom event and waits until the file ``gate`` is there."""

import asyncio
from pathlib import Path

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    gate: str


async def wait(state: State) -> State:
    get_stream_writer()({"waits": True})
    while not Path(state["gate"]).exists():
        await asyncio.sleep(0.02)
    return {}


graph = StateGraph(State).add_node("wait", wait).add_edge(START, "wait").add_edge("wait", END).compile()
