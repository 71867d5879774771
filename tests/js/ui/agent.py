"""Pushes a component of its `ui`, as `push_ui_message` of langgraph does."""

from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.graph import START, StateGraph, add_messages
from langgraph.graph.ui import AnyUIMessage, push_ui_message, ui_message_reducer


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    ui: Annotated[Sequence[AnyUIMessage], ui_message_reducer]


def weather(state: State) -> dict[str, Any]:
    message = AIMessage(id="answer", content="Here is the weather")
    push_ui_message("weather", {"city": state["messages"][-1].text}, message=message)
    return {"messages": [message]}


builder = StateGraph(State)
builder.add_node("weather", weather)
builder.add_edge(START, "weather")
graph = builder.compile()
