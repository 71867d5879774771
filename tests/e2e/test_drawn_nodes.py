"""Events name the nodes that a drawing has: by namespace and name, in every stream and in the log."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

import aiohttp
import httpx
from langgraph_sdk.client import LangGraphClient

from tests.protocol.following import Thread
from tests.stack.audit_events import each_step
from tests.stack.server import LiveServer

LIMIT_S = 90.0
DRAWN = {"__start__", "before", "child:child_step", "child:inner:leaf", "after", "__end__"}
HOLDERS = {"child", "child:inner"}
"""Nodes that hold a subgraph: the drawing shows what is inside them."""


def drawn(namespace: Iterable[str], name: str) -> str:
    """Return the drawn node, as docs/reference/console-api.md defines it."""
    return ":".join([step.partition(":")[0] for step in namespace if step] + [name])


async def test_streams_and_log_name_the_nodes_of_the_drawing(client: LangGraphClient, server: LiveServer) -> None:
    [assistant] = await client.assistants.search(graph_id="nested")
    drawing: Any = await client.assistants.get_graph(assistant["assistant_id"], xray=True)
    assert {node["id"] for node in drawing["nodes"]} == DRAWN
    ran = (DRAWN - {"__start__", "__end__"}) | HOLDERS
    thread = (await client.threads.create())["thread_id"]
    streamed = {"tasks": set(), "updates": set()}  # type: dict[str, set[str]]
    async for part in client.runs.stream(
        thread, "nested", input={}, stream_mode=["tasks", "updates"], stream_subgraphs=True
    ):
        mode, *namespace = part.event.split("|")
        if mode == "tasks":
            streamed[mode].add(drawn(namespace, part.data["name"]))
        elif mode == "updates":
            streamed[mode] |= {drawn(namespace, name) for name in part.data}
    assert streamed == {"tasks": ran, "updates": ran}
    async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S) as http:
        page = (await http.get(f"/threads/{thread}/events?type=checkpoint.writes&limit=1000")).json()
    data = [e["data"] for e in each_step(page["events"]) if e["type"] == "langlog.checkpoint.writes.v1"]
    # the streaming protocol tells of subgraphs, by their namespaces
    protocol: set[str] = set()
    async with aiohttp.ClientSession() as session:
        conversation = Thread(session, server.url, str(uuid.uuid4()))
        await conversation.start("nested", {})
        for event in await conversation.follow(since=0, channels=["lifecycle"]):
            if event.namespace:
                protocol.add(drawn(event.namespace[:-1], event.namespace[-1].partition(":")[0]))
    assert protocol == HOLDERS
    named = {drawn(writes["namespace"].split("|"), writes["node"]) for writes in data if writes["node"]}
    assert named - {"__start__", "child:__start__", "child:inner:__start__"} <= ran and named & (ran - HOLDERS)
