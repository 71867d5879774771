"""Two nodes; the second one emits events until a file is there, and a last one then."""

import asyncio
import operator
from pathlib import Path
from typing import Annotated

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

TICK_S = 0.01


class State(TypedDict, total=False):
    gate: str
    done: Annotated[list[str], operator.add]


def begin(state: State) -> dict[str, list[str]]:
    return {"done": ["begin"]}


async def tick(state: State) -> dict[str, list[str]]:
    write = get_stream_writer()
    while not Path(state["gate"]).exists():
        write({"tick": "another"})
        await asyncio.sleep(TICK_S)
    write({"tick": "the last"})
    return {"done": ["ticked"]}


graph = (
    StateGraph(State)
    .add_node("begin", begin)
    .add_node("tick", tick)
    .add_edge(START, "begin")
    .add_edge("begin", "tick")
    .add_edge("tick", END)
    .compile()
)
