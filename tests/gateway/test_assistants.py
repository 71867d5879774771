"""Gateways show graphs from their own events; they query a worker if a factory may make another graph."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from langlog_backbone.redis import channels
from langlog_schemas import events as ev
from langlog_schemas.ids import default_assistant_id
from langlog_schemas.messages import Answer

from tests.gateway.conftest import Stack, append

CONTEXT = {"type": "object", "properties": {"tone": {"type": "string"}}}
SCHEMAS = {name: {"title": name} for name in ("input_schema", "output_schema", "state_schema", "config_schema")}
ECHO = default_assistant_id("echo")


async def register(stack: Stack, **more: Any) -> None:
    """Register the graph again, as an executor does; returns when the read model has it."""
    event = ev.GraphRegistered(graph_id="echo", position=0, schemas={**SCHEMAS, "context_schema": CONTEXT}, **more)
    moved = asyncio.Event()

    def projected(positions: bytes) -> None:
        if ev.GRAPH_EVENTS in msgspec.json.decode(positions):
            moved.set()

    await stack.backbone.bus.subscribe(channels.WATERMARK, projected)
    await append(stack.backbone, ev.GRAPH_EVENTS, event.key, event.TYPE, ev.encode(event), "graph-again")
    await moved.wait()
    await stack.backbone.bus.unsubscribe(channels.WATERMARK, projected)


def worker_says(stack: Stack, said: Any) -> list[dict[str, Any]]:
    asked: list[dict[str, Any]] = []

    def answer(question: dict[str, Any]) -> Answer:
        asked.append(question)
        return Answer(id="", status=200, body=msgspec.json.encode(said))

    stack.answers = dict.fromkeys(("graph", "subgraphs", "schemas"), answer)
    return asked


async def test_drawings_schemas_and_subgraphs_need_no_worker(stack: Stack) -> None:
    asked = worker_says(stack, "asked")
    await register(
        stack,
        static=True,
        drawings=["flat", "one", "all"],
        subgraphs={"child": SCHEMAS, "child|inner": {}, "other": {}},
    )
    path = f"/assistants/{ECHO}"
    for query, drawn in (
        ("", "flat"),
        ("?xray=1", "one"),
        ("?xray=2", "all"),
        ("?xray=9", "all"),
        ("?xray=true", "all"),
    ):
        assert await stack.call("GET", f"{path}/graph{query}") == (200, drawn)
    assert await stack.call("GET", "/assistants/echo/graph") == (200, "flat")
    status, schemas = await stack.call("GET", f"{path}/schemas")
    assert (status, schemas) == (200, {"graph_id": "echo", **SCHEMAS, "context_schema": CONTEXT})
    for query, names in (
        ("", ["child", "other"]),
        ("?recurse=true", ["child", "child|inner", "other"]),
        ("/child", ["child"]),
        ("/child|inner", []),
        ("/child|inner?recurse=true", ["child|inner"]),
        ("/inner?recurse=true", []),
    ):
        status, body = await stack.call("GET", f"{path}/subgraphs{query}")
        assert (status, sorted(body)) == (200, names), query
    assert asked == []


async def test_a_factory_is_asked_about_an_assistant_with_a_configurable_of_its_own(stack: Stack) -> None:
    asked = worker_says(stack, "asked")
    await register(stack, static=False, drawings=["plain"], subgraphs={})
    _, own = await stack.call("POST", "/assistants", {"graph_id": "echo", "context": {"tone": "loud"}})
    assert await stack.call("GET", f"/assistants/{ECHO}/graph") == (200, "plain")
    assert asked == []
    assert await stack.call("GET", f"/assistants/{own['assistant_id']}/graph?xray=2") == (200, "asked")
    named = {"graph_id": "echo", "assistant_id": own["assistant_id"]}
    assert asked == [{**named, "config": {"configurable": {"tone": "loud"}}, "xray": 2}]
    for what in ("subgraphs", "schemas"):
        assert await stack.call("GET", f"/assistants/{own['assistant_id']}/{what}") == (200, "asked")


async def test_a_graph_that_nothing_is_told_of_is_asked_for(stack: Stack) -> None:
    asked = worker_says(stack, "asked")
    for what in ("graph", "subgraphs", "schemas"):
        assert await stack.call("GET", f"/assistants/{ECHO}/{what}") == (200, "asked")
    assert len(asked) == 3


async def test_members_of_a_context_that_its_schema_does_not_name_stay_out_of_the_configurable(stack: Stack) -> None:
    await register(stack)
    _, thread = await stack.call("POST", "/threads", {})
    path = f"/threads/{thread['thread_id']}/runs"
    _, run = await stack.call("POST", path, {"assistant_id": "echo", "context": {"tone": "warm", "zzz": 1}})
    configurable = run["kwargs"]["config"]["configurable"]
    assert configurable["tone"] == "warm"
    assert "zzz" not in configurable
    _, run = await stack.call("POST", path, {"assistant_id": "echo", "config": {"configurable": {"zzz": 1}}})
    assert run["kwargs"]["config"]["configurable"]["zzz"] == 1
    _, run = await stack.call("POST", path, {"assistant_id": "slow", "context": {"zzz": 1}})
    assert run["kwargs"]["config"]["configurable"]["zzz"] == 1, "a graph without a context schema takes anything"


@pytest.mark.parametrize("member", [{"name": "n" * 1_001}, {"description": "d" * 10_001}], ids=["name", "description"])
async def test_a_text_that_every_list_would_carry_is_bounded(stack: Stack, member: dict[str, str]) -> None:
    await register(stack)
    assert (await stack.call("POST", "/assistants", {"graph_id": "echo", **member}))[0] == 422
    assert (await stack.call("PATCH", f"/assistants/{ECHO}", member))[0] == 422
