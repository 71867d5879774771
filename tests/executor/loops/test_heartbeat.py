"""Heartbeats of graph loops: a loop that a node blocks is found, its graph is named with the place, and no busy loop is taken for one."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
import structlog
from langlog_executor.runtime import graph_loops, heartbeat
from langlog_executor.runtime.graph_loops import GraphLoops
from langlog_executor.runtime.heartbeat import HELD_BEATS
from langlog_executor.runtime.loop_thread import GraphLoop

from tests.executor.loops.blocking import LIMIT_S, NEVER, blocked, nothing, until

STEPS = 3 * HELD_BEATS
"""Tasks of a busy loop, each of which is looked at: three times as many as there are missed beats of a blocked one."""


async def test_a_loop_that_waits_for_the_processor_is_not_taken_for_a_blocked_one(
    loops: GraphLoops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread is in no task and in no call, as one that has not been given the processor since it was woken."""
    looks = 0

    def look(_: GraphLoop) -> None:
        nonlocal looks
        looks += 1

    monkeypatch.setattr(GraphLoop, "current_task", look)
    monkeypatch.setattr(GraphLoop, "place", lambda _: None)
    work, release = await blocked(loops, "g")
    other = loops.submit("h", nothing)
    await until(lambda: looks > 2 * HELD_BEATS)
    assert not loops.held and loops.suspects == frozenset()
    release.set()
    await asyncio.gather(work.done, other.done)


async def child_of(what: Callable[[], Awaitable[Any]]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(cast(Any, what()))


async def child_in_an_old_context(what: Callable[[], Awaitable[Any]]) -> None:
    await asyncio.create_task(cast(Any, what()), context=contextvars.copy_context())


@pytest.mark.parametrize("within", [child_of, child_in_an_old_context])
async def test_the_graph_that_blocks_is_named_with_its_place(loops: GraphLoops, within: Any) -> None:
    """Others that have begun on the same loop are not: not the graph that waits, nor the one whose node started no blocking task."""
    begun, release, waits = threading.Event(), threading.Event(), threading.Event()
    line = 0

    async def block() -> None:
        nonlocal line
        await asyncio.sleep(0)
        begun.set()
        line = cast(Any, inspect.currentframe()).f_lineno + 1
        release.wait()

    async def wait() -> None:
        waits.set()
        await asyncio.Event().wait()

    innocent = loops.submit("innocent", wait)
    await asyncio.to_thread(waits.wait)
    with structlog.testing.capture_logs() as lines:
        work = loops.submit("guilty", lambda: within(block))
        await asyncio.to_thread(begun.wait)
        await asyncio.gather(*(loops.submit("other", nothing).done for _ in range(3)))
    assert loops.suspects == {"guilty"}
    (warning,) = [x for x in lines if x["event"] == "graph_loop.blocked"]
    assert warning["graphs"] == ["guilty"]
    assert warning["at"] == f"{__file__}:{line}"
    for advice in ("sync function", "asyncio.to_thread", "BG_JOB_ISOLATED_LOOPS=true"):
        assert advice in warning["hint"]
    release.set()
    await work.done
    innocent.cancel()


async def test_a_graph_that_blocks_again_and_again_is_one_warning_a_minute(
    loops: GraphLoops, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def block(graph_id: str) -> None:
        work, release = await blocked(loops, graph_id)
        await loops.submit("waits", nothing).done
        release.set()
        await work.done

    with structlog.testing.capture_logs() as lines:
        for graph_id in ("g", "g", "h", "g"):
            await block(graph_id)
        monkeypatch.setattr(graph_loops, "SUSPECT_S", 0.0)
        assert loops.suspects == {"g", "h"}
        await block("g")
        assert loops.suspects == {"h"}, "what it did before is over with the last time"
        monkeypatch.setattr(loops, "_warned", {})
        await block("g")
    named = [line["graphs"] for line in lines if line["event"] == "graph_loop.blocked"]
    assert named == [["g"], ["h"], ["g"]]


async def test_a_callback_that_blocks_is_found(loops: GraphLoops) -> None:
    """It is no task: one of the graphs that have begun there is to blame."""
    begun, release = threading.Event(), threading.Event()

    def block() -> None:
        begun.set()
        release.wait()

    async def start() -> None:
        asyncio.get_running_loop().call_soon(block)
        await asyncio.Event().wait()

    work = loops.submit("g", start)
    await asyncio.to_thread(begun.wait)
    await loops.submit("h", nothing).done
    assert loops.suspects == {"g"}
    release.set()
    work.cancel()


async def test_a_loop_is_not_watched_once_nothing_waits(loops: GraphLoops) -> None:
    await asyncio.gather(*(loops.submit("g", nothing).done for _ in range(3)))
    (beat,) = loops._beats.values()
    await until(lambda: beat._answered)
    beat._check(loops._io.loop.time())
    assert beat._timer is None


async def test_a_loop_is_not_watched_while_no_work_waits(loops: GraphLoops, monkeypatch: pytest.MonkeyPatch) -> None:
    work, release = await blocked(loops, "g")
    (beat,) = loops._beats.values()
    await until(lambda: beat._timer is None)
    monkeypatch.setattr(heartbeat, "HELD_BEATS", NEVER)
    waiting = loops.submit("h", nothing)
    await until(lambda: beat.missed)
    waiting.cancel()
    await until(lambda: beat._timer is None)
    assert beat.missed == 0 and beat._task is None and not beat.held
    release.set()
    await work.done


async def test_a_blocked_loop_is_found_on_a_machine_that_is_always_late(
    loops: GraphLoops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "LATE_SHARE", -1.0)
    work, release = await blocked(loops, "g")
    await loops.submit("h", nothing).done
    release.set()
    await work.done
    assert loops.suspects == {"g"}


async def test_a_busy_loop_is_not_taken_for_a_blocked_one(loops: GraphLoops, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in another task at each check, however long it lets work wait. Tasks that have ended are freed, and the next one may be at
    the same address."""
    begun, looked, moved_on = threading.Event(), threading.Semaphore(0), threading.Semaphore(0)
    looks = 0
    current_task = GraphLoop.current_task

    def look(loop: GraphLoop) -> asyncio.Task[Any] | None:
        nonlocal looks
        looks += 1
        task = current_task(loop)
        if looks <= STEPS:  # a further one may come before the work that waits, and finds no step
            looked.release()
            assert moved_on.acquire(timeout=LIMIT_S), f"step {looks} does not end"
        return task

    async def step() -> None:
        if begun.is_set():
            moved_on.release()
        begun.set()
        looked.acquire()

    async def busy() -> None:
        await asyncio.gather(*(step() for _ in range(STEPS)))
        moved_on.release()

    monkeypatch.setattr(GraphLoop, "current_task", look)
    work = loops.submit("g", busy)
    await asyncio.to_thread(begun.wait)
    try:
        async with asyncio.timeout(LIMIT_S):
            await loops.submit("g", nothing).done
    finally:
        looked.release(STEPS)  # whatever failed, all steps end
    await work.done
    assert loops.suspects == frozenset() and loops.size == 1
    assert looks >= STEPS
