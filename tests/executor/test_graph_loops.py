"""Graph loops: blocking code delays no other run, and no work is begun twice or lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest
from langlog_executor.runtime import graph_loops
from langlog_executor.runtime.graph_loops import SAMPLES, GraphLoop, GraphLoops
from langlog_executor.runtime.io_loop import IoLoop

LIMIT_S = 60.0
STEPS = 3 * SAMPLES
"""Tasks of a busy loop, each of which is looked at: three times as many as there are samples of a blocked one."""


@pytest.fixture
async def io() -> IoLoop:
    return IoLoop(cast(Any, None))


@pytest.fixture
async def loops(io: IoLoop) -> AsyncIterator[GraphLoops]:
    made = GraphLoops(io, threads=8)
    yield made
    made.stop()


def blocker(begun: threading.Event, release: threading.Event) -> Callable[[], Awaitable[str]]:
    async def block() -> str:
        begun.set()
        release.wait()
        return "released"

    return block


async def blocked(loops: GraphLoops, graph_id: str) -> tuple[Any, threading.Event]:
    """Work that has begun and blocks its loop until the event is set."""
    begun, release = threading.Event(), threading.Event()
    work = loops.submit(graph_id, cast(Any, blocker(begun, release)))
    await asyncio.to_thread(begun.wait)
    return work, release


async def nothing() -> None:
    """Work that is over at once."""


async def test_work_of_the_same_graph_goes_around_a_blocked_loop(loops: GraphLoops) -> None:
    work, release = await blocked(loops, "g")
    await asyncio.gather(*(loops.submit("g", nothing).done for _ in range(5)))
    assert not work.done.done(), "the others are over while it blocks"
    release.set()
    assert await work.done == "released"


async def test_work_of_the_same_graph_goes_around_a_blocked_loop_on_a_machine_that_is_always_late(
    loops: GraphLoops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_loops, "LATE_S", -1.0)
    work, release = await blocked(loops, "g")
    await loops.submit("g", nothing).done
    release.set()
    await work.done
    assert loops.suspects == {"g"}


async def test_work_of_other_graphs_does_not_notice_a_blocked_loop(loops: GraphLoops) -> None:
    """It is on a loop of its own from the beginning: no loop had to be found blocked before it could begin."""
    work, release = await blocked(loops, "g")
    other = loops.submit("h", nothing)
    assert other.loop is not work.loop
    await other.done
    assert loops.suspects == frozenset()
    release.set()
    await work.done


async def test_a_graph_that_has_blocked_gets_loops_of_its_own(loops: GraphLoops) -> None:
    first, release = await blocked(loops, "g")
    await loops.submit("g", nothing).done
    assert loops.suspects == {"g"}
    second, release_second = await blocked(loops, "g")
    assert first.loop is not second.loop
    release.set()
    release_second.set()
    await asyncio.gather(first.done, second.done)


async def test_a_busy_loop_is_not_taken_for_a_blocked_one(loops: GraphLoops, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in another task at each look at it, however long it lets work wait. Frames of tasks that have ended are freed, and the next
    task's may be at the same address."""
    begun, looked, moved_on = threading.Event(), threading.Semaphore(0), threading.Semaphore(0)
    looks = 0
    position = GraphLoop.position

    def look(loop: GraphLoop) -> graph_loops.Position | None:
        nonlocal looks
        looks += 1
        at = position(loop)
        if looks <= STEPS:  # a further one may come before the work that waits, and finds no step
            looked.release()
            assert moved_on.acquire(timeout=LIMIT_S), f"step {looks} does not end"
        return at

    async def step() -> None:
        if begun.is_set():
            moved_on.release()
        begun.set()
        looked.acquire()

    async def busy() -> None:
        await asyncio.gather(*(step() for _ in range(STEPS)))
        moved_on.release()

    monkeypatch.setattr(GraphLoop, "position", look)
    work = loops.submit("g", busy)
    await asyncio.to_thread(begun.wait)
    try:
        async with asyncio.timeout(LIMIT_S):
            await loops.submit("g", nothing).done
    finally:
        looked.release(STEPS)  # whatever failed, all steps end
    await work.done
    assert loops.suspects == frozenset()
    assert looks >= STEPS


async def test_work_is_begun_once_even_when_two_loops_race_for_it(loops: GraphLoops) -> None:
    times = 0

    async def count() -> None:
        nonlocal times
        times += 1

    work, release = await blocked(loops, "g")
    counted = loops.submit("g", count)
    await counted.done
    release.set()
    await work.done
    await loops.submit("g", nothing).done  # the loop that was blocked has seen the work it lost
    assert times == 1
    assert work.loop is not None
    assert not work.loop.work


