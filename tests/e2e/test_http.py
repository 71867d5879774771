"""Behavior below the clients: idempotency, limits, and that no request waits for another one's blocking code."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.stack.server import LiveServer

LIMIT_S = 90.0
LOOK_S = 0.01
TIMES = 30


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


async def test_a_blocking_node_delays_no_other_request(http: aiohttp.ClientSession, tmp_path: Path) -> None:
    """They are answered while it blocks, which it does until they have been."""

    async def block(folder: Path) -> tuple[int, Any]:
        return await call(http, "/runs/wait", {"assistant_id": "blocking", "input": {"folder": str(folder)}})

    blocked, free = tmp_path / "blocked", tmp_path / "free"
    for folder in (blocked, free):
        folder.mkdir()
    (free / "go on").touch()
    async with asyncio.timeout(LIMIT_S):
        waiting = asyncio.create_task(block(blocked))
        try:
            while not (blocked / "begun").exists():
                await asyncio.sleep(LOOK_S)  # the node is in another process, which tells only by the file
            for _ in range(TIMES):
                async with http.get("/ok") as answer:
                    assert answer.status == 200
                assert (await call(http, "/threads", {}))[0] == 200
                other = await call(http, "/runs/wait", {"assistant_id": "echo", "input": {"text": "a"}})
                assert other == (200, {"text": "a", "echoed": "A"})
            assert (await block(free))[1]["done"] is True, "of the same graph, around the blocked loop"
            assert not waiting.done()
        finally:
            (blocked / "go on").touch()  # whatever failed, the server that tests share goes on
        assert (await waiting)[1]["done"] is True
