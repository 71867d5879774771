"""A graph whose last node addresses a command to the graph around it, as agents do that hand over to another one."""

import operator
from typing import Annotated, Any

from langgraph.graph import START, StateGraph
from langgraph.types import Command
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    subject: str


def look(state: State) -> State:
    return {"log": ["looked"]}


def hand_over(state: State) -> Command[Any]:
    return Command(graph=Command.PARENT, goto="expert", update={"subject": "refund", "log": ["handed over"]})


graph = (
    StateGraph(State)
    .add_node("look", look)
    .add_node("hand_over", hand_over)
    .add_edge(START, "look")
    .add_edge("look", "hand_over")
    .compile()
)
