"""Postgres loses its last commits while everybody lives: nothing is missing afterwards, and nothing was decided on what it forgot."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from langlog_backbone.context import open_backbone
from langlog_backbone.process.ending import Ending
from langlog_backbone.process.settings import Settings
from langlog_backbone.process.unavailable import is_unavailable
from langlog_backbone.read_model import catching_up
from langlog_backbone.read_model.positions import ReadPositions
from langlog_backbone.time.clock import new_id
from langlog_executor.decider import aggregates as aggregates_module
from langlog_executor.decider import command_decider
from langlog_executor.decider.read_model import ReadModel
from langlog_executor.decider.service import DeciderService
from langlog_executor.worker.process import caught_up
from langlog_gateway.service import GatewayService
from langlog_projector.service import ProjectorService
from langlog_schemas import commands as cmd
from langlog_schemas import envelope
from langlog_schemas import events as ev
from msgspec import Raw

from tests.dead.stack import LIMIT_S, Stack
from tests.stack.fixtures import MakeSettings
from tests.stack.lost_commits import lose, save
from tests.stack.server import free_port
from tests.stack.waiting import until


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(partitions=2, port=free_port(), no_project=True)


@pytest.fixture
async def stack(settings: Settings) -> AsyncIterator[Stack]:
    """Nothing is started."""
    async with open_backbone(settings, local=True) as backbone:
        result = Stack(backbone)
        await result.listen()
        yield result


@contextlib.asynccontextmanager
async def running(service: Any) -> AsyncIterator[None]:
    await service.start()
    task = asyncio.create_task(service.serve())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await service.stop()


async def threads(stack: Stack) -> set[str]:
    return {row["thread_id"] for row in await stack.backbone.pool.fetch("SELECT thread_id FROM threads")}


async def threads_anew(stack: Stack) -> set[str]:
    """As `threads`, also by connections that do not know yet that they are lost."""
    while True:
        try:
            return await threads(stack)
        except Exception as error:
            if not is_unavailable(error):
                raise


async def test_what_postgres_loses_comes_back_although_nothing_more_is_written(stack: Stack) -> None:
    async with running(ProjectorService(stack.backbone)), running(DeciderService(stack.backbone)):
        made = [new_id() for _ in range(20)]
        for id in made[:10]:
            await stack.send(cmd.CreateThread(thread_id=id))
        await save(stack.backbone.pool)
        for id in made[10:]:
            await stack.send(cmd.CreateThread(thread_id=id))
        assert await threads(stack) == set(made)
        await lose(stack.backbone.pool, connections=True)

        async def back() -> bool:
            # a look that failed would wait for the next move of the projection, and there may be none
            return await threads_anew(stack) == set(made)

        await until(stack.backbone, back)


async def test_what_postgres_loses_comes_back_with_the_next_record(stack: Stack) -> None:
    """A failover behind a proxy need not end a connection."""
    async with running(ProjectorService(stack.backbone)), running(DeciderService(stack.backbone)):
        first, second, third = (stack.neighbour("x") for _ in range(3))
        await stack.send(cmd.CreateThread(thread_id=first))
        await save(stack.backbone.pool)
        await stack.send(cmd.CreateThread(thread_id=second))
        await lose(stack.backbone.pool)
        assert (await stack.send(cmd.CreateThread(thread_id=third))).status == 200
        assert await threads(stack) == {first, second, third}


async def test_what_was_answered_is_not_read_before_postgres_has_it_again(stack: Stack) -> None:
    """Connections that are opened after the loss wait; none of before it is left."""
    async with running(DeciderService(stack.backbone)):
        async with running(ProjectorService(stack.backbone)):
            await stack.send(cmd.CreateThread(thread_id=stack.neighbour("x")))
            await save(stack.backbone.pool)
            thread = new_id()
            await stack.send(cmd.CreateThread(thread_id=thread))
        await lose(stack.backbone.pool, connections=True)
        reading = asyncio.create_task(threads_anew(stack))
        async with running(ProjectorService(stack.backbone)):
            assert thread in await reading


async def answered_and_lost(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> tuple[str, asyncio.Event]:
    """Create a thread of which Postgres then loses all but its neighbour; return it, and what is set once a start has looked for it."""
    thread, looked = new_id(), asyncio.Event()
    plainly = catching_up._missing

    def noted(*args: Any) -> int:
        looked.set()
        return plainly(*args)

    monkeypatch.setattr(catching_up, "_missing", noted)
    async with running(DeciderService(stack.backbone)), running(ProjectorService(stack.backbone)):
        await stack.send(cmd.CreateThread(thread_id=stack.neighbour(thread)))
        await save(stack.backbone.pool)
        await stack.send(cmd.CreateThread(thread_id=thread))
    await lose(stack.backbone.pool)
    return thread, looked


async def test_a_gateway_that_starts_after_the_loss_shows_all_that_others_had_answered(
    stack: Stack, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has received no position, and those who have are gone."""
    thread, looked = await answered_and_lost(stack, monkeypatch)
    async with open_backbone(settings) as backbone, aiohttp.ClientSession() as http:
        gateway = GatewayService(backbone)
        starting = asyncio.create_task(gateway.start())
        looking = asyncio.create_task(looked.wait())
        try:
            await asyncio.wait([starting, looking], return_when=asyncio.FIRST_COMPLETED)
            assert not starting.done()
            async with running(ProjectorService(stack.backbone)):
                await starting
                async with http.get(f"http://127.0.0.1:{settings.port}/threads/{thread}") as answer:
                    assert (answer.status, (await answer.json())["thread_id"]) == (200, thread)
        finally:
            for task in (starting, looking):
                task.cancel()
            await asyncio.gather(starting, looking, return_exceptions=True)
            await gateway.stop()


