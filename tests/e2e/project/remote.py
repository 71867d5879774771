"""A node that calls another graph of the same server, over HTTP.

On a run of its own: as a node itself a `RemoteGraph` would take its caller's thread along and wait behind its caller.
"""

import os

from langgraph.graph import END, START, StateGraph
from langgraph.pregel.remote import RemoteGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    text: str
    answer: str


async def ask(state: State) -> State:
    remote = RemoteGraph("echo", url=os.environ["LANGLOG_TEST_URL"])
    return {"answer": (await remote.ainvoke({"text": state["text"]}))["echoed"]}


graph = StateGraph(State).add_node("ask", ask).add_edge(START, "ask").add_edge("ask", END).compile()
