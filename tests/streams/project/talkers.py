"""Graphs that stream much while clients read."""

import asyncio
import operator
from pathlib import Path
from typing import Annotated

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    events: int
    pause: float
    bytes: int
    gates: str
    said: Annotated[list[str], operator.add]


GATE_EVENTS, FLOOD_GATE_EVENTS = 15, 250
"""With ``gates``, a folder, a graph waits before each so many events: a file with the next event's number lets it continue."""


async def gate(state: State, n: int, every: int) -> None:
    while "gates" in state and n % every == 0 and not (Path(state["gates"]) / str(n)).exists():
        await asyncio.sleep(0.01)  # a file is all that reaches a graph in another process


async def talk(state: State) -> State:
    write = get_stream_writer()
    for n in range(state["events"]):
        await gate(state, n, GATE_EVENTS)
        write({"n": n, "at": "child", "text": "é\n" * (n % 5)})
        if n % 3 == 0:
            await asyncio.sleep(state.get("pause", 0.01))
    return {"said": ["child"]}


child = StateGraph(State).add_node("talk", talk).add_edge(START, "talk").add_edge("talk", END).compile()


async def opening(state: State) -> State:
    get_stream_writer()({"n": 0, "at": "parent"})
    return {"said": ["parent"]}


talker = (
    StateGraph(State)
    .add_node("opening", opening)
    .add_node("child", child)
    .add_edge(START, "opening")
    .add_edge("opening", "child")
    .add_edge("child", END)
    .compile()
)
"""Custom events of a node and of a subgraph, in bursts, with updates and values around them."""


async def pour(state: State) -> State:
    write = get_stream_writer()
    padding = "x" * state["bytes"]
    for n in range(state["events"]):
        await gate(state, n, FLOOD_GATE_EVENTS)
        write({"n": n, "padding": padding})
        if n % 20 == 19:
            await asyncio.sleep(0.005)
    return {}


flood = StateGraph(State).add_node("pour", pour).add_edge(START, "pour").add_edge("pour", END).compile()
"""Large events, as fast as they go."""


def fail(state: State) -> State:
    raise ConnectionError(
        "cannot reach postgresql://ada:hunter2@db:5432/x nor redis://:hunter2@cache/0?password=hunter2"
    )


failing = StateGraph(State).add_node("fail", fail).add_edge(START, "fail").add_edge("fail", END).compile()
