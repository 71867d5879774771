"""TTLs with real workers and checkpoints, on both logs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from langgraph_sdk import get_client

from tests.stack.server import LiveServer, kafka_env

PROJECT = Path(__file__).parent / "project" / "langgraph.json"
LIMIT_S = 120.0


@pytest.fixture(scope="module", params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    env = kafka_env(request.getfixturevalue("kafka")) if request.param == "kafka" else {}
    with LiveServer(PROJECT, tmp_path_factory.mktemp(f"ttl-{request.param}"), env).up() as live:
        yield live


async def test_a_thread_thinned_to_its_latest_checkpoint_can_be_read_and_run_on(server: LiveServer) -> None:
    async with get_client(url=server.url) as client:
        thread = await client.threads.create()
        thread_id = thread["thread_id"]
        for _ in range(2):
            await client.runs.wait(thread_id, "counter", input={"by": 1})
        values = (await client.threads.get_state(thread_id))["values"]
        async with asyncio.timeout(LIMIT_S):
            while len(await client.threads.get_history(thread_id, limit=100)) > 1:
                await asyncio.sleep(0.1)  # nothing tells a client of it
        assert (await client.threads.get_state(thread_id))["values"] == values
        assert (await client.threads.get(thread_id))["values"] == values
        await client.runs.wait(thread_id, "counter", input={"by": 1})
        assert (await client.threads.get_state(thread_id))["values"] != values


async def test_a_thread_with_a_ttl_of_its_own_goes(server: LiveServer) -> None:
    async with get_client(url=server.url) as client:
        thread = await client.threads.create()
        await client.runs.wait(thread["thread_id"], "counter", input={"by": 1})
        # after the run: it could come too late for so short a time
        own = {"ttl": 0.01, "strategy": "delete"}
        await client.threads.update(thread["thread_id"], metadata={}, ttl=own, return_minimal=True)
        async with asyncio.timeout(LIMIT_S):
            while await client.threads.search(ids=[thread["thread_id"]]):
                await asyncio.sleep(0.1)  # nothing tells a client of it
