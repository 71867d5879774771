"""The project's own ``gateway``: it holds the graph."""

from executor.work import work
from langgraph.graph import END, START, StateGraph

from schemas import State

graph = StateGraph(State).add_node("work", work).add_edge(START, "work").add_edge("work", END).compile()
