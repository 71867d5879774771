"""The store of a running server, on both logs: nodes and clients share it, and its vectors are rebuilt without the model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from langgraph_sdk import get_client

from tests.stack.server import LiveServer, kafka_env

PROJECT = Path(__file__).parent / "project" / "langgraph.json"


@pytest.fixture(scope="module", params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp(f"store-{request.param}")
    env = kafka_env(request.getfixturevalue("kafka")) if request.param == "kafka" else {}
    with LiveServer(PROJECT, folder, {**env, "EMBED_CALLS": str(folder / "calls")}).up() as live:
        yield live
        before = calls(live)
    assert calls(live) == before, "the log was folded anew just now, which needs no model"


def calls(server: LiveServer) -> list[int]:
    file = server.output.parent / "calls"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


async def test_what_a_node_has_put_is_found_by_the_next_node_and_by_clients(server: LiveServer) -> None:
    async with get_client(url=server.url) as client:
        asked = {"user": "u1", "texts": ["abc", "aab", "c"], "query": "a"}
        values = await client.runs.wait(None, "notes", input=asked)
        assert values["found"] == ["aab 0.894", "abc 0.577", "c 0.000"]  # type: ignore[index,call-overload]
        assert values["again"] == ["aab", "abc", "c", "silent"]  # type: ignore[index,call-overload]
        items = (await client.store.search_items(["notes"], query="c", limit=2))["items"]
        assert [(item["key"], round(item["score"], 3)) for item in items] == [("c", 1), ("abc", 0.577)]  # type: ignore[typeddict-item]


async def test_what_a_client_has_put_is_found_at_once_and_many_share_calls(server: LiveServer) -> None:
    async with get_client(url=server.url) as client:
        before = len(calls(server))
        await asyncio.gather(
            *(client.store.put_item(["many"], f"{n:03}", {"text": "a" * n + "b"}) for n in range(60)),
        )
        assert len(calls(server)) - before < 60
        items = (await client.store.search_items(["many"], query="a", limit=3))["items"]
        assert [item["key"] for item in items] == ["059", "058", "057"]


async def test_items_go_when_their_time_is_over(server: LiveServer) -> None:
    async with get_client(url=server.url) as client:
        await client.store.put_item(["short"], "k", {"text": "a"}, ttl=0.005)  # type: ignore[arg-type]
        async with asyncio.timeout(120):
            while (await client.store.search_items(["short"], query="a", refresh_ttl=False))["items"]:
                await asyncio.sleep(0.1)  # nothing tells a client of it


async def test_an_item_with_too_many_texts_is_refused_and_not_written(server: LiveServer) -> None:
    async with get_client(url=server.url) as client:
        with pytest.raises(Exception, match="at most 500 are allowed"):
            await client.store.put_item(["n"], "k", {"l": ["a"] * 600}, index=["l[*]"])
        assert (await client.store.search_items(["n"]))["items"] == []
