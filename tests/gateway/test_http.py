"""Error shapes, redirects: what is the same for every endpoint (wire contract §1)."""

from __future__ import annotations

import asyncio

import pytest

from .conftest import Attempt, MakeStack, Stack, after_head, echo, make_thread

UNKNOWN = "00000000-0000-4000-8000-000000000000"


async def test_unknown_paths_and_methods_are_told_in_the_contracts_shape(stack: Stack) -> None:
    assert await stack.call("GET", "/nopath") == (404, {"detail": "Not Found"})
    async with stack.http.put(f"{stack.url}/assistants/{UNKNOWN}") as answer:
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
        assert await answer.json() == {"detail": "Method Not Allowed"}
    async with stack.http.get(f"{stack.url}/assistants") as answer:
        assert (answer.status, answer.headers["allow"]) == (405, "POST")


async def test_a_trailing_slash_is_redirected(stack: Stack) -> None:
    async with stack.http.get(f"{stack.url}/assistants/{UNKNOWN}/?a=1", allow_redirects=False) as answer:
        assert answer.status == 307
        assert answer.headers["location"] == f"{stack.url}/assistants/{UNKNOWN}?a=1"
    assert (await stack.call("GET", "/nopath/"))[0] == 404


async def test_head_works_where_get_does(stack: Stack) -> None:
    async with stack.http.head(f"{stack.url}/ok") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")


@pytest.mark.parametrize(
    "path",
    [
        "/ok",
        "/nope",
        "/threads/{}",
        "/threads/{}/runs/{}",
        "/threads/{}/runs/{}/stream",
        "/threads/{}/runs/{}/join",
        "/runs/{}/stream",
    ],
)
async def test_no_body_follows_the_headers_that_head_requests(stack: Stack, path: str) -> None:
    """The client takes whatever follows for its next response (RFC 9112, §6.3)."""
    thread_id = await make_thread(stack)
    assert (await after_head(stack, path.format(thread_id, UNKNOWN))).startswith(b"HTTP/1.1 200 OK")


async def test_head_of_a_run_in_progress_does_not_wait_for_its_end(stack: Stack) -> None:
    over = asyncio.Event()

    async def play(attempt: Attempt) -> None:
        await over.wait()
        await echo(attempt)

    stack.play = play
    thread_id = await make_thread(stack)
    _, run = await stack.call("POST", f"/threads/{thread_id}/runs", {"assistant_id": "echo"})
    path = f"/threads/{thread_id}/runs/{run['run_id']}"
    async with stack.http.head(f"{stack.url}{path}/join") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert (answer.headers["content-location"], answer.headers["location"]) == (path, f"{path}/join")
    for waiting in ("join", "stream"):
        assert (await after_head(stack, f"{path}/{waiting}")).startswith(b"HTTP/1.1 200 OK")
    over.set()


async def test_a_handshake_of_a_websocket_that_is_none_is_told_in_the_contracts_shape(stack: Stack) -> None:
    upgrade = {"upgrade": "websocket", "connection": "upgrade", "sec-websocket-version": "13"}
    status, body = await stack.call("GET", f"/threads/{UNKNOWN}/stream/events", headers=upgrade)
    assert (status, body) == (400, {"detail": "Handshake error: None"})


async def test_a_body_over_the_limit_is_413(make_stack: MakeStack) -> None:
    async with make_stack(max_body_bytes=1000) as stack:
        status, body = await stack.call("POST", "/threads", {"metadata": {"a": "x" * 2000}})
        assert status == 413
        assert isinstance(body["detail"], str)


async def test_a_mount_prefix_moves_everything_but_ok(make_stack: MakeStack) -> None:
    async with make_stack(mount_prefix="/api") as stack:
        assert (await stack.call("GET", "/ok"))[0] == 200
        assert (await stack.call("GET", "/info"))[0] == 404
        assert (await stack.call("GET", "/api/info"))[0] == 200
        _, thread = await stack.call("POST", "/api/threads", {})
        path = f"/threads/{thread['thread_id']}/runs"
        async with stack.http.post(f"{stack.url}/api{path}", data=b'{"assistant_id": "echo", "input": {}}') as answer:
            assert answer.headers["content-location"].startswith(path)


async def test_metrics_count_what_was_answered(stack: Stack) -> None:
    await stack.call("GET", "/threads/zzz")
    status, body = await stack.call("GET", "/metrics?format=json")
    assert status == 200
    counted = {"method": "GET", "path": "/threads/{thread_id}", "status": 422, "count": 1}
    assert counted in body["api"]["http_requests_total"]
    assert body["queue"]["n_running"] == 0
    _, text = await stack.call("GET", "/metrics?format=zzz")
    assert 'lg_api_http_requests_total{method="GET",path="/threads/{thread_id}",status="422"} 1\n' in text
    assert await stack.call("GET", "/ok?check_db=zzz") == (
        400,
        {"detail": "invalid literal for int() with base 10: 'zzz'"},
    )


async def test_a_readiness_check_says_what_stands_behind_the_gateway(stack: Stack) -> None:
    status, body = await stack.call("GET", "/ok?check_db=1")
    assert (status, body["ok"]) == (200, True)
    assert body["services"]["workers"] == {"alive": 1}
    assert body["services"]["projector"]["events_behind"] >= 0
    assert await stack.call("GET", "/ok") == (200, {"ok": True, "services": {}})
