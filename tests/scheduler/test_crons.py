"""Crons that fire: real Postgres, Redis and log, decider and projector; schedulers of the test's own, workers played by it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from langlog_backbone.context import Backbone, open_backbone
from langlog_backbone.log import Log, NewRecord, Position, Record
from langlog_backbone.process.environment import VARIABLES
from langlog_backbone.process.service import Service
from langlog_backbone.process.settings import Settings
from langlog_backbone.time.clock import new_id
from langlog_executor.decider.service import DeciderService
from langlog_projector.service import ProjectorService
from langlog_scheduler.crons import CATCH_UP_S, Crons
from langlog_schemas import commands as cmd
from langlog_schemas import envelope
from langlog_schemas import events as ev

from tests.scheduler.test_scheduler import LEASE_S, LIMIT_S, Stack
from tests.stack.fixtures import MakeSettings
from tests.stack.server import Process

ASSISTANT = cmd.CreateAssistant(
    assistant_id="a", graph_id="g", config={"configurable": {"tone": "dry"}}, metadata={"of": "assistant"}
)


LONG_AGO = timedelta(days=400)
"""A yearly cron made so long ago is due once, and then not for the length of a test: no minute ends at a bad moment."""
YEARLY = "0 0 1 1 *"


class CronStack(Stack):
    """A stack without a scheduler that also reads the log."""

    def __init__(self, backbone: Any) -> None:
        super().__init__(backbone)
        self.reader = backbone.log.reader([ev.RUN_EVENTS, ev.CRON_EVENTS])

    async def create(self, schedule: str, since: datetime | None = None, **more: Any) -> str:
        """A cron as of a moment; known to the read model when this is over."""
        cron_id = new_id()
        payload = {"assistant_id": "a", "input": {"x": 1}, **more.pop("payload", {})}
        command = cmd.CreateCron(cron_id=cron_id, assistant_id="a", schedule=schedule, payload=payload, **more)
        time = (since or datetime.now(UTC)).isoformat(timespec="microseconds")
        headers = envelope.headers(id=new_id(), type=command.TYPE, source="/test", time=time, subject=cron_id)
        await self.backbone.log.append([NewRecord(cmd.TOPIC, cron_id, cmd.encode(command), headers)])
        await self.until("SELECT FROM crons WHERE cron_id = $1", cron_id)
        return cron_id

    async def until(self, sql: str, *args: Any) -> Any:
        """Wait for a row."""
        async with asyncio.timeout(LIMIT_S):
            while (row := await self.backbone.pool.fetchrow(sql, *args)) is None:
                await asyncio.sleep(0.02)  # rows have no signal of their own
            return row

    async def created(self) -> AsyncIterator[ev.RunCreated]:
        """Runs as the log shows them, from its beginning."""
        while True:
            for record in await asyncio.wait_for(self.reader.read(), LIMIT_S):
                event = ev.decode(envelope.type_of(record.headers), record.value)
                if isinstance(event, ev.RunCreated):
                    yield event

    async def work(self) -> None:
        """A worker that ends every run at once."""
        while True:
            await self.finish(await self.claim())


@contextlib.asynccontextmanager
async def serving(backbone: Backbone) -> AsyncIterator[None]:
    """Decider and projector at work."""
    services: list[Service] = [ProjectorService(backbone), DeciderService(backbone)]
    tasks = []
    for service in services:
        await service.start()
        tasks.append(asyncio.create_task(service.serve()))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for service in services:
            await service.stop()


@pytest.fixture
async def stack(make_settings: MakeSettings) -> AsyncIterator[CronStack]:
    settings = make_settings(lease_s=LEASE_S, cron_grace_s=LONG_AGO.total_seconds())
    async with open_backbone(settings) as backbone, serving(backbone):
        stack = CronStack(backbone)
        await stack.append(ASSISTANT)
        await stack.until("SELECT FROM assistants WHERE assistant_id = 'a'")
        yield stack
        await stack.reader.stop()


def due_ms(event: ev.RunCreated) -> int:
    """The due time that a run belongs to."""
    decoded: int = msgspec.json.decode(event.kwargs)["config"]["configurable"]["__request_start_time_ms__"]
    return decoded


def environment(settings: Settings) -> dict[str, str]:
    """Return the variables with these settings."""
    default = Settings()
    return {
        names[0]: str(value)
        for field, names in VARIABLES.items()
        if (value := getattr(settings, field)) != getattr(default, field)
    }


CRONS, DUE_SECONDS = 20, 10
"""Number of crons, and seconds, of a schedule that is due every second: 200 due times in ten seconds."""
FIRED_S = 150.0


@pytest.mark.slow
async def test_each_of_200_due_times_fires_exactly_once_whenever_a_scheduler_is_killed(
    stack: CronStack, log_kind: str, tmp_path: Path
) -> None:
    env = environment(stack.backbone.settings)
    schedulers = [Process(f"scheduler-{n}", ["scheduler"], tmp_path, env) for n in range(2)]
    for process in schedulers:
        await asyncio.to_thread(process.start)
    for n in range(CRONS):
        kept = "keep" if n % 2 else "delete"
        await stack.create("* * * * * *", metadata={"cron": n}, on_run_completed=kept)
    chance, enough = random.Random(4), asyncio.Event()

    async def kill_at_random() -> None:
        while not enough.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(enough.wait(), chance.uniform(0.2, 2.0))
            victim = chance.choice(schedulers)
            await asyncio.to_thread(victim.kill)
            await asyncio.to_thread(victim.start)

    times: dict[int, Counter[int]] = {n: Counter() for n in range(CRONS)}
    killer, worker = asyncio.create_task(kill_at_random()), asyncio.create_task(stack.work())
    try:
        async with asyncio.timeout(FIRED_S):
            async for event in stack.created():
                times[event.metadata["cron"]][due_ms(event)] += 1
                if min(map(in_a_row, times.values())) >= DUE_SECONDS:
                    break
    finally:
        enough.set()
        worker.cancel()
        await asyncio.gather(killer, worker, return_exceptions=True)
        for process in schedulers:
            process.kill()
    for entry in times.values():
        assert set(entry.values()) == {1}


def in_a_row(results: Counter[int]) -> int:
    """Return the maximum number of consecutive due times. Schedulers that a machine holds up for longer than `CATCH_UP_S` leave some out.
    Runs are in partitions of their threads: later ones may be told of before."""
    most = row = 0
    for due in sorted(results):
        row = row + 1 if due - 1000 in results else 1
        most = max(most, row)
    return most


class LogInStep:
    """A log that appends once each of ``writers`` has something to append."""

    def __init__(self, log: Log, writers: int) -> None:
        self._log = log
        self._all_here = asyncio.Barrier(writers)

    async def append(self, records: Sequence[NewRecord]) -> list[Position]:
        await self._all_here.wait()
        return await self._log.append(records)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


async def test_schedulers_that_fire_at_once_make_one_run_between_them(stack: CronStack) -> None:
    cron_id = await stack.create(YEARLY, datetime.now(UTC) - LONG_AGO, on_run_completed="delete")
    # a scheduler that looks after another one has appended may see the cron moved on, or that the server is behind
    log: Any = LogInStep(stack.backbone.log, 3)
    schedulers = [Crons(stack.backbone._replace(log=log)) for _ in range(3)]
    async with asyncio.timeout(LIMIT_S):
        assert await asyncio.gather(*(scheduler.fire() for scheduler in schedulers)) == [1, 1, 1]
    task = await stack.claim()
    await stack.finish(task)
    await stack.until("SELECT FROM crons WHERE cron_id = $1 AND next_run_date > now()", cron_id)
    assert await Crons(stack.backbone).fire() == 0
    # the thread is gone: the same command, sent once more, runs nothing all the same
    sent = await first_command(stack, cmd.CreateRun.TYPE)
    await stack.backbone.log.append([NewRecord(sent.topic, sent.key, sent.value, sent.headers)])
    marker = await stack.create_run(task.thread_id)
    runs = []
    async for event in stack.created():
        runs.append(event.run_id)
        if event.run_id == marker:
            break
    assert runs == [task.run_id, marker]


async def first_command(stack: CronStack, type: str) -> Record:
    reader = stack.backbone.log.reader([cmd.TOPIC])
    async with contextlib.aclosing(reader_records(reader)) as records:
        async for record in records:
            if envelope.type_of(record.headers) == type:
                await reader.stop()
                return record
    raise AssertionError(type)


async def reader_records(reader: Any) -> AsyncGenerator[Record, None]:
    while True:
        for record in await reader.read():
            yield record


async def test_the_run_has_the_kwargs_that_a_gateway_gives(stack: CronStack) -> None:
    await stack.append(cmd.CreateThread(thread_id="t", metadata={"of": "thread", "t": 1}))
    await stack.until("SELECT FROM threads WHERE thread_id = 't'")
    cron_id = await stack.create(
        YEARLY,
        datetime.now(UTC) - LONG_AGO,
        thread_id="t",
        metadata={"of": "cron"},
        payload={"context": {"user": "u"}, "stream_mode": "updates", "multitask_strategy": "reject"},
    )
    await Crons(stack.backbone).fire()
    task = await stack.claim()
    kwargs = msgspec.json.decode(task.kwargs)
    configurable = kwargs["config"]["configurable"]
    assert task.thread_id == "t"
    ids = {"graph_id": "g", "assistant_id": "a", "cron_id": cron_id}
    assert msgspec.json.decode(task.metadata) == {"of": "cron", "t": 1, **ids}
    assert configurable["cron_id"] == cron_id
    assert (configurable["tone"], configurable["user"]) == ("dry", "u")
    assert configurable["langgraph_request_id"] is None
    assert configurable["run_id"] == task.run_id
    assert kwargs["context"] == {"user": "u", "cron_id": cron_id}
    assert (kwargs["input"], kwargs["stream_mode"], kwargs["temporary"]) == ({"x": 1}, ["updates"], False)


async def test_a_paused_cron_and_one_past_its_end_do_not_fire(stack: CronStack) -> None:
    past = datetime.now(UTC) - LONG_AGO
    await stack.create(YEARLY, past, enabled=False)
    await stack.create(YEARLY, past, end_time=past.isoformat())
    assert await Crons(stack.backbone).fire() == 0


async def test_a_cron_that_is_resumed_does_not_make_up_for_its_pause(stack: CronStack) -> None:
    cron_id = await stack.create(YEARLY, datetime.now(UTC) - LONG_AGO, enabled=False)
    await stack.append(cmd.PatchCron(cron_id=cron_id, payload={"enabled": True}, enabled=True))
    await stack.until("SELECT FROM crons WHERE cron_id = $1 AND enabled AND next_run_date > now()", cron_id)


async def test_a_thread_takes_its_crons_along(stack: CronStack) -> None:
    await stack.append(cmd.CreateThread(thread_id="t"))
    cron_id = await stack.create("@daily", thread_id="t")
    await stack.append(cmd.DeleteThread(thread_id="t"))
    await stack.until("SELECT WHERE NOT EXISTS (SELECT FROM crons WHERE cron_id = $1)", cron_id)


class Clock:
    """The scheduler's own clock, which the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def appended(stack: CronStack, topic: str = cmd.TOPIC) -> int:
    return sum(await stack.backbone.log.end_offsets(topic))


