"""Effects of time on runs: real Postgres, Redis and log, decider and projector beside the scheduler, the workers played by the test."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from langlog_backbone.context import Backbone, open_backbone
from langlog_backbone.log import NewRecord
from langlog_backbone.process.service import Service
from langlog_backbone.process.settings import Settings
from langlog_backbone.redis import channels
from langlog_backbone.redis.client import connect
from langlog_backbone.time.clock import new_id, now_iso
from langlog_executor.decider.service import DeciderService
from langlog_projector.service import ProjectorService
from langlog_scheduler.service import SchedulerService
from langlog_scheduler.timers import Timers
from langlog_schemas import commands as cmd
from langlog_schemas import envelope, messages
from langlog_schemas import events as ev
from langlog_schemas.messages import LifecycleUpdate, Task
from msgspec import Raw

from tests.stack.fixtures import MakeSettings

LIMIT_S = 60.0
"""Whatever else the machine does."""
LEASE_S = 60.0
"""No lease runs out by itself: `Stack.fall_silent` ends it."""


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
        async with asyncio.timeout(LIMIT_S):
            while True:
                await self.backbone.queue.lease(self.worker, fresh=True)
                for task in await self.backbone.queue.claim(self.worker, 1, 0):
                    return task

    async def fall_silent(self) -> None:
        """The worker never returns and its lease is over; from now on another one claims."""
        pipe, silent = self.backbone.pipe, self.worker
        self.worker = f"w-{new_id()}"
        assert await pipe.call("ZADD", pipe.key("leases"), "XX", "CH", 0, silent) == 1

    async def started(self, task: Task) -> None:
        event = ev.RunStarted(thread_id=task.thread_id, run_id=task.run_id, attempt=task.attempt, worker=self.worker)
        headers = envelope.headers(
            id=f"{task.id}-started", type=event.TYPE, source="/test", time=now_iso(), subject=event.key
        )
        await self.backbone.log.append([NewRecord(ev.RUN_EVENTS, event.key, ev.encode(event), headers)])

    async def hand_back(self, task: Task) -> None:
        """Hand a task back like a stopping worker: the next attempt is queued."""
        command = cmd.RequeueRun(
            thread_id=task.thread_id, run_id=task.run_id, attempt=task.attempt, reason="drained", max_attempts=9
        )
        await self.append(command, f"{task.id}-drained")
        self.backbone.queue.release(self.worker, task.id)

    async def answer(self, state: dict[str, Any]) -> dict[str, Any]:
        """Answer queries for the thread's state; the queries."""
        client = connect(self.backbone.settings.redis_uri, socket_timeout=None)
        try:
            _, data = await asyncio.wait_for(
                client.execute_command("BRPOP", self.backbone.pipe.key("queries"), 0), LIMIT_S
            )
        finally:
            await client.aclose()
        query: messages.Query = messages.decode_query(data)
        answer = messages.Answer(id=query.id, body=json.dumps(state).encode())
        self.backbone.bus.publish(channels.gateway(query.reply_to), b"A" + messages.encode(answer))
        asked: dict[str, Any] = json.loads(query.body)
        return asked

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
        """Yields a function that waits for a lifecycle update of a type."""
        heard: asyncio.Queue[LifecycleUpdate] = asyncio.Queue()

        def hear(data: bytes) -> None:
            heard.put_nowait(messages.decode_lifecycle_update(data))

        async def wait_for(type: str) -> LifecycleUpdate:
            while True:
                update = await asyncio.wait_for(heard.get(), LIMIT_S)
                if update.type == type:
                    return update

        await self.backbone.bus.subscribe(channels.lifecycle(thread_id), hear)
        yield wait_for
        await self.backbone.bus.unsubscribe(channels.lifecycle(thread_id), hear)


@pytest.fixture
async def stack(make_settings: MakeSettings) -> AsyncIterator[Stack]:
    async with serving(make_settings(lease_s=LEASE_S, sweep_s=0.3)) as stack:
        yield stack


@contextlib.asynccontextmanager
async def serving(settings: Settings, queue_made_at: float | None = None) -> AsyncIterator[Stack]:
    async with open_backbone(settings) as backbone:
        scheduler = SchedulerService(backbone, queue_made_at)
        services: list[Service] = [ProjectorService(backbone), DeciderService(backbone), scheduler]
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
        await stack.started(first)
        await heard("run.started.v1")  # a crash is counted where the read model knows the run
        await stack.fall_silent()
        second = await stack.claim()
        assert (second.run_id, second.attempt) == (run_id, 2)
        await stack.finish(first)
        await stack.finish(second)
        assert b'"attempt":2' in (await heard("run.succeeded.v1")).body
    row = await stack.backbone.pool.fetchrow("SELECT status, attempt, crashes FROM runs WHERE run_id = $1", run_id)
    assert tuple(row) == ("success", 2, 1)


STATE = {
    "values": {"n": 1},
    "next": ["b"],
    "tasks": [{"id": "task", "name": "b", "interrupts": [{"id": "i", "value": "?"}]}],
    "checkpoint": {"checkpoint_id": "c"},
}


