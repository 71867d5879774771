"""`langgraph_sdk.cache` where projects use it: in nodes, authentication handlers and routes of their own."""

from __future__ import annotations

import uuid

import aiohttp
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.stack.server import LiveServer


async def test_nodes_and_routes_share_what_they_keep(server: LiveServer, client: LangGraphClient) -> None:
    key = uuid.uuid4().hex
    first = await client.runs.wait(None, "cached", input={"key": key, "value": {"a": [1]}})
    assert (first["found"], first["status"]) == (None, "miss")
    second = await client.runs.wait(None, "cached", input={"key": key})
    assert (second["found"], second["status"]) == ({"a": [1]}, "fresh")
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{server.url}/own/cache/{key}") as answer:
            assert await answer.json() == {"a": [1]}
        async with http.put(f"{server.url}/own/cache/{key}", json="from the route") as answer:
            assert await answer.json() == "from the route"
    third = await client.runs.wait(None, "cached", input={"key": key})
    assert third["found"] == "from the route"


async def test_an_authentication_handler_looks_a_caller_up_once(server: LiveServer) -> None:
    token = uuid.uuid4().hex
    async with get_client(url=server.url, headers={"authorization": token}) as mine:
        for _ in range(3):
            await mine.threads.create()
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{server.url}/own/lookups/{token}") as answer,
    ):
        assert await answer.json() == 1
