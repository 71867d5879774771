"""Behavior below the clients: idempotency, limits, and that no request waits for another one's blocking code."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.stack.server import LiveServer

BLOCK_S = 1.0
DELAY_LIMIT_MS = 50.0
"""No other request is delayed by more than this while a node blocks."""
PASSES = 40
"""A delay that langlog makes is there each time; one of the machine's is not."""
KINDS = ("ok", "thread", "run")


@pytest.fixture
async def http(server: LiveServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(base_url=server.url) as session:
        yield session


async def call(http: aiohttp.ClientSession, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    async with http.post(path, json=body, headers=headers) as answer:
        return answer.status, await answer.json()


async def test_a_retried_command_returns_the_first_outcome(http: aiohttp.ClientSession) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    status, first = await call(http, "/threads", {"metadata": {"n": 1}}, **key)
    assert status == 200
    assert await call(http, "/threads", {"metadata": {"n": 1}}, **key) == (200, first)
    key = {"Idempotency-Key": str(uuid.uuid4())}
    path = f"/threads/{first['thread_id']}/runs"
    body = {"assistant_id": "counter", "input": {"by": 1}}
    answers = await asyncio.gather(*(call(http, path, body, **key) for _ in range(5)))
    assert {status for status, _ in answers} == {200}
    assert len({run["run_id"] for _, run in answers}) == 1
    async with http.get(path) as answer:
        assert len(await answer.json()) == 1


async def test_a_body_over_the_limit_is_refused(http: aiohttp.ClientSession) -> None:
    status, answer = await call(http, "/runs/wait", {"assistant_id": "counter", "input": {"long": "x" * 34_000_000}})
    assert status == 413
    assert answer["detail"] == "The request body is larger than 34000000 bytes (LANGLOG_MAX_BODY_BYTES)"


async def test_malformed_bodies_are_refused(http: aiohttp.ClientSession) -> None:
    for path in ("/threads", "/runs/wait", "/assistants"):
        async with http.post(path, data=b"{nonsense") as answer:
            assert answer.status == 422
            assert await answer.json() == {"detail": "Invalid JSON in request body"}


async def test_the_server_says_that_it_is_well(http: aiohttp.ClientSession) -> None:
    async with http.get("/ok") as answer:
        assert (await answer.json())["ok"] is True


async def test_a_blocking_node_delays_no_other_request(http: aiohttp.ClientSession) -> None:
    for _ in range(30):  # warm: connections, imports, statements
        await asyncio.gather(*(timed(http, kind) for kind in KINDS))
    late = await delayed_by_a_blocking_node(http)
    for _ in range(PASSES - 1):
        if late:
            again = await delayed_by_a_blocking_node(http)
            late = {kind: again[kind] for kind in late.keys() & again.keys()}
    assert late == {}


async def timed(http: aiohttp.ClientSession, kind: str) -> float:
    """Return the milliseconds that a request takes."""
    start = time.perf_counter()
    if kind == "ok":
        async with http.get("/ok") as answer:
            await answer.read()
    elif kind == "thread":
        await call(http, "/threads", {})
    else:
        status, values = await call(http, "/runs/wait", {"assistant_id": "echo", "input": {"text": "a"}})
        assert (status, values) == (200, {"text": "a", "echoed": "A"})
    return (time.perf_counter() - start) * 1000


async def delayed_by_a_blocking_node(http: aiohttp.ClientSession) -> dict[str, str]:
    """Return the requests that took too long while a node blocked, with their times."""
    usual = {kind: sorted([await timed(http, kind) for _ in range(15)])[-2] for kind in KINDS}

    blocked = asyncio.create_task(call(http, "/runs/wait", {"assistant_id": "blocking", "input": {"seconds": BLOCK_S}}))
    during: dict[str, list[float]] = {kind: [] for kind in KINDS}
    while not blocked.done():
        for kind in KINDS:
            latency = await timed(http, kind)
            if not blocked.done():
                during[kind].append(latency)
    assert (await blocked)[1]["done"] is True
    worst = {kind: max(entry, default=BLOCK_S * 1000) for kind, entry in during.items()}
    return {
        kind: f"{worst[kind]:.0f} ms, usually up to {usual[kind]:.0f} ms"
        for kind in KINDS
        if worst[kind] > usual[kind] + DELAY_LIMIT_MS
    }
