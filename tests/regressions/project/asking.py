"""Two nodes side by side that ask, each with words of its own at every execution; the left one asks twice, then waits at a gate."""

import asyncio
import operator
import uuid
from typing import Annotated, Any

from gated import LOOK_S, enter
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    gate: str
    answers: Annotated[list[str], operator.add]


def question(of: str) -> dict[str, str]:
    return {"of": of, "words": uuid.uuid4().hex}


async def left(state: State) -> Any:
    answers = [interrupt(question("first")), interrupt(question("second"))]
    gate = enter(state)
    while not gate.exists():
        await asyncio.sleep(LOOK_S)
    return {"answers": answers}


def right(state: State) -> Any:
    return {"answers": [interrupt(question("right"))]}


graph = (
    StateGraph(State)
    .add_node("left", left)
    .add_node("right", right)
    .add_edge(START, "left")
    .add_edge(START, "right")
    .add_edge("left", END)
    .add_edge("right", END)
    .compile()
)
