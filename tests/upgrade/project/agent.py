"""By its input: a run that waits for a file, having made another one, one with an interrupt, one that ends at once."""

import asyncio
import operator
import os
from pathlib import Path
from typing import Annotated

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

GATES = Path(os.environ["LANGLOG_TEST_GATES"])


class State(TypedDict, total=False):
    word: str
    gate: str
    asks: bool
    trail: Annotated[list[str], operator.add]


async def say(state: State) -> State:
    get_stream_writer()({"saying": state["word"]})
    return {"trail": [state["word"]]}


async def hold(state: State) -> State:
    gate = state.get("gate")
    if gate:
        (GATES / f"{gate}.held").touch()
    while gate and not (GATES / gate).exists():
        await asyncio.sleep(0.05)
    return {"gate": ""}


async def ask(state: State) -> State:
    answer = interrupt({"about": state["word"]}) if state.get("asks") else "no question"
    return {"trail": [f"{state['word']}: {answer}"], "asks": False}


builder = StateGraph(State)
for before, name, node in ((START, "say", say), ("say", "hold", hold), ("hold", "ask", ask)):
    builder.add_node(name, node)
    builder.add_edge(before, name)
builder.add_edge("ask", END)
graph = builder.compile()
