"""A chat agent with one tool, which runs only after a human has said yes."""

from typing import Literal

from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt
from model import chat_model


@tool
def send_email(to: str, text: str) -> str:
    """Send an e-mail. (An example: nothing leaves this machine.)"""
    return f"Sent to {to}: {text}"


llm = chat_model().bind_tools([send_email])


async def talk(state: MessagesState) -> MessagesState:
    return {"messages": [await llm.ainvoke(state["messages"])]}


def wants_tool(state: MessagesState) -> Literal["approve", "__end__"]:
    last = state["messages"][-1]
    return "approve" if isinstance(last, AIMessage) and last.tool_calls else END


def approve(state: MessagesState) -> Command[Literal["tools", "talk"]]:
    """Stops the run until somebody resumes it with "yes" or anything else, which means no."""
    calls = state["messages"][-1].tool_calls
    decision = interrupt(
        {"question": "May I do this?", "calls": [{"name": x["name"], "args": x["args"]} for x in calls]}
    )
    if decision in ("yes", True):
        return Command(goto="tools")
    refused = [ToolMessage("The human did not allow it.", name=x["name"], tool_call_id=x["id"]) for x in calls]
    return Command(goto="talk", update={"messages": refused})


builder = StateGraph(MessagesState)
builder.add_node("talk", talk)
builder.add_node("approve", approve)
builder.add_node("tools", ToolNode([send_email]))
builder.add_edge(START, "talk")
builder.add_conditional_edges("talk", wants_tool)
builder.add_edge("tools", "talk")
graph = builder.compile()
