"""A graph that returns its config and context."""

from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime


class State(TypedDict, total=False):
    said: dict[str, Any]


class Context(TypedDict, total=False):
    tone: str


def say(state: State, config: RunnableConfig, runtime: Runtime[Context]) -> State:
    said = {name: config.get(name) for name in ("tags", "recursion_limit", "max_concurrency")}
    return {"said": {**said, "tone": config["configurable"].get("tone"), "context": dict(runtime.context or {})}}


graph = (
    StateGraph(State, context_schema=Context).add_node("say", say).add_edge(START, "say").add_edge("say", END).compile()
)
