"""A factory that cannot make its graph for a run."""

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    text: str


def make_graph(config: RunnableConfig) -> Any:
    if "run_id" in (config.get("configurable") or {}):
        raise RuntimeError("no such model")
    return StateGraph(State).add_node("n", lambda state: {}).add_edge(START, "n").add_edge("n", END).compile()
