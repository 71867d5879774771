"""Nodes whose client has no address: it means the server that they run on. One client for all runs, made at the import."""

from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.pregel.remote import RemoteGraph
from langgraph_sdk import get_client
from typing_extensions import TypedDict

server = get_client()


class State(TypedDict, total=False):
    text: str
    answers: list[str]
    ticks: list[Any]


async def ask(state: State) -> State:
    given = {"text": state["text"]}
    thread = await server.threads.create(metadata={"made": "inside"})
    waited: Any = await server.runs.wait(thread["thread_id"], "echo", input=given)
    remote = await RemoteGraph("echo", client=server).ainvoke(given)
    async with get_client() as another:
        assert (await another.threads.get(thread["thread_id"]))["metadata"]["made"] == "inside"
    await server.threads.delete(thread["thread_id"])
    return {"answers": [waited["echoed"], remote["echoed"]]}


async def listen(state: State) -> State:
    stream = server.runs.stream(None, "slow", input={"seconds": 0.1, "ticks": 2}, stream_mode="custom")
    return {"ticks": [part.data["tick"] async for part in stream if part.event == "custom"]}


graph = (
    StateGraph(State)
    .add_node("ask", ask)
    .add_node("listen", listen)
    .add_edge(START, "ask")
    .add_edge("ask", "listen")
    .add_edge("listen", END)
    .compile()
)
