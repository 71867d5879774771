"""A graph whose nodes write to the store and search it, one asynchronously and one not."""

from typing import TypedDict

from langgraph.graph import START, StateGraph
from langgraph.store.base import BaseStore, GetOp, PutOp, SearchOp


class State(TypedDict, total=False):
    user: str
    texts: list[str]
    query: str
    found: list[str]
    again: list[str]


async def write(state: State, *, store: BaseStore):
    where = ("notes", state["user"])
    await store.abatch([PutOp(where, text, {"text": text}) for text in state["texts"]])
    result, item = await store.abatch([SearchOp(where, query=state["query"]), GetOp(where, state["texts"][0])])
    assert item.value == {"text": state["texts"][0]}
    return {"found": [f"{x.key} {x.score:.3f}" for x in result]}


def read(state: State, *, store: BaseStore):
    where = ("notes", state["user"])
    store.put(where, "silent", {"text": state["query"]}, index=False)
    return {"again": [item.key for item in store.search(where, query=state["query"])]}


graph = StateGraph(State).add_node(write).add_node(read).add_edge(START, "write").add_edge("write", "read").compile()
