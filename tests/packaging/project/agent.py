"""Features that most projects use, in one graph that every supported release of langgraph runs: messages, fan-out, a subgraph, the store,
a custom stream, an interrupt; and a factory of it."""

import operator
from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_store, get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send, interrupt
from pydantic import BaseModel
from typing_extensions import TypedDict


class Plan(BaseModel):
    steps: int = 3


class State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    parts: Annotated[list[int], operator.add]
    plan: Plan
    answer: str


def plan(state: State) -> dict[str, Any]:
    get_stream_writer()({"planning": True})
    return {"plan": Plan(steps=3), "messages": [AIMessage("planned")]}


def fan(state: State) -> list[Send]:
    return [Send("part", {"parts": [number]}) for number in range(state["plan"].steps)]


async def part(state: State) -> State:
    await get_store().aput(("parts",), str(state["parts"][0]), {"number": state["parts"][0]})
    return {"parts": [state["parts"][0] * 10]}


def ask(state: State) -> Command[Any]:
    return Command(update={"answer": interrupt({"question": "go on?", "steps": state["plan"].steps})}, goto="end")


def end(state: State) -> dict[str, Any]:
    return {"messages": [AIMessage(f"answered {state['answer']}")]}


inner = StateGraph(State).add_node("part", part).add_edge(START, "part").add_edge("part", END).compile()
builder = StateGraph(State)
builder.add_node("plan", plan)
builder.add_node("part", inner)
builder.add_node("ask", ask, destinations=("end",))
builder.add_node("end", end)
builder.add_edge(START, "plan")
builder.add_conditional_edges("plan", fan, ["part"])
builder.add_edge("part", "ask")
builder.add_edge("end", END)
graph = builder.compile()


def make(config: RunnableConfig) -> Any:
    return graph
