"""One user's share of common limits: queue places, streams, deliveries of webhooks. The rest is left for others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from langlog_backbone.time.clock import new_id

from tests.gateway.conftest import MakeStack, Stack
from tests.webhooks.conftest import Receiver, receiver, scheduler

__all__ = ["receiver"]

PROJECT = Path(__file__).parent / "credentials" / "langgraph.json"
LATER = {"assistant_id": "echo", "input": {}, "after_seconds": 60}
ALICE, BOB = {"authorization": "alice"}, {"authorization": "bob"}


@pytest.mark.parametrize("path", ["/runs", "/runs/batch", "/runs/stream"])
async def test_a_user_whose_share_of_the_queue_is_taken_is_refused_and_others_are_not(
    make_stack: MakeStack, path: str
) -> None:
    async with make_stack(project=PROJECT, max_queued_runs=10, max_queued_runs_per_user=2) as stack:
        for _ in range(2):
            assert (await stack.call("POST", "/runs", LATER, headers=ALICE))[0] == 200
        body: Any = [LATER] if path.endswith("batch") else LATER
        status, answer = await stack.call("POST", path, body, headers=ALICE)
        assert status == 429
        assert "of your runs are queued (limit 2)" in answer["detail"]
        assert (await stack.call("POST", "/runs", LATER, headers=BOB))[0] == 200
        assert await stack.backbone.pool.fetchval("SELECT count(*) FROM runs WHERE user_id = 'alice'") == 2


async def test_a_user_whose_share_of_streams_is_open_is_refused_and_others_are_not(make_stack: MakeStack) -> None:
    async with make_stack(project=PROJECT, max_streams=3, max_streams_per_user=1) as stack:
        _, thread = await stack.call("POST", "/threads", {}, headers=ALICE)
        path = f"{stack.url}/threads/{thread['thread_id']}/stream"
        async with stack.http.get(path, headers=ALICE) as first:
            assert first.status == 200
            async with stack.http.get(path, headers=ALICE) as second:
                assert second.status == 429
                assert "of yours (limit 1)" in (await second.json())["detail"]
            async with stack.http.get(path, headers=BOB) as other:
                assert other.status == 200


@pytest.mark.parametrize(("seconds", "status"), [(60, 200), (61, 422), (1e300, 422), (-5, 200)])
async def test_a_run_is_delayed_by_so_much_at_most(make_stack: MakeStack, seconds: float, status: int) -> None:
    async with make_stack(max_delay_s=60) as stack:
        body, answer = await stack.call(
            "POST", "/runs", {"assistant_id": "echo", "input": {}, "after_seconds": seconds}
        )
        assert body == status
        if status == 422:
            assert "LANGLOG_MAX_DELAY_SECS" in answer["detail"]
            assert await stack.backbone.pool.fetchval("SELECT count(*) FROM runs") == 0


@pytest.fixture
async def shared(make_stack: MakeStack) -> AsyncIterator[Stack]:
    async with make_stack(
        project=PROJECT, webhook_concurrency=4, webhook_concurrency_per_user=2, webhook_timeout_s=60
    ) as stack:
        yield stack


async def test_receivers_that_never_answer_hold_back_their_own_users_webhooks_alone(
    shared: Stack, receiver: Receiver
) -> None:
    stuck = asyncio.Event()
    release = asyncio.Event()
    held: list[str] = []

    async def answer(number: int) -> web.Response:
        if receiver.hooks[number - 1].path.startswith("/alice"):
            held.append(receiver.hooks[number - 1].path)
            if len(held) == 2:
                stuck.set()
            await release.wait()
        return web.Response()

    receiver.answer = answer
    async with scheduler(shared.backbone):
        try:
            for n in range(6):
                await run(shared, f"{receiver.url}/alice/{n}", ALICE)
            async with asyncio.timeout(60):
                await stuck.wait()
            for n in range(6):
                await run(shared, f"{receiver.url}/bob/{n}", BOB)
            async with asyncio.timeout(60):
                while sum(hook.path.startswith("/bob") for hook in receiver.hooks) < 6:
                    await receiver.got(len(receiver.hooks) + 1)
            assert len(held) == 2
            release.set()
            async with asyncio.timeout(60):
                while len(held) < 6:
                    await receiver.got(len(receiver.hooks) + 1)
        finally:
            release.set()


async def run(stack: Stack, url: str, headers: dict[str, str]) -> None:
    body = {"assistant_id": "echo", "input": {}, "webhook": url, "if_not_exists": "create"}
    path = f"/threads/{new_id()}/runs/wait"
    assert (await stack.call("POST", path, body, headers=headers))[0] == 200