@pytest.mark.parametrize("end", ["attempts", "cancelled", "queued again", "time", "nobody answers", "nothing kept"])
async def test_a_run_that_ends_without_its_worker_leaves_its_thread_as_the_last_checkpoint_says(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr("langlog_executor.decider.orphaned_runs.ANSWER_S", LIMIT_S)
    monkeypatch.setattr("langlog_scheduler.service.QUERY_SHARE", 0.005 if end == "nobody answers" else 1.0)
    monkeypatch.setattr("langlog_scheduler.timers.OVERDUE_GRACE_S", 0.0)
    cancelled = end in ("cancelled", "queued again")
    attempts = 2 if cancelled else 1
    overdue_s = 0.2 if end == "time" else 86_400
    settings = make_settings(lease_s=LEASE_S, sweep_s=0.3, max_attempts=attempts, job_timeout_s=overdue_s)
    thread_id = new_id()
    type = "run.cancelled.v1" if cancelled else {"time": "run.timed_out.v1"}.get(end, "run.failed.v1")
    async with serving(settings) as stack, stack.watching(thread_id) as heard:
        run_id = await stack.create_run(thread_id)
        task = await stack.claim()
        await stack.started(task)
        await heard("run.started.v1")
        if end == "queued again":
            await stack.hand_back(task)
        if cancelled:
            await stack.append(cmd.CancelRuns(thread_id=thread_id, run_ids=[run_id]))
            await heard("run.cancel_requested.v1")
        if end != "time":
            await stack.fall_silent()
        if end != "nobody answers":
            asked = await stack.answer({**STATE, "checkpoint": None} if end == "nothing kept" else STATE)
            assert (asked["thread_id"], asked["graph_id"], asked["busy"]) == (thread_id, "g", True)
        await heard(type)
        row = await stack.backbone.pool.fetchrow(
            "SELECT t.status, t.state_values, t.interrupts, t.error, r.status AS run FROM threads t JOIN runs r USING (thread_id)"
        )
    run = "interrupted" if cancelled else {"time": "timeout"}.get(end, "error")
    assert (row["run"], row["status"]) == (run, "interrupted" if cancelled else "error")
    known = end not in ("nobody answers", "nothing kept")
    assert json.loads(row["state_values"] or "null") == ({"n": 1} if known else None)
    assert json.loads(row["interrupts"] or "{}") == ({"task": [{"id": "i", "value": "?"}]} if known else {})
    if end == "attempts":
        assert json.loads(row["error"]) == {
            "error": "WorkerLost",
            "message": "The run lost its worker 1 times and was given up.",
        }


async def test_a_dispatch_that_redis_forgot_is_made_again_and_is_no_crash(stack: Stack) -> None:
    run_id = await stack.create_run(new_id())
    queue = stack.backbone.queue
    async with asyncio.timeout(LIMIT_S):
        while not await queue.withdraw(f"{run_id}:1"):
            await asyncio.sleep(0.02)  # the dispatch has no signal of its own
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
        await stack.started(await stack.claim())
        await heard("run.started.v1")
        await stack.fall_silent()
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


async def test_what_a_queue_of_an_earlier_process_held_is_dispatched_at_the_start(make_settings: MakeSettings) -> None:
    settings = make_settings(lease_s=LEASE_S, sweep_s=3600.0)  # no sweep finds it
    async with serving(settings) as stack:
        thread_id = new_id()
        async with stack.watching(thread_id) as heard:
            run_id = await stack.create_run(thread_id)
            first = await stack.claim()
            await stack.started(first)
            await heard("run.started.v1")
        await stack.hand_back(first)
        second = await stack.claim()
        assert (second.run_id, second.attempt) == (run_id, 2)
        stack.backbone.queue.release(stack.worker, second.id)  # Redis knows nothing of it any more
        await stack.backbone.pipe.flush()
    async with serving(settings, time.monotonic()) as stack:
        result = await stack.claim()
        assert (result.run_id, result.attempt) == (run_id, 3)
        row = await stack.backbone.pool.fetchrow("SELECT crashes FROM runs WHERE run_id = $1", run_id)
        assert row["crashes"] == 0


async def test_delayed_runs_start_although_a_query_for_the_next_one_was_never_answered(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a connection to a machine that has vanished, which nobody closes."""
    next_due_s, hanging = Timers.next_due_s, asyncio.Event()

    async def hang_once(timers: Timers) -> float | None:
        if not hanging.is_set():
            hanging.set()
            await asyncio.Event().wait()
        return await next_due_s(timers)

    monkeypatch.setattr(Timers, "next_due_s", hang_once)
    monkeypatch.setattr("langlog_scheduler.service.POLL_LIMIT_S", 1.0)
    async with serving(make_settings(lease_s=LEASE_S, sweep_s=0.3)) as stack:
        await hanging.wait()
        due = datetime.now(UTC) + timedelta(seconds=0.5)
        run_id = await stack.create_run(new_id(), not_before=due.isoformat(timespec="microseconds"))
        assert (await stack.claim()).run_id == run_id
