"""Returns what it is told to return, decoded from JSON text: also what no client could send."""

import json
from typing import Any

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    text: str
    value: Any


def answer(state: State) -> State:
    return {"value": json.loads(state["text"])}


graph = StateGraph(State).add_node("answer", answer).add_edge(START, "answer").add_edge("answer", END).compile()
