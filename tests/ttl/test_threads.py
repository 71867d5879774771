"""Threads are kept for their TTL (wire contract §3 and §16)."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from langlog_backbone.project.config import read_configuration
from langlog_scheduler.expiry import Expiry

from tests.gateway.conftest import Attempt, Stack
from tests.stack.waiting import until

from .conftest import SOON


async def gone(stack: Stack, thread_id: str) -> bool:
    async def look() -> bool:
        return (await stack.call("GET", f"/threads/{thread_id}"))[0] == 404

    return await until(stack.backbone, look)


async def test_a_thread_goes_when_its_ttl_is_over(make_sweeping: Any) -> None:
    async with make_sweeping() as stack:
        _, kept = await stack.call("POST", "/threads", {"ttl": {"ttl": 10}})
        _, bare = await stack.call("POST", "/threads", {})
        _, thread = await stack.call("POST", "/threads", {"ttl": {"ttl": SOON}})
        await gone(stack, thread["thread_id"])
        for other in (kept, bare):
            assert (await stack.call("GET", f"/threads/{other['thread_id']}"))[0] == 200


async def test_a_patch_sets_the_ttl(make_sweeping: Any) -> None:
    async with make_sweeping() as stack:
        _, thread = await stack.call("POST", "/threads", {})
        await stack.call("PATCH", f"/threads/{thread['thread_id']}", {"ttl": {"ttl": SOON}})
        await gone(stack, thread["thread_id"])


@pytest.mark.parametrize("path", ["/threads/{}/runs/wait", "/runs/wait"])
async def test_a_thread_made_by_a_run_honours_its_ttl(make_sweeping: Any, path: str) -> None:
    async with make_sweeping({"default_ttl": SOON}) as stack:
        body = {"assistant_id": "echo", "input": {}, "if_not_exists": "create", "on_completion": "keep"}
        thread_id = "0193a0e5-0000-7000-8000-000000000001"
        async with stack.http.post(stack.url + path.format(thread_id), json=body) as answer:
            assert answer.status == 200
            thread_id = answer.headers["content-location"].split("/")[2]
        await gone(stack, thread_id)


async def test_a_busy_thread_is_left_alone_until_its_run_is_over(make_sweeping: Any) -> None:
    release = asyncio.Event()

    async def wait(attempt: Attempt) -> None:
        await attempt.started()
        await release.wait()
        await attempt.finish({})

    async with make_sweeping({"default_ttl": SOON}) as stack:
        stack.play = wait
        thread_id = str(uuid.uuid4())
        path = f"/threads/{thread_id}"
        # made by its run: a thread that waits for one may be past its time before it comes
        body = {"assistant_id": "echo", "if_not_exists": "create"}
        assert (await stack.call("POST", f"{path}/runs", body))[0] == 200
        await asyncio.sleep(SOON * 60 * 5)  # nothing tells of what does not happen
        assert (await stack.call("GET", path))[1]["status"] == "busy"
        release.set()
        await gone(stack, thread_id)


async def test_the_ttl_is_shown_when_it_is_asked_for(stack_without_sweeps: Stack) -> None:
    stack = stack_without_sweeps
    _, thread = await stack.call("POST", "/threads", {"ttl": {"ttl": 90, "strategy": "keep_latest"}})
    path = f"/threads/{thread['thread_id']}"
    _, shown = await stack.call("GET", f"{path}?include=ttl")
    assert shown["ttl"]["ttl_minutes"] == 90
    assert shown["ttl"]["strategy"] == "keep_latest"
    assert shown["ttl"]["expires_at"] > shown["updated_at"]
    assert "ttl" not in (await stack.call("GET", path))[1]
    _, copied = await stack.call("POST", f"{path}/copy")
    _, copy = await stack.call("GET", f"/threads/{copied['thread_id']}?include=ttl")
    assert copy["ttl"]["ttl_minutes"] == 90


@pytest.mark.parametrize(
    "ttl", [5, {"ttl": -1}, {"ttl": 1e300}, {"ttl": 1, "strategy": "burn"}, {"strategy": "delete"}]
)
async def test_a_ttl_that_cannot_be_is_refused(stack_without_sweeps: Stack, ttl: Any) -> None:
    assert (await stack_without_sweeps.call("POST", "/threads", {"ttl": ttl}))[0] == 422


async def test_what_keeps_its_latest_checkpoints_is_thinned_once_for_each_change(make_sweeping: Any) -> None:
    async with make_sweeping({"strategy": "keep_latest", "default_ttl": SOON}) as stack:
        _, thread = await stack.call("POST", "/threads", {})
        look_at = "SELECT thinned_at FROM threads WHERE thread_id = $1 AND thinned_at > updated_at"

        async def look() -> Any:
            return await stack.backbone.pool.fetchval(look_at, thread["thread_id"])

        thinned = await until(stack.backbone, look)
        expiry = Expiry(stack.backbone.pool, read_configuration(stack.backbone.settings.project))
        assert await expiry.threads() == [], (
            "it is not due again (what was said of it before it was thinned may still come)"
        )
        await stack.call("PATCH", f"/threads/{thread['thread_id']}", {"metadata": {"a": 1}})
        assert await until(stack.backbone, look) > thinned


async def test_a_run_that_is_told_of_says_so_though_its_thread_expired(make_sweeping: Any) -> None:
    """Expiry is a deletion like any other: what a webhook reports is kept."""
    sections = {"webhooks": {"url": {"require_https": False, "disable_loopback": False}}}
    async with make_sweeping({"default_ttl": SOON}, **sections) as stack:
        body = {"assistant_id": "echo", "input": {}, "webhook": "http://127.0.0.1:9/nobody", "on_completion": "keep"}
        _, run = await stack.call("POST", "/runs", body)
        await gone(stack, run["thread_id"])
        _, body_seen = await stack.call("GET", f"/threads/{run['thread_id']}/runs/{run['run_id']}/webhooks")
        assert body_seen[0]["url"] == "http://127.0.0.1:9/nobody"
