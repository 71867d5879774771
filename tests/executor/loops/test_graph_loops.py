"""Graph loops: all graphs share one, blocking code delays others for a moment only, and no work is begun twice or lost."""

from __future__ import annotations

import asyncio
import threading

import pytest
from langlog_executor.runtime import graph_loops
from langlog_executor.runtime.graph_loops import GraphLoops
from langlog_executor.runtime.io_loop import IoLoop

from tests.executor.loops.blocking import NEVER, blocked, here, nothing, until


async def test_all_graphs_share_one_loop(loops: GraphLoops) -> None:
    assert len({await loops.submit(graph_id, here).done for graph_id in ("g", "h", "store.index", "g")}) == 1
    assert loops.shared and loops.size == 1


async def test_a_lock_of_a_module_works_in_two_graphs_at_once(loops: GraphLoops) -> None:
    """A lock of asyncio belongs to the loop on which somebody waited for it first."""
    lock = asyncio.Lock()

    async def take() -> None:
        async with lock:
            await asyncio.sleep(0)

    await asyncio.gather(*(loops.submit(graph_id, take).done for graph_id in "ghgh"))


async def test_work_waits_for_a_loop_that_was_blocked_for_a_moment(
    loops: GraphLoops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere it could not use the clients that belong to the loop."""
    monkeypatch.setattr(graph_loops, "AWAY_BEATS", NEVER)
    work, release = await blocked(loops, "g")
    other = loops.submit("h", here)
    await until(lambda: loops.suspects)
    assert loops.held and not other.begun and loops.size == 1
    release.set()
    assert await other.done is work.loop.loop
    assert not loops.held


async def test_a_graph_that_blocks_for_ever_stops_no_other(loops: GraphLoops) -> None:
    work, release = await blocked(loops, "g")
    waiting = [loops.submit(graph_id, here) for graph_id in "hgh"]
    (own,) = {await other.done for other in waiting}
    assert own is not work.loop.loop and not work.done.done()
    later = loops.submit("h", here)
    assert later.loop is waiting[0].loop, "without a wait"
    assert await later.done is own
    assert loops.suspects == {"g"} and loops.size == 2 and not loops.held
    release.set()
    assert await work.done == "released"


async def test_a_stand_in_that_is_blocked_has_a_stand_in(loops: GraphLoops) -> None:
    first, release = await blocked(loops, "g")
    await loops.submit("g", nothing).done
    second, release_second = await blocked(loops, "h")
    last = loops.submit("i", nothing)
    await last.done
    assert len({first.loop, second.loop, last.loop}) == 3
    assert loops.suspects == {"g", "h"}
    release.set()
    release_second.set()
    await asyncio.gather(first.done, second.done)


async def test_a_home_that_is_free_again_takes_the_later_work_back(
    loops: GraphLoops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client or a pool that a module holds belongs to that event loop."""
    work, release = await blocked(loops, "g")
    other = loops.submit("h", nothing)
    await other.done
    release.set()
    await work.done
    again = loops.submit("h", nothing)
    await again.done
    assert again.loop is work.loop is not other.loop
    monkeypatch.setattr(graph_loops, "IDLE_S", 0.0)
    loops.sweep()
    assert loops.size == 1, "the stand-in has ended, the home has not"
    await loops.submit("g", nothing).done


async def test_a_stand_in_is_needed_for_as_long_as_the_home_is_blocked(
    loops: GraphLoops, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, release = await blocked(loops, "g")
    other = loops.submit("h", nothing)
    await other.done
    monkeypatch.setattr(graph_loops, "IDLE_S", 0.0)
    loops.sweep()
    assert loops.size == 2
    again = loops.submit("h", nothing)
    await again.done
    assert again.loop is other.loop
    release.set()
    await work.done


async def test_beyond_the_most_loops_work_waits(loops: GraphLoops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_loops, "MAX_LOOPS", 1)
    work, release = await blocked(loops, "g")
    other = loops.submit("h", nothing)
    (beat,) = loops._beats.values()
    await until(lambda: beat.missed > graph_loops.AWAY_BEATS)
    assert not other.begun and loops.held
    monkeypatch.setattr(graph_loops, "MAX_LOOPS", 2)
    await other.done
    release.set()
    await work.done


async def test_who_waits_for_held_loops_is_notified_of_each_change(loops: GraphLoops) -> None:
    seen: list[bool] = []
    loops.on_held.append(lambda: seen.append(loops.held))
    work, release = await blocked(loops, "g")
    await loops.submit("g", nothing).done
    assert seen == [True, False], "held, and then a stand-in took over"
    release.set()
    await work.done
    assert not loops.held


async def test_a_loop_leaves_work_that_waits_for_another_one(
    loops: GraphLoops, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, release_first = await blocked(loops, "g")
    await loops.submit("g", nothing).done
    second, release_second = await blocked(loops, "g")  # on the stand-in
    release_first.set()
    await first.done
    third, release_third = await blocked(loops, "g")
    assert third.loop is first.loop is not second.loop
    work = loops.submit("g", here)
    await until(lambda: work.loop is second.loop)
    monkeypatch.setattr(graph_loops, "AWAY_BEATS", NEVER)
    release_third.set()
    await third.done
    later = loops.submit("g", nothing)
    await later.done
    assert later.loop is first.loop and not work.begun
    release_second.set()
    assert await work.done is second.loop.loop
    assert not first.loop.work and not second.loop.work


async def test_work_of_the_same_graph_goes_around_a_blocked_loop(isolated: GraphLoops) -> None:
    work, release = await blocked(isolated, "g")
    await asyncio.gather(*(isolated.submit("g", nothing).done for _ in range(5)))
    assert not work.done.done(), "the others are over while it blocks"
    release.set()
    assert await work.done == "released"


async def test_work_of_other_graphs_does_not_notice_a_blocked_loop(isolated: GraphLoops) -> None:
    """It is on a loop of its own from the beginning: no loop had to be found blocked before it could begin."""
    work, release = await blocked(isolated, "g")
    other = isolated.submit("h", nothing)
    assert other.loop is not work.loop
    await other.done
    assert isolated.suspects == frozenset()
    release.set()
    await work.done


async def test_a_graph_of_its_own_loop_that_blocks_again_and_again_stops_nothing(isolated: GraphLoops) -> None:
    works = [await blocked(isolated, "g") for _ in range(3)]
    await isolated.submit("g", nothing).done
    assert len({work.loop for work, _ in works}) == 3 and isolated.suspects == {"g"}
    for work, release in works:
        release.set()
        await work.done


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


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
async def test_work_that_a_task_factory_of_a_graph_refuses_fails(loops: GraphLoops, error: type[BaseException]) -> None:
    """Its caller would wait without end."""

    def refuse(*args: object, **options: object) -> asyncio.Task[None]:
        raise error("no task")

    async def replace() -> None:
        asyncio.get_running_loop().set_task_factory(refuse)

    await loops.submit("g", replace).done
    for _ in range(2):
        work = loops.submit("h", nothing)
        with pytest.raises((ZeroDivisionError, RuntimeError), match="no task"):
            await work.done
        assert work.loop is not None and not work.loop.work


async def test_an_idle_loop_ends_and_the_threads_for_sync_nodes_stay(
    isolated: GraphLoops, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def in_thread() -> str:
        return await asyncio.get_running_loop().run_in_executor(None, lambda: threading.current_thread().name)

    work, release = await blocked(isolated, "g")
    other = isolated.submit("g", in_thread)
    await other.done
    release.set()
    await work.done
    assert isolated.size == 2 and other.loop is not None and work.loop is not other.loop
    monkeypatch.setattr(graph_loops, "IDLE_S", 0.0)
    isolated.sweep()
    assert isolated.size == 1
    await asyncio.to_thread(other.loop.thread.join, 60)
    assert (await isolated.submit("g", in_thread).done).startswith("node")
    assert (await isolated.submit("h", in_thread).done).startswith("node")


async def test_a_graph_keeps_its_home_however_idle_it_was_and_whatever_it_blocked(
    isolated: GraphLoops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client or a pool that its modules hold belongs to that event loop."""
    monkeypatch.setattr(graph_loops, "IDLE_S", 0.0)
    work, release = await blocked(isolated, "g")
    other = isolated.submit("h", nothing)
    await asyncio.gather(other.done, isolated.submit("g", nothing).done)
    release.set()
    await work.done
    isolated.sweep()
    again, of_other = isolated.submit("g", nothing), isolated.submit("h", nothing)
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
    isolated: GraphLoops, monkeypatch: pytest.MonkeyPatch
) -> None:
    loops = isolated
    loops.hold_one_loop()
    own = await loops.submit("http.app", here).done
    assert [await loops.submit(graph, here).done for graph in ("a", "b", "a")] == [own] * 3
    monkeypatch.setattr(graph_loops, "IDLE_S", 0.0)
    loops.sweep()
    work, release = await blocked(loops, "a")
    waiting = loops.submit("b", here)
    (beat,) = loops._beats.values()
    await until(lambda: beat.missed > graph_loops.AWAY_BEATS)
    assert not waiting.begun and loops.size == 1 and loops.suspects == {"a"}
    assert loops.held, "other workers take later runs"
    release.set()
    assert await waiting.done is own
    assert await work.done == "released"
    with pytest.raises(RuntimeError):
        loops.hold_one_loop()


async def test_work_is_withdrawn_only_before_it_begins(loops: GraphLoops) -> None:
    work, release = await blocked(loops, "g")
    waiting = loops.submit("h", nothing)
    assert waiting.withdraw() and waiting.withdrawn and waiting.done.cancelled()
    assert not work.withdraw() and not work.withdrawn
    release.set()
    assert await work.done == "released"
    assert waiting.task is None


async def test_threads_start_after_a_graph_has_removed_the_hook_of_their_exceptions(
    loops: GraphLoops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)  # put back at the end

    async def remove() -> None:
        threading.excepthook = None  # type: ignore[assignment]  # what a graph may do

    async def in_a_thread() -> str:
        return await asyncio.to_thread(lambda: threading.current_thread().name)

    await loops.submit("g", remove).done
    assert (await loops.submit("g", in_a_thread).done).startswith("node")
    threading.excepthook = None  # type: ignore[assignment]
    another = GraphLoops(loops._io, threads=1)
    await another.submit("g", nothing).done
    another.stop()
