"""Graphs for the console's tests: what they do follows from their input alone."""

import asyncio
import json
import operator
from pathlib import Path
from typing import Annotated, Any, Literal

from langchain_core.messages import AIMessage, ToolMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict


async def talk(state: MessagesState) -> dict[str, Any]:
    """Repeat the last message; ``mail ADDRESS TEXT`` calls a tool; ``say FILE`` answers with a file's content."""
    last = state["messages"][-1]
    text = last.text
    if isinstance(last, ToolMessage):
        return {"messages": [AIMessage(f"Done: {text}")]}
    if text.startswith("mail "):
        _, to, body = text.split(" ", 2)
        call = {"name": "send_email", "args": {"to": to, "text": body}, "id": f"call-{len(state['messages'])}"}
        thought = {"type": "reasoning", "reasoning": "Mail has to be allowed first."}
        return {"messages": [AIMessage([thought, {"type": "text", "text": "I will write that."}], tool_calls=[call])]}
    if text.startswith("say "):
        return {"messages": [AIMessage(json.loads(Path(text[4:]).read_text()))]}
    return {"messages": [AIMessage(f"You said: {text}")]}


def wants_tool(state: MessagesState) -> Literal["approve", "__end__"]:
    last = state["messages"][-1]
    return "approve" if isinstance(last, AIMessage) and last.tool_calls else END


def approve(state: MessagesState) -> Command[Literal["tools", "talk"]]:
    call = state["messages"][-1].tool_calls[0]
    decision = interrupt({"question": "May I send this?", "call": {"name": call["name"], "args": call["args"]}})
    if decision in ("yes", True):
        return Command(goto="tools")
    refusal = ToolMessage("The human did not allow it.", name=call["name"], tool_call_id=call["id"])
    return Command(goto="talk", update={"messages": [refusal]})


def tools(state: MessagesState) -> dict[str, Any]:
    call = state["messages"][-1].tool_calls[0]
    return {"messages": [ToolMessage(f"sent to {call['args']['to']}", name=call["name"], tool_call_id=call["id"])]}


talking = StateGraph(MessagesState)
talking.add_node(talk)
talking.add_node(approve)
talking.add_node(tools)
talking.add_edge(START, "talk")
talking.add_conditional_edges("talk", wants_tool)
talking.add_edge("tools", "talk")
chat = talking.compile()


class Work(TypedDict, total=False):
    items: list[int]
    fail_at: int
    done: Annotated[list[str], operator.add]
    total: int


def plan(state: Work) -> Work:
    return {"done": [f"planned {len(state.get('items', []))} items"]}


def add(state: Work) -> Work:
    items = state.get("items", [])
    if state.get("fail_at") in items:
        raise ValueError(f"item {state['fail_at']} cannot be added")
    return {"total": sum(items), "done": ["added"]}


def check(state: Work) -> Work:
    return {"done": ["checked"]}


def finish(state: Work) -> Work:
    return {"done": [f"total {state.get('total')}"]}


working = StateGraph(Work)
working.add_node(add)
working.add_node(check)
working.add_edge(START, "add")
working.add_edge("add", "check")

flowing = StateGraph(Work)
flowing.add_node(plan)
flowing.add_node("work", working.compile())
flowing.add_node(finish)
flowing.add_edge(START, "plan")
flowing.add_edge("plan", "work")
flowing.add_edge("work", "finish")
flow = flowing.compile()


class Waiting(TypedDict, total=False):
    until: str


def begin(state: Waiting) -> Waiting:
    return {}


async def wait(state: Waiting) -> Waiting:
    """Run until the test makes the file."""
    while not Path(state["until"]).exists():
        await asyncio.sleep(0.05)
    return {}


waiting = StateGraph(Waiting)
waiting.add_node(wait)
waiting.add_edge(START, "wait")

slowly = StateGraph(Waiting)
slowly.add_node(begin)
slowly.add_node("work", waiting.compile())
slowly.add_edge(START, "begin")
slowly.add_edge("begin", "work")
slow = slowly.compile()


def embed(texts: list[str]) -> list[list[float]]:
    """Embed texts by how often they name two things."""
    return [[text.count("weather"), text.count("money"), 0.1] for text in texts]
