"""No connection to Postgres is held while a run executes or a stream is open: few serve many."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import aiohttp
import asyncpg
from langgraph_sdk.client import LangGraphClient

from .conftest import CONNECTIONS, LIMIT_S, LOOK_S, SLOTS, Server

STREAMS = 5 * CONNECTIONS
WAITERS = 5 * CONNECTIONS
HELD = """
    SELECT count(*) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND (state <> 'idle' OR wait_event_type = 'Lock')
"""
"""Connections that are in the middle of something: a statement or a transaction."""


async def test_no_connection_is_held_while_runs_execute_and_streams_are_open(
    server: Server, client: LangGraphClient
) -> None:
    gate = str(uuid.uuid4())
    runs: list[tuple[str, str]] = []
    for _ in range(SLOTS):
        thread = (await client.threads.create())["thread_id"]
        runs.append((thread, (await client.runs.create(thread, "gated", input={"gate": gate}))["run_id"]))
    await server.entered(gate, SLOTS)
    timeout = aiohttp.ClientTimeout(total=LIMIT_S)
    async with aiohttp.ClientSession(server.url, timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:
        opened = await asyncio.gather(
            *(http.get(f"/threads/{runs[n % SLOTS][0]}/runs/{runs[n % SLOTS][1]}/stream") for n in range(STREAMS)),
            *(http.get(f"/threads/{runs[n % SLOTS][0]}/stream") for n in range(STREAMS)),
            *(http.post("/runs/stream", json={"assistant_id": "echo", "input": {"text": "a"}}) for _ in range(STREAMS)),
        )
        assert {answer.status for answer in opened} == {200}
        waiters = [asyncio.ensure_future(_joined(http, *runs[n % SLOTS])) for n in range(WAITERS)]
        # everything else goes on with the few connections there are
        results = await asyncio.gather(*(client.threads.search(limit=5) for _ in range(WAITERS)))
        assert all(results)
        await _all_idle(server.database_uri)
        assert not any(waiter.done() for waiter in waiters)
        server.open(gate)
        for values in await asyncio.gather(*waiters):
            assert values["trail"] == ["first", "waited"]
        for answer in opened:
            answer.close()


async def _joined(http: aiohttp.ClientSession, thread: str, run: str) -> Any:
    async with http.get(f"/threads/{thread}/runs/{run}/join") as answer:
        return await answer.json()


async def _all_idle(uri: str) -> None:
    """Returns once no connection is busy: those that are held would never be idle, as the gate is shut."""
    async with asyncio.timeout(LIMIT_S):
        connection = await asyncpg.connect(uri)
        try:
            while await connection.fetchval(HELD):
                await asyncio.sleep(LOOK_S)  # statements of the moment end; Postgres tells of them only when asked
        finally:
            await connection.close()
