"""The kinds of objects that a langgraph.json may name, besides compiled graphs."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    text: str


def shout(state: State) -> State:
    return {"text": state["text"].upper()}


builder = StateGraph(State).add_node("shout", shout).add_edge(START, "shout").add_edge("shout", END)


@contextlib.asynccontextmanager
async def make_graph(config: RunnableConfig) -> AsyncIterator[Any]:
    """An asynchronous factory that cleans up after itself."""
    suffix = (config.get("configurable") or {}).get("suffix", "")

    def append(state: State) -> State:
        return {"text": state["text"] + suffix}

    yield StateGraph(State).add_node("append", append).add_edge(START, "append").add_edge("append", END).compile()


@task
def twice(number: int) -> int:
    return number * 2


@entrypoint()
async def double(number: int) -> int:
    return await twice(number)