async def test_what_was_fired_is_not_fired_again_however_long_the_read_model_is_behind(
    make_settings: MakeSettings,
) -> None:
    clock = Clock()
    async with open_backbone(make_settings(cron_grace_s=LONG_AGO.total_seconds())) as backbone:
        stack, crons = CronStack(backbone), Crons(backbone, clock)
        async with serving(backbone):
            await stack.append(ASSISTANT)
            await stack.until("SELECT FROM assistants WHERE assistant_id = 'a'")
            for _ in range(3):
                await stack.create("* * * * * *", datetime.now(UTC) - LONG_AGO)
        before = await appended(stack)
        assert await crons.fire() == 3
        fired = await appended(stack) - before
        assert fired <= 3 * (CATCH_UP_S + 2), "of each cron what is made up for, and its next date"
        for _ in range(20):
            clock.now += 2.0
            assert await crons.fire() == 0
        assert await appended(stack) == before + fired
        async with serving(backbone):
            await stack.until(
                "SELECT WHERE NOT EXISTS (SELECT FROM crons WHERE next_run_date < now() - interval '1 day')"
            )
            async with asyncio.timeout(LIMIT_S):
                while not await crons.fire():  # the decider says from time to time what it has decided
                    clock.now += 1.0
                    await asyncio.sleep(0.05)
        await stack.reader.stop()


