"""Graphs with large states: one creates as much as its input requests, the other receives images."""

from typing import TypedDict

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph


class State(TypedDict, total=False):
    bytes: int
    bulk: str


def fill(state: State) -> State:
    return {"bulk": "x" * state["bytes"]}


builder = StateGraph(State)
builder.add_node("fill", fill)
builder.add_edge(START, "fill")
graph = builder.compile()


def look(state: MessagesState):
    parts = state["messages"][-1].content
    return {"messages": [AIMessage(f"{sum(len(part['image_url']['url']) for part in parts)} characters")]}


viewing = StateGraph(MessagesState)
viewing.add_node("look", look)
viewing.add_edge(START, "look")
viewer = viewing.compile()
