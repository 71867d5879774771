"""Graphs with interrupts: without a schema, with a schema, and like LangChain's human-in-the-loop middleware."""

import operator
from typing import Annotated, Any

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

REFUND = {
    "type": "object",
    "title": "Refund",
    "required": ["amount", "reason"],
    "properties": {
        "amount": {"type": "integer", "title": "Amount", "minimum": 1, "maximum": 500},
        "reason": {"type": "string", "title": "Reason"},
        "notify": {"type": "boolean", "title": "Notify the customer"},
    },
}


class State(TypedDict, total=False):
    question: str
    answers: Annotated[list[Any], operator.add]


def ask(state: State) -> State:
    return {"answers": [interrupt(state.get("question", "Go on?"))]}


def refund(state: State) -> State:
    return {"answers": [interrupt({"question": "How much do we refund?"}, response_schema=REFUND)]}


def review(state: State) -> State:
    request = {
        "action_requests": [
            {"name": "send_email", "args": {"to": "ada@example.org"}, "description": "Send this mail?"}
        ],
        "review_configs": [{"action_name": "send_email", "allowed_decisions": ["approve", "edit", "reject"]}],
    }
    return {"answers": [interrupt(request)]}


def _graph(node: Any) -> Any:
    return StateGraph(State).add_node(node).add_edge(START, node.__name__).add_edge(node.__name__, END).compile()


asks, refunds, reviews = _graph(ask), _graph(refund), _graph(review)
