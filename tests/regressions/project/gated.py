"""A node that records each execution in a file and continues once the test has created a gate file."""

import asyncio
import operator
import os
import time
from pathlib import Path
from typing import Annotated, Any

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

GATES = Path(os.environ["LANGLOG_TEST_GATES"])
LOOK_S = 0.02


class State(TypedDict, total=False):
    gate: str
    trail: Annotated[list[str], operator.add]


def enter(state: State) -> Path:
    gate = state["gate"]
    with (GATES / f"{gate}.entered").open("a") as file:
        file.write("x")
    return GATES / gate


def first(state: State) -> State:
    return {"trail": ["first"]}


async def wait(state: State) -> State:
    gate = enter(state)
    get_stream_writer()({"inside": state["gate"]})
    while not gate.exists():
        await asyncio.sleep(LOOK_S)
    return {"trail": ["waited"]}


async def block(state: State) -> State:
    gate = enter(state)
    while not gate.exists():
        time.sleep(LOOK_S)  # as careless user code does: nothing can stop it
    return {"trail": ["waited"]}


def build(node: Any) -> Any:
    builder = StateGraph(State).add_node("first", first).add_node("wait", node)
    return builder.add_edge(START, "first").add_edge("first", "wait").add_edge("wait", END).compile()


graph = build(wait)
stuck = build(block)
