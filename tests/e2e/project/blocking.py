"""A node that blocks its event loop, as careless user code does."""

import time
from pathlib import Path

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    folder: str
    done: bool


async def block(state: State) -> State:
    """Write the file ``begun`` into the folder, and block until the file ``go on`` is there."""
    folder = Path(state["folder"])
    (folder / "begun").touch()
    while not (folder / "go on").exists():
        time.sleep(0.01)
    return {"done": True}


graph = StateGraph(State).add_node("block", block).add_edge(START, "block").add_edge("block", END).compile()
