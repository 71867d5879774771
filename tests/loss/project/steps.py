"""Five steps that take a little time each; every execution of a step leaves a line in a file of the run's label."""

import asyncio
import operator
import os
from pathlib import Path
from typing import Annotated

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

COUNTS = Path(os.environ["LANGLOG_TEST_COUNTS"])
STEPS = 5


class State(TypedDict, total=False):
    label: str
    seconds: float
    hold: int
    """A step whose first execution takes ``hold_seconds``."""
    hold_seconds: float
    trail: Annotated[list[str], operator.add]


def note(label: str, number: int) -> int:
    """Write the execution down; how often the step has been executed by now."""
    file = COUNTS / label
    with file.open("a") as lines:
        lines.write(f"{number}\n")
    return file.read_text().split().count(str(number))


def make_step(number: int):
    async def step(state: State) -> State:
        label = state["label"]
        executions = note(label, number)
        get_stream_writer()({"step": number})
        held = number == state.get("hold") and executions == 1
        await asyncio.sleep(state["hold_seconds"] if held else state["seconds"])
        return {"trail": [f"{label}:{number}"]}

    return step


builder = StateGraph(State)
for n in range(1, STEPS + 1):
    builder.add_node(f"step_{n}", make_step(n))
    builder.add_edge(START if n == 1 else f"step_{n - 1}", f"step_{n}")
builder.add_edge(f"step_{STEPS}", END)
graph = builder.compile()
