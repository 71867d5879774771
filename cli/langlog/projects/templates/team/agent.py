"""A team: a supervisor hands tasks to a researcher and a writer, at once where it can, and answers with what they report."""

import operator
from typing import Annotated, Any, Literal, TypedDict

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, Send
from model import chat_model

LEAD = SystemMessage(
    "You lead a researcher and a writer. Assign what the question needs; research comes before writing. "
    "Answer with the text once the writer has reported it."
)
MEMBERS = {
    "researcher": SystemMessage("You are a researcher. Report the facts that the task needs, one a line."),
    "writer": SystemMessage("You are a writer. Write what the task says, in one paragraph, from the facts it names."),
}


@tool
def assign(to: Literal["researcher", "writer"], task: str) -> str:
    """Hand a task to a member of the team."""
    raise NotImplementedError("the graph carries it out")


def script(messages: list[BaseMessage]) -> AIMessage:
    """Return the team's answer without a model."""
    if messages[0] == MEMBERS["researcher"]:
        return AIMessage(f"Three facts about {messages[-1].text}.")
    if messages[0] == MEMBERS["writer"]:
        return AIMessage(f"A paragraph. {messages[-1].text}")
    reports = []
    for message in reversed(messages):
        if isinstance(message, HumanMessage):
            break
        if isinstance(message, ToolMessage):
            reports.append(message)
    question = next(x for x in reversed(messages) if isinstance(x, HumanMessage)).text
    if len(reports) >= 2:
        return AIMessage(reports[0].text)
    to, task = ("writer", reports[0].text) if reports else ("researcher", question)
    return AIMessage(
        "", tool_calls=[{"name": "assign", "args": {"to": to, "task": task}, "id": f"{to}-{len(messages)}"}]
    )


llm = chat_model(script)
lead = llm.bind_tools([assign])


class State(MessagesState):
    reported: Annotated[list[str], operator.add]
    """Members that have reported, in order."""


class Task(TypedDict):
    task: str
    call: str
    """Id of the tool call that it answers."""


async def supervisor(state: State) -> Command[Literal["researcher", "writer", "__end__"]]:
    answer = await lead.ainvoke([LEAD, *state["messages"]])
    tasks = [
        Send(call["args"]["to"], Task(task=call["args"]["task"], call=call["id"]))
        for call in answer.tool_calls
        if call["args"].get("to") in MEMBERS
    ]
    return Command(goto=tasks or "__end__", update={"messages": [answer]})


def member(name: str) -> Any:
    """A node that does one task by its own prompt, and reports."""

    async def work(task: Task) -> dict[str, Any]:
        answer = await llm.ainvoke([MEMBERS[name], HumanMessage(task["task"])])
        return {"messages": [ToolMessage(answer.text, name="assign", tool_call_id=task["call"])], "reported": [name]}

    return work


builder = StateGraph(State)
builder.add_node("supervisor", supervisor)
builder.add_edge(START, "supervisor")
for name in MEMBERS:
    builder.add_node(name, member(name), input_schema=Task)
    builder.add_edge(name, "supervisor")
graph = builder.compile()