async def test_firing_pauses_while_commands_lag_and_makes_up_for_the_last_time_only(
    make_settings: MakeSettings,
) -> None:
    clock = Clock()
    async with open_backbone(make_settings(cron_grace_s=LONG_AGO.total_seconds())) as backbone:
        stack, crons = CronStack(backbone), Crons(backbone, clock)
        async with serving(backbone):
            await stack.append(ASSISTANT)
            await stack.until("SELECT FROM assistants WHERE assistant_id = 'a'")
            await stack.create(YEARLY, datetime.now(UTC) - LONG_AGO)
            late = await stack.create("* * * * * *", enabled=False)
        assert await crons.fire() == 1
        # nobody decides: what is due a little later is still fired, what is due after the lag is not
        await backbone.pool.execute("UPDATE crons SET enabled = true WHERE cron_id = $1", late)
        clock.now += backbone.settings.cron_max_lag_s + 1
        before = await appended(stack)
        for _ in range(3):
            assert await crons.fire() == 0
            clock.now += 1.0
        assert await appended(stack) == before
        async with serving(backbone):
            await stack.append(cmd.PatchCron(cron_id=late, payload={}, enabled=True))
            await stack.until("SELECT FROM crons WHERE cron_id = $1 AND enabled AND next_run_date < now()", late)
            async with asyncio.timeout(LIMIT_S):
                while not await crons.fire():
                    clock.now += 0.6
                    await asyncio.sleep(0.05)
        await stack.reader.stop()
        reader = backbone.log.reader([cmd.TOPIC])
        runs, unread = [], await appended(stack)  # all partitions: the run's and the cron's have no common order
        async with contextlib.aclosing(reader_records(reader)) as records:
            async for record in records:
                if envelope.type_of(record.headers) == cmd.CreateRun.TYPE:
                    command = cmd.decode(cmd.CreateRun.TYPE, record.value)
                    assert isinstance(command, cmd.CreateRun)
                    if msgspec.json.decode(command.kwargs)["config"]["configurable"]["cron_id"] == late:
                        runs.append(command.run_id)
                unread -= 1
                if not unread:
                    break
        await reader.stop()
        assert len(runs) == 1


async def test_a_full_queue_gets_no_more_runs_of_crons(make_settings: MakeSettings) -> None:
    settings = make_settings(cron_grace_s=LONG_AGO.total_seconds(), max_queued_runs=2)
    async with open_backbone(settings) as backbone, serving(backbone):
        stack, clock = CronStack(backbone), Clock()
        crons = Crons(backbone, clock)
        await stack.append(ASSISTANT)
        await stack.until("SELECT FROM assistants WHERE assistant_id = 'a'")
        await stack.create(YEARLY, datetime.now(UTC) - LONG_AGO)
        await stack.append(cmd.CreateThread(thread_id="t"))
        await stack.create_run("t")
        await stack.until("SELECT FROM runs WHERE status = 'pending'")
        assert await crons.fire() == 0
        await stack.finish(await stack.claim())
        await stack.until("SELECT WHERE NOT EXISTS (SELECT FROM runs WHERE status = 'pending')")
        clock.now += 1.0
        assert await crons.fire() == 1
        await stack.reader.stop()
