"""A graph one node of which is another graph of the same server, reached over HTTP."""

import os

from langgraph.graph import END, START, StateGraph
from langgraph.pregel.remote import RemoteGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    text: str
    echoed: str
    after: str


def after(state: State) -> State:
    return {"after": "after " + state["echoed"]}


graph = (
    StateGraph(State)
    .add_node("remote", RemoteGraph("echo", url=os.environ["LANGLOG_TEST_URL"]))
    .add_node("after", after)
    .add_edge(START, "remote")
    .add_edge("remote", "after")
    .add_edge("after", END)
    .compile()
)
