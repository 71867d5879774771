"""Agents of `langchain` and `deepagents`, with a model that needs no network."""

from deepagents import create_deep_agent
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware, SummarizationMiddleware
from langchain.agents.structured_output import ToolStrategy
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph_sdk import get_client
from obedient import Obedient
from pydantic import BaseModel


@tool
def send_mail(to: str, text: str) -> str:
    """Send a mail."""
    return f"sent {text!r} to {to}"


@tool
def weather(place: str) -> str:
    """Look up the weather."""
    return f"sunny in {place}"


@tool
async def wait_for_parent(config: RunnableConfig) -> str:
    """Wait until the agent that started this one is idle."""
    parent = config["metadata"]["parent_thread_id"]
    client = get_client(headers={"authorization": "worker"})
    for run in await client.runs.list(parent):
        await client.runs.join(parent, run["run_id"])
    return "it is idle"


@tool
def fail(reason: str) -> str:
    """Fail."""
    raise ValueError(reason)


class Report(BaseModel):
    place: str
    degrees: int


plain = create_agent(Obedient(), [weather, fail], system_prompt="Be brief.", name="plain")

approving = create_agent(
    Obedient(),
    [weather, send_mail],
    middleware=[
        HumanInTheLoopMiddleware(
            interrupt_on={"send_mail": {"allowed_decisions": ["approve", "edit", "reject", "respond"]}},
        )
    ],
)

each_call = create_agent(
    Obedient(),
    [send_mail],
    middleware=[HumanInTheLoopMiddleware(interrupt_on={"send_mail": True}, interrupt_mode="per_call")],
)

structured = create_agent(Obedient(), [weather], response_format=ToolStrategy(Report))

summarizing = create_agent(
    Obedient(),
    [],
    middleware=[SummarizationMiddleware(model=Obedient(), trigger=("messages", 6), keep=("messages", 2))],
)

deep = create_deep_agent(
    model=Obedient(),
    tools=[weather, send_mail],
    interrupt_on={"send_mail": True},
    subagents=[
        {
            "name": "reporter",
            "description": "Reports on the weather.",
            "system_prompt": "Report.",
            "model": Obedient(),
            "tools": [weather],
        }
    ],
)

worker = create_deep_agent(
    model=Obedient(), tools=[weather, send_mail, wait_for_parent], interrupt_on={"send_mail": True}
)

boss = create_deep_agent(
    model=Obedient(),
    subagents=[
        {
            "name": "helper",
            "description": "Works for a while.",
            "graph_id": "worker",
            "headers": {"authorization": "boss"},
        }
    ],
)
