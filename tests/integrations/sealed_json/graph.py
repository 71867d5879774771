"""A graph that interrupts and stores the answer in the store. Its output contains its input."""

from typing import TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import get_runtime
from langgraph.types import interrupt


class State(TypedDict, total=False):
    text: str
    answer: str
    color: str


class Context(TypedDict, total=False):
    tone: str


async def ask(state: State, config: RunnableConfig) -> State:
    answer = interrupt(f"what of {state['text']}?")
    store = get_runtime().store
    await store.aput(("notes",), "last", {"said": answer, "color": "red"})
    kept = await store.aget(("notes",), "last")
    tone = config["configurable"].get("tone")
    return {"answer": f"{kept.value['said']} {tone} {config['metadata'].get('note')}", "color": "red"}


graph = (
    StateGraph(State, context_schema=Context).add_node("ask", ask).add_edge(START, "ask").add_edge("ask", END).compile()
)
