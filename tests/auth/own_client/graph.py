"""Graphs that call the server that runs them."""

from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import StateGraph
from langgraph_sdk import get_client

server = get_client()
as_alice = get_client(headers={"authorization": "alice"})
instrumented = get_client(headers={"sentry-trace": "1-2-1", "baggage": "a=1", "x-datadog-trace-id": "1", "b3": "1-2-1"})


class State(TypedDict, total=False):
    report: dict[str, Any]


async def ask(state: State) -> State:
    foreign = (await server.threads.create(metadata={"owner": "bob"}))["thread_id"]
    values = await server.runs.wait(foreign, "leaf", input={})
    await server.runs.create(foreign, "leaf", input={}, after_seconds=3600)
    await server.store.put_item(["a"], key="k", value={"x": 1})
    cron = await server.crons.create_for_thread(foreign, "leaf", schedule="0 0 1 1 *", input={})
    streamed = [part.event async for part in server.runs.stream(None, "leaf", input={})]
    try:
        await as_alice.threads.get(foreign)
        alice = "sees it"
    except Exception as error:
        alice = type(error).__name__
    report = {
        "thread": foreign,
        "leaf": values["report"],
        "owners": await server.threads.count(metadata={"owner": "bob"}),
        "item": (await server.store.get_item(["a"], key="k"))["value"],
        "cron": cron["cron_id"],
        "streamed": "values" in streamed,
        "instrumented": await instrumented.threads.count(metadata={"owner": "bob"}),
        "alice": alice,
        "route": await server.http.get("/seen"),
    }
    return {"report": report}


async def report(state: State, config: RunnableConfig) -> State:
    given = config["configurable"]
    headers = sorted(name for name in given if name.startswith("x-"))
    return {"report": {"headers": headers, "user": given["langgraph_auth_user"]}}


def made(node: Any) -> Any:
    graph = StateGraph(State)
    graph.add_node("node", node)
    graph.set_entry_point("node")
    graph.set_finish_point("node")
    return graph.compile()


asker, leaf = made(ask), made(report)
