"""Every method of ``client.assistants``."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from langgraph_sdk.errors import NotFoundError

from tests.sdk.driver import Driver, drives


async def made(sdk: Driver, graph: str = "contextual", **options: Any) -> str:
    name: str = (await sdk("assistants.create", graph, **options))["assistant_id"]
    return name


@drives("assistants.create")
async def create(sdk: Driver) -> None:
    name = str(uuid.uuid4())
    assistant = await sdk(
        "assistants.create",
        "contextual",
        config={"tags": ["t"]},
        context={"tone": "dry"},
        metadata={"k": 1},
        assistant_id=name,
        if_exists="raise",
        name="asked",
        description="for a test",
    )
    assert (assistant["version"], assistant["name"], assistant["description"]) == (1, "asked", "for a test")
    assert assistant["config"] == {"tags": ["t"], "configurable": {"tone": "dry"}}
    again = await sdk("assistants.create", "echo", assistant_id=name, if_exists="do_nothing")
    assert again == assistant
    values = await sdk("runs.wait", None, name, input={"text": "x"})
    assert values["saw_context"]["tone"] == "dry"


@drives("assistants.get")
async def get(sdk: Driver) -> None:
    assistant = await sdk("assistants.create", "echo")
    assert await sdk("assistants.get", assistant["assistant_id"]) == assistant


@drives("assistants.update")
async def update(sdk: Driver) -> None:
    name = await made(sdk, "echo", metadata={"a": 1})
    assistant = await sdk(
        "assistants.update",
        name,
        graph_id="contextual",
        config={"tags": ["t"]},
        context={"tone": "dry"},
        metadata={"b": 2},
        name="renamed",
        description="changed",
    )
    assert (assistant["version"], assistant["graph_id"], assistant["metadata"]) == (2, "contextual", {"a": 1, "b": 2})
    assert (assistant["name"], assistant["description"]) == ("renamed", "changed")


@drives("assistants.delete")
async def delete(sdk: Driver) -> None:
    name = await made(sdk, "echo")
    thread = (await sdk("threads.create"))["thread_id"]
    await sdk("runs.wait", thread, name, input={"text": "x"})
    await sdk("assistants.delete", name, delete_threads=True)
    for read in (("assistants.get", name), ("threads.get", thread)):
        with pytest.raises(NotFoundError):
            await sdk(*read)


@drives("assistants.search")
async def search(sdk: Driver) -> None:
    suite = str(uuid.uuid4())
    names = [await made(sdk, "echo", metadata={"suite": suite}, name=f"{suite}-{n}") for n in range(3)]
    wanted: dict[str, Any] = {"metadata": {"suite": suite}, "graph_id": "echo", "name": suite}
    result = await sdk("assistants.search", **wanted, sort_by="created_at", sort_order="asc", select=["assistant_id"])
    assert result == [{"assistant_id": name} for name in names]
    page = await sdk("assistants.search", **wanted, limit=2, offset=0, response_format="object")
    assert [a["assistant_id"] for a in page["assistants"]] == [names[2], names[1]]
    assert page["next"] is not None


@drives("assistants.count")
async def count(sdk: Driver) -> None:
    suite = str(uuid.uuid4())
    await made(sdk, "echo", metadata={"suite": suite}, name=f"{suite}-one")
    await made(sdk, "counter", metadata={"suite": suite})
    assert await sdk("assistants.count", metadata={"suite": suite}) == 2
    assert await sdk("assistants.count", metadata={"suite": suite}, graph_id="echo", name=suite) == 1


@drives("assistants.get_versions")
async def get_versions(sdk: Driver) -> None:
    name = await made(sdk, metadata={"v": 1})
    await sdk("assistants.update", name, metadata={"v": 2})
    await sdk("assistants.update", name, context={"tone": "dry"})
    assert [v["version"] for v in await sdk("assistants.get_versions", name)] == [3, 2, 1]
    assert [v["version"] for v in await sdk("assistants.get_versions", name, limit=1, offset=1)] == [2]
    assert [v["version"] for v in await sdk("assistants.get_versions", name, metadata={"v": 1})] == [1]


@drives("assistants.set_latest")
async def set_latest(sdk: Driver) -> None:
    name = await made(sdk, context={"tone": "first"})
    await sdk("assistants.update", name, context={"tone": "second"})
    assistant = await sdk("assistants.set_latest", name, 1)
    assert (assistant["version"], assistant["context"]) == (1, {"tone": "first"})


@drives("assistants.get_graph")
async def get_graph(sdk: Driver) -> None:
    name = await made(sdk, "nested")
    plain = await sdk("assistants.get_graph", name)
    assert {node["id"] for node in plain["nodes"]} == {"__start__", "before", "child", "after", "__end__"}
    deep = await sdk("assistants.get_graph", name, xray=True)
    assert "child:inner:leaf" in {node["id"] for node in deep["nodes"]}


@drives("assistants.get_schemas")
async def get_schemas(sdk: Driver) -> None:
    schemas = await sdk("assistants.get_schemas", await made(sdk))
    assert schemas["graph_id"] == "contextual"
    assert set(schemas["context_schema"]["properties"]) == {"tone", "limit"}


@drives("assistants.get_subgraphs")
async def get_subgraphs(sdk: Driver) -> None:
    name = await made(sdk, "nested")
    assert set(await sdk("assistants.get_subgraphs", name)) == {"child"}
    assert set(await sdk("assistants.get_subgraphs", name, recurse=True)) == {"child", "child|inner"}
    assert set(await sdk("assistants.get_subgraphs", name, namespace="child")) == {"child"}
