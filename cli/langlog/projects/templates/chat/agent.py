"""An agent that gives refunds, each only after a human has approved it."""

import re
from typing import Literal

from langchain_core.messages import AIMessage, BaseMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt
from model import chat_model

PROMPT = SystemMessage("You help customers of a shop. Refund an order when a customer wants that.")


@tool
def refund(order: str, amount: float) -> str:
    """Pay the amount of an order back to the customer."""
    return f"Refunded {amount:.2f} for order {order}."  # put the call of your shop here


def script(messages: list[BaseMessage]) -> AIMessage:
    """Return the agent's answer without a model."""
    last = messages[-1]
    if isinstance(last, ToolMessage):
        return AIMessage(last.text)
    order = re.search(r"refund (\S+) (\d+(?:\.\d+)?)", last.text)
    if order is None:
        return AIMessage("Say 'refund ORDER AMOUNT', and I will see to it.")
    arguments = {"order": order[1], "amount": float(order[2])}
    return AIMessage("", tool_calls=[{"name": "refund", "args": arguments, "id": f"refund-{len(messages)}"}])


llm = chat_model(script).bind_tools([refund])


async def talk(state: MessagesState) -> Command[Literal["approve", "__end__"]]:
    answer = await llm.ainvoke([PROMPT, *state["messages"]])
    return Command(goto="approve" if answer.tool_calls else "__end__", update={"messages": [answer]})


def approve(state: MessagesState) -> Command[Literal["tools", "talk"]]:
    """Stop the run until a human resumes it: with "yes", or with a reason against it."""
    calls = state["messages"][-1].tool_calls
    decision = interrupt(
        {"question": "Give this refund?", "calls": [{"name": x["name"], "args": x["args"]} for x in calls]}
    )
    if decision in ("yes", True):
        return Command(goto="tools")
    refused = [ToolMessage(f"Refused: {decision}", name=x["name"], tool_call_id=x["id"]) for x in calls]
    return Command(goto="talk", update={"messages": refused})


builder = StateGraph(MessagesState)
builder.add_node("talk", talk)
builder.add_node("approve", approve)
builder.add_node("tools", ToolNode([refund]))
builder.add_edge(START, "talk")
builder.add_edge("tools", "talk")
graph = builder.compile()
