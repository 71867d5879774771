"""What time does to runs: real Postgres, Redis and log, decider and projector beside the scheduler, the workers played by the test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from langlog_backbone import channels
from langlog_backbone.clock import new_id, now_iso
from langlog_backbone.context import Backbone, open_backbone
from langlog_backbone.log import NewRecord
from langlog_executor.decider import DeciderService
from langlog_projector.service import ProjectorService
from langlog_scheduler.service import SchedulerService
from langlog_schemas import commands as cmd
from langlog_schemas import envelope, messages
from langlog_schemas.messages import Life, Task
from msgspec import Raw

from tests.stack.fixtures import MakeSettings


class Stack:
    """All but gateway and workers, in this process."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.worker = f"w-{new_id()}"

    async def append(self, command: cmd.Body, id: str | None = None) -> None:
        id = id or new_id()
        headers = envelope.headers(id=id, type=command.TYPE, source="/test", time=now_iso(), subject=command.key)
        await self.backbone.log.append([NewRecord(cmd.TOPIC, command.key, cmd.encode(command), headers)])

    async def create_run(self, thread_id: str, **more: Any) -> str:
        run_id = new_id()
        await self.append(
            cmd.CreateRun(
                thread_id=thread_id,
                run_id=run_id,
                assistant_id="a",
                graph_id="g",
                kwargs=Raw(b"{}"),
                if_not_exists="create",
                **more,
            )
        )
        return run_id

    async def claim(self) -> Task:
        """The next task; the lease holds from this moment on, as that of a worker that has just renewed it."""
        async with asyncio.timeout(20):
            while True:
                await self.backbone.queue.lease(self.worker, fresh=True)
                for task in await self.backbone.queue.claim(self.worker, 1, 0.2):
                    return task

    async def finish(self, task: Task) -> None:
        await self.append(
            cmd.FinishRun(
                thread_id=task.thread_id, run_id=task.run_id, attempt=task.attempt, outcome="success", values=Raw(b"{}")
            ),
            f"{task.run_id}-{task.attempt}-finish",
        )
        self.backbone.queue.release(self.worker, task.id)

    @contextlib.asynccontextmanager
    async def watching(self, thread_id: str) -> AsyncIterator[Callable[[str], Any]]:
        """Yields a function that waits for a life message of a type."""
        heard: asyncio.Queue[Life] = asyncio.Queue()

        def hear(data: bytes) -> None:
            heard.put_nowait(messages.decode_life(data))

        async def wait_for(type: str) -> Life:
            while True:
                life = await asyncio.wait_for(heard.get(), 20)
                if life.type == type:
                    return life

        await self.backbone.bus.subscribe(channels.life(thread_id), hear)
        yield wait_for
        await self.backbone.bus.unsubscribe(channels.life(thread_id), hear)


@pytest.fixture
async def stack(make_settings: MakeSettings) -> AsyncIterator[Stack]:
    settings = make_settings(lease_s=0.6, sweep_s=0.3)
    async with open_backbone(settings) as backbone:
        services = [ProjectorService(backbone), DeciderService(backbone), SchedulerService(backbone)]
        tasks = []
        for service in services:
            await service.start()
            tasks.append(asyncio.create_task(service.serve()))
        yield Stack(backbone)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for service in services:
            await service.stop()


async def test_a_run_whose_worker_is_silent_is_dispatched_again(stack: Stack) -> None:
    thread_id = new_id()
    async with stack.watching(thread_id) as heard:
        run_id = await stack.create_run(thread_id)
        first = await stack.claim()
        assert (first.run_id, first.attempt) == (run_id, 1)
        stack.worker = f"w-{new_id()}"  # the first one is never heard of again
        second = await stack.claim()
        assert (second.run_id, second.attempt) == (run_id, 2)
        await stack.finish(first)
        await stack.finish(second)
        assert b'"attempt":2' in (await heard("run.succeeded.v1")).body
    row = await stack.backbone.pool.fetchrow("SELECT status, attempt, crashes FROM runs WHERE run_id = $1", run_id)
    assert tuple(row) == ("success", 2, 1)


async def test_a_dispatch_that_redis_forgot_is_made_again_and_is_no_crash(stack: Stack) -> None:
    run_id = await stack.create_run(new_id())
    queue = stack.backbone.queue
    for _ in range(200):
        if await queue.withdraw(f"{run_id}:1"):
            break
        await asyncio.sleep(0.02)  # the dispatch has no signal of its own
    else:
        raise AssertionError("never dispatched")
    task = await stack.claim()
    assert (task.run_id, task.attempt) == (run_id, 2)
    assert await stack.backbone.pool.fetchval("SELECT crashes FROM runs WHERE run_id = $1", run_id) == 0


async def test_a_delayed_run_starts_when_its_moment_comes(stack: Stack) -> None:
    due = datetime.now(UTC) + timedelta(seconds=0.5)
    await stack.create_run(new_id(), not_before=due.isoformat(timespec="microseconds"))
    await stack.claim()
    assert datetime.now(UTC) >= due


async def test_short_delays_are_not_slept_through(stack: Stack) -> None:
    for n in range(40):
        due = datetime.now(UTC) + timedelta(milliseconds=n)
        await stack.create_run(new_id(), not_before=due.isoformat(timespec="microseconds"))
    for _ in range(40):
        await stack.claim()


async def test_a_run_that_is_cancelled_before_it_is_claimed_ends_without_a_worker(stack: Stack) -> None:
    thread_id = new_id()
    async with stack.watching(thread_id) as heard:
        run_id = await stack.create_run(thread_id)
        await stack.append(cmd.CancelRuns(thread_id=thread_id, run_ids=[run_id]))
        await heard("run.cancelled.v1")
    assert await stack.backbone.pool.fetchval("SELECT status FROM runs WHERE run_id = $1", run_id) == "interrupted"
    assert await stack.backbone.queue.known() == set()


async def test_two_schedulers_requeue_a_lost_run_once(stack: Stack) -> None:
    twin = SchedulerService(stack.backbone)
    await twin.start()
    task = asyncio.create_task(twin.serve())
    thread_id = new_id()
    async with stack.watching(thread_id) as heard:
        run_id = await stack.create_run(thread_id)
        await stack.claim()
        stack.worker = f"w-{new_id()}"
        second = await stack.claim()
        assert (second.run_id, second.attempt) == (run_id, 2)
        await stack.finish(second)
        await heard("run.succeeded.v1")
    row = await stack.backbone.pool.fetchrow("SELECT attempt, crashes FROM runs WHERE run_id = $1", run_id)
    assert tuple(row) == (2, 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_new_decider_goes_on_where_the_former_one_stopped(stack: Stack, make_settings: MakeSettings) -> None:
    thread_id = new_id()
    async with stack.watching(thread_id) as heard:
        await stack.create_run(thread_id)
        task = await stack.claim()
        async with open_backbone(stack.backbone.settings) as backbone:
            successor = DeciderService(backbone)
            await successor.start()
            work = asyncio.create_task(successor.serve())
            await stack.finish(task)
            await heard("run.succeeded.v1")
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await successor.stop()