async def test_a_worker_that_starts_after_the_loss_waits_until_all_that_others_had_answered_is_back(
    stack: Stack, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes read the store, and updates are prepared on the state, as they were answered."""
    thread, looked = await answered_and_lost(stack, monkeypatch)
    async with open_backbone(settings) as backbone:
        ending = Ending(1.0)
        starting = asyncio.create_task(caught_up(backbone, ending))
        looking = asyncio.create_task(looked.wait())
        await asyncio.wait([starting, looking], return_when=asyncio.FIRST_COMPLETED)
        assert not starting.done()
        async with running(ProjectorService(stack.backbone)):
            await starting
            assert thread in {row["thread_id"] for row in await backbone.pool.fetch("SELECT thread_id FROM threads")}
        looking.cancel()


async def test_a_worker_that_is_stopped_while_it_waits_for_the_read_model_does_not_wait_on(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = asyncio.Event()

    async def without_end(*_: Any, **options: Any) -> bool:
        waits.set()
        await asyncio.Event().wait()
        return False

    monkeypatch.setattr(catching_up, "catch_up", without_end)
    ending = Ending(1.0)
    starting = asyncio.create_task(caught_up(stack.backbone, ending))
    await waits.wait()
    assert not starting.done()
    ending.on_signal()
    await starting


async def test_a_read_model_that_nobody_folds_is_not_waited_for_forever(stack: Stack) -> None:
    await stack.event(ev.GraphRegistered(graph_id="g", position=0))
    pool, log = stack.backbone.pool, stack.backbone.log
    assert not await catching_up.catch_up(pool.fetch, log, ReadPositions(), stalled_s=0)
    async with running(ProjectorService(stack.backbone)):
        assert await catching_up.catch_up(pool.fetch, log, ReadPositions())


async def test_nothing_is_decided_on_what_postgres_has_forgotten(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregates_module, "KEPT", 0)
    monkeypatch.setattr(command_decider, "RETRIES_REMEMBERED", 0)
    waits = asyncio.Event()
    plainly = ReadModel._projector_moves

    async def noted(self: ReadModel) -> None:
        waits.set()
        await plainly(self)

    thread, run, assistant, retried = new_id(), new_id(), new_id(), new_id()
    create = cmd.CreateRun(
        thread_id=thread,
        run_id=run,
        assistant_id=assistant,
        graph_id="g",
        kwargs=Raw(b"{}"),
        multitask_strategy="enqueue",
    )
    finish = cmd.FinishRun(thread_id=thread, run_id=run, attempt=1, outcome="success", values=Raw(b'{"n":1}'))
    async with running(DeciderService(stack.backbone)):
        async with running(ProjectorService(stack.backbone)):
            await stack.send(cmd.CreateThread(thread_id=stack.neighbour(thread)))
            await save(stack.backbone.pool)
            assert (await stack.send(cmd.CreateThread(thread_id=thread))).status == 200
            assert (await stack.send(create, id=retried, retry=True)).status == 200
            assert (await stack.send(finish)).status == 200
        await lose(stack.backbone.pool)
        monkeypatch.setattr(ReadModel, "_projector_moves", noted)
        await stack.append(cmd.TOPIC, finish.key, finish.TYPE, cmd.encode(finish))
        asked = [
            asyncio.create_task(stack.send(cmd.CreateThread(thread_id=thread))),
            asyncio.create_task(stack.send(create, id=retried, retry=True)),
        ]
        async with asyncio.timeout(LIMIT_S):
            await waits.wait()
        async with running(ProjectorService(stack.backbone)):
            again, repeated = await asyncio.gather(*asked)
    assert again.status == 409
    assert (repeated.status, repeated.type) == (200, ev.RunCreated.TYPE)
    assert await events_of(stack, thread) == [
        "thread.created.v1",
        "run.created.v1",
        "run.succeeded.v1",
    ]


async def test_a_decider_that_takes_over_reads_what_was_decided_after_postgres_has_it_again(stack: Stack) -> None:
    """The watermark from before the loss is not used."""
    thread = new_id()
    async with running(ProjectorService(stack.backbone)):
        async with running(DeciderService(stack.backbone)):
            await stack.send(cmd.CreateThread(thread_id=stack.neighbour(thread)))
            await save(stack.backbone.pool)
            await stack.send(cmd.CreateThread(thread_id=thread))
    second = DeciderService(stack.backbone)
    ends = await stack.backbone.log.end_offsets(ev.RUN_EVENTS)
    second._model.on_watermark(
        b'{"run-events":{%s}}' % b",".join(b'"%d":%d' % (part, end) for part, end in enumerate(ends))
    )
    await lose(stack.backbone.pool)
    async with running(second):
        asked = asyncio.create_task(stack.send(cmd.CreateThread(thread_id=thread)))
        async with running(ProjectorService(stack.backbone)):
            assert (await asked).status == 409


async def events_of(stack: Stack, thread: str) -> list[str]:
    """Types of the decided events of a thread that change something, from the log, each once."""
    part = stack.backbone.log.partition_of(thread)
    end = (await stack.backbone.log.end_offsets(ev.RUN_EVENTS))[part]
    records = await stack.backbone.log.fetch(ev.RUN_EVENTS, part, range(end))
    silent = (ev.CommandRejected.TYPE, ev.CommandRepeated.TYPE)
    members = {r.headers["ce_id"]: envelope.type_of(r.headers) for r in records if r.key == thread}
    return [type for type in members.values() if type not in silent]
