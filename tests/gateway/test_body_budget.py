"""All large request bodies together: their bytes are bounded, and those that find no room wait for it, in order."""

from __future__ import annotations

import asyncio
import gzip
import json

import pytest
from langlog_gateway import app
from langlog_gateway.http.bodies.budget import BodyBudget
from langlog_gateway.http.bodies.reader import BUDGET, RATE_MIN, BodyLimits

from .conftest import Attempt, MakeStack
from .test_bodies import post

LARGE = 100_000


async def test_bodies_get_room_in_the_order_in_which_they_asked() -> None:
    budget = BodyBudget(10)
    assert await budget.take(6) == 6
    large = asyncio.create_task(budget.take(8))
    small = asyncio.create_task(budget.take(1))
    gone = asyncio.create_task(budget.take(2))
    await asyncio.sleep(0)  # all three wait: one that would fit does not overtake
    gone.cancel()
    assert budget.held == 6
    budget.give(6)
    assert await asyncio.gather(large, small) == [8, 1]
    budget.give(9)
    assert await budget.take(50) == 10, "larger than all room: alone"
    budget.give(10)
    assert budget.held == 0


async def test_one_that_leaves_lets_those_behind_it_pass() -> None:
    budget = BodyBudget(10)
    await budget.take(6)
    first, second = asyncio.create_task(budget.take(8)), asyncio.create_task(budget.take(4))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 4
    assert budget.held == 10


async def test_one_user_holds_no_more_than_a_share() -> None:
    budget = BodyBudget(10, share=6)
    assert await budget.take(50, "eve") == 6, "larger than the share: alone in it"
    more = asyncio.create_task(budget.take(1, "eve"))
    gone = asyncio.create_task(budget.take(6, "eve"))
    await asyncio.sleep(0)
    assert not more.done() and budget.held == 6
    assert await budget.take(3, "ann") == 3 and await budget.take(1) == 1, "nobody waits for eve's share"
    gone.cancel()
    late = asyncio.create_task(budget.take(5, "bob"))  # waits for room, and holds nothing once it is cancelled
    await asyncio.sleep(0)
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    budget.give(6, "eve")
    assert await more == 1
    for amount, user in ((1, "eve"), (3, "ann"), (1, "")):
        budget.give(amount, user)
    assert budget.held == 0 and not budget._shares


async def test_a_body_that_does_not_begin_holds_nothing(make_stack: MakeStack) -> None:
    async with make_stack(max_body_bytes=LARGE, max_bodies_bytes=LARGE, body_timeout_s=5) as stack:
        announced = [await asyncio.open_connection("127.0.0.1", stack.backbone.settings.port) for _ in range(3)]
        for _, writer in announced:
            writer.write(post(f"content-length: {LARGE}") + b"{")
        status, _ = await stack.call("POST", "/threads", {"metadata": {"x": "x" * 70_000}})
        assert status == 200
        for _, writer in announced:
            writer.close()


async def test_large_bodies_share_a_bound_and_small_ones_are_free(make_stack: MakeStack) -> None:
    """A body takes its room from before it arrives until its answer begins; a stream that lasts holds nothing."""
    body = json.dumps({"assistant_id": "echo", "input": "x" * LARGE}).encode()
    release = asyncio.Event()

    async def play(attempt: Attempt) -> None:
        await attempt.emit(("metadata", {}))
        await release.wait()
        await attempt.finish({})

    async with make_stack(max_body_bytes=2 * LARGE, max_bodies_bytes=2 * LARGE) as stack:
        stack.play = play
        budget = stack.gateway._runner.app[BUDGET]  # type: ignore[union-attr]
        async with stack.http.post(f"{stack.url}/runs/stream", data=body) as stream:
            assert stream.status == 200
            assert budget.held == 0, "the answer has begun"
            room = await budget.take(2 * LARGE)
            async with stack.http.post(f"{stack.url}/threads", data=b"{}") as small:
                assert small.status == 200
            waiting = asyncio.create_task(stack.call("POST", "/runs", {"assistant_id": "echo", "input": "x" * LARGE}))
            while not budget._room._waiting and not waiting.done():
                await asyncio.sleep(0)  # nothing signals that it waits
            assert not waiting.done(), waiting.result()
            budget.give(room)
            assert (await waiting)[0] == 200
            release.set()
        assert budget.held == 0

        async def chunks() -> object:
            for start in range(0, len(body), 9_000):
                yield body[start : start + 9_000]

        packed = {"data": gzip.compress(body), "headers": {"content-encoding": "gzip"}}
        for sent in ({"data": body}, {"data": chunks()}, packed, {"data": chunks()}):
            async with stack.http.post(f"{stack.url}/runs/wait", **sent) as answer:  # type: ignore[arg-type]
                assert answer.status == 200, await answer.text()
        assert budget.held == 0


async def test_a_large_body_that_finds_no_room_in_time_is_503_and_one_that_does_not_come_408(
    make_stack: MakeStack,
) -> None:
    body = json.dumps({"assistant_id": "echo", "input": "x" * LARGE}).encode()
    async with make_stack(max_body_bytes=2 * LARGE, max_bodies_bytes=2 * LARGE, body_timeout_s=0.3) as stack:
        budget = stack.gateway._runner.app[BUDGET]  # type: ignore[union-attr]
        room = await budget.take(2 * LARGE)
        for headers in ({}, {"content-encoding": "gzip"}):
            sent = gzip.compress(body) if headers else body
            async with stack.http.post(f"{stack.url}/runs/wait", data=sent, headers=headers) as late:
                assert (late.status, late.headers["retry-after"]) == (503, "1")
                assert "LANGLOG_MAX_BODIES_BYTES" in (await late.json())["detail"]
        reader, writer = await asyncio.open_connection("127.0.0.1", stack.backbone.settings.port)
        writer.write(post(f"content-length: {LARGE + 1}"))  # and then nothing of it
        assert b"408" in await reader.readline()
        writer.close()
        budget.give(room)
        assert budget.held == 0


@pytest.mark.parametrize("trickles", [False, True])
async def test_a_large_body_that_stalls_gives_its_room_back(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch, *, trickles: bool
) -> None:
    """Well before the time that a body may take to arrive; a byte now and then does not keep its room."""
    monkeypatch.setattr(app, "BodyLimits", lambda size, seconds: BodyLimits(size, seconds, stall_s=0.3))
    async with make_stack(max_body_bytes=LARGE, max_bodies_bytes=LARGE, body_timeout_s=600) as stack:
        budget = stack.gateway._runner.app[BUDGET]  # type: ignore[union-attr]
        reader, writer = await asyncio.open_connection("127.0.0.1", stack.backbone.settings.port)
        writer.write(post(f"content-length: {LARGE}") + b'{"metadata": {"x": "' + b"x" * 70_000)

        async def trickle() -> None:
            while trickles:
                writer.write(b"x")
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(trickle())
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        dripping.cancel()
        if not trickles:  # who still sends may see the connection reset before the end of the answer
            assert b"The request body stalled at 7" in await reader.read()
        writer.close()
        assert budget.held == 0
        status, _ = await stack.call("POST", "/threads", {"metadata": {"x": "x" * 70_000}})
        assert status == 200


def test_a_body_that_holds_room_has_time_for_what_it_has_sent() -> None:
    limits = BodyLimits(100_000_000, 60.0)
    assert [limits.time_for(n) for n in (0, RATE_MIN, 10 * RATE_MIN, 100_000_000)] == [10.0, 11.0, 20.0, 60.0]
