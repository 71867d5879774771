"""One node that does nothing but repeat its input: as cheap as a run can be."""

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    label: str
    seen: str


async def see(state: State) -> State:
    return {"seen": state["label"]}


builder = StateGraph(State)
builder.add_node("see", see)
builder.add_edge(START, "see")
builder.add_edge("see", END)
graph = builder.compile()
