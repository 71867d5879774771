"""A graph with a channel that langgraph never stores, and a stop for a human."""

from typing import Annotated

from langgraph.channels import UntrackedValue
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    steps: int
    ask: bool
    failing: bool
    answer: str
    token: Annotated[str, UntrackedValue]
    seen: str


def first(state: State) -> State:
    return {"steps": state["steps"] + 1, "token": f"made from {state.get('token')}"}


def second(state: State) -> State:
    if state.get("failing"):
        raise ValueError("failing")
    answer = interrupt("go on?") if state.get("ask") else "not asked"
    return {"steps": state["steps"] + 1, "seen": f"{state.get('token')}", "answer": answer}


builder = (
    StateGraph(State)
    .add_node("first", first)
    .add_node("second", second)
    .add_edge(START, "first")
    .add_edge("first", "second")
    .add_edge("second", END)
)
graph = builder.compile()