async def test_cancelling_reaches_the_coroutine(loops: GraphLoops) -> None:
    begun, ended = asyncio.Event(), threading.Event()
    here = asyncio.get_running_loop()

    async def wait() -> None:
        here.call_soon_threadsafe(begun.set)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    work = loops.submit("g", wait)
    await begun.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work.done
    assert ended.is_set()


async def test_work_that_is_cancelled_before_it_begins_never_begins(loops: GraphLoops) -> None:
    blocking, release = await blocked(loops, "g")
    began = threading.Event()

    async def begin() -> None:
        began.set()

    work = loops.submit("g", begin)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work.done
    release.set()
    await blocking.done
    await loops.submit("g", nothing).done
    assert not began.is_set()


async def test_an_exception_comes_back_and_an_exit_harms_nobody(loops: GraphLoops) -> None:
    async def fail() -> None:
        raise ValueError("bad")

    async def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(ValueError, match="bad"):
        await loops.submit("g", fail).done
    with pytest.raises(RuntimeError, match="SystemExit: 3"):
        await loops.submit("g", leave).done
    await loops.submit("g", nothing).done


async def test_an_idle_loop_ends_and_the_threads_for_sync_nodes_stay(
    loops: GraphLoops, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def in_thread() -> str:
        return await asyncio.get_running_loop().run_in_executor(None, lambda: threading.current_thread().name)

    work, release = await blocked(loops, "g")
    other = loops.submit("g", in_thread)
    await other.done
    release.set()
    await work.done
    assert loops.size == 2 and other.loop is not None and work.loop is not other.loop
    monkeypatch.setattr(graph_loops, "IDLE_S", 0.0)
    loops.sweep()
    assert loops.size == 1
    await asyncio.to_thread(other.loop.thread.join, 60)
    assert (await loops.submit("g", in_thread).done).startswith("node")
    assert (await loops.submit("h", in_thread).done).startswith("node")


async def test_a_graph_keeps_its_home_however_idle_it_was_and_whatever_it_blocked(
    loops: GraphLoops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client or a pool that its modules hold belongs to that event loop."""
    monkeypatch.setattr(graph_loops, "IDLE_S", 0.0)
    work, release = await blocked(loops, "g")
    other = loops.submit("h", nothing)
    await asyncio.gather(other.done, loops.submit("g", nothing).done)
    release.set()
    await work.done
    loops.sweep()
    monkeypatch.setattr(loops, "_suspects", {})  # their time is over
    again, of_other = loops.submit("g", nothing), loops.submit("h", nothing)
    await asyncio.gather(again.done, of_other.done)
    assert again.loop is work.loop and of_other.loop is other.loop


async def test_a_call_goes_to_the_io_loop_and_its_result_comes_back(io: IoLoop, loops: GraphLoops) -> None:
    async def here() -> int:
        return threading.get_ident()

    async def ask() -> tuple[int, int]:
        return threading.get_ident(), await io.call(here())

    there, asked = await loops.submit("g", ask).done
    assert there != asked == threading.get_ident()


async def test_cancelling_a_caller_cancels_what_it_called(io: IoLoop, loops: GraphLoops) -> None:
    called, cancelled = asyncio.Event(), asyncio.Event()

    async def forever() -> None:
        called.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def ask() -> None:
        await io.call(forever())

    work = loops.submit("g", ask)
    await called.wait()
    work.cancel()
    await cancelled.wait()


async def test_posts_keep_their_order(io: IoLoop, loops: GraphLoops) -> None:
    seen: list[int] = []

    async def post() -> None:
        for number in range(1000):
            io.post(seen.append, number)

    await loops.submit("g", post).done
    await io.call(asyncio.sleep(0))
    assert seen == list(range(1000))


async def test_with_one_loop_everything_runs_where_the_lifespan_ran_and_waits_for_what_blocks(
    loops: GraphLoops, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def here() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    loops.hold_one_loop()
    own = await loops.submit("http.app", here).done
    assert [await loops.submit(graph, here).done for graph in ("a", "b", "a")] == [own] * 3
    monkeypatch.setattr(graph_loops, "IDLE_S", 0.0)
    loops.sweep()
    work, release = await blocked(loops, "a")
    waiting = loops.submit("b", here)
    while "a" not in loops.suspects:
        await asyncio.sleep(0.01)  # nothing signals that a loop was found blocked
    assert not waiting.begun and loops.size == 1
    release.set()
    assert await waiting.done is own
    assert await work.done == "released"
    with pytest.raises(RuntimeError):
        loops.hold_one_loop()
