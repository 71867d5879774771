"""Interrupts with schemas of the expected answers: one, or two at once."""

import operator
from typing import Annotated, Any

from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import interrupt
from pydantic import BaseModel

RATING = {"type": "object", "properties": {"stars": {"type": "integer"}}, "required": ["stars"]}


class Decision(BaseModel):
    approved: bool
    why: str = ""


class State(MessagesState, total=False):
    answers: Annotated[list[Any], operator.add]


def decide(state: State) -> dict[str, Any]:
    given = interrupt("approve?", response_schema=Decision)
    return {"answers": [given.model_dump()]}


def rate(state: State) -> dict[str, Any]:
    return {"answers": [interrupt("how many stars?", response_schema=RATING)]}


def comment(state: State) -> dict[str, Any]:
    return {"answers": [interrupt("any comment?")]}


one = StateGraph(State).add_node("decide", decide).add_edge(START, "decide").add_edge("decide", END).compile()
two = (
    StateGraph(State)
    .add_node("rate", rate)
    .add_node("comment", comment)
    .add_edge(START, "rate")
    .add_edge(START, "comment")
    .add_edge("rate", END)
    .add_edge("comment", END)
    .compile()
)
