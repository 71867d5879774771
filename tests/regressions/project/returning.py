"""Returns what its input holds, decoded from JSON text: also what no client could send. ``odd keys``: a dict that JSON has no
form for."""

import json
from typing import Any

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    text: str
    value: Any


ODD_KEYS = {None: 1, True: 2, False: 3, 4: 4, 1.5: 5}


def answer(state: State) -> State:
    if state["text"] == "odd keys":
        return {"value": ODD_KEYS}
    return {"value": json.loads(state["text"])}


graph = StateGraph(State).add_node("answer", answer).add_edge(START, "answer").add_edge("answer", END).compile()
