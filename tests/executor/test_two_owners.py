"""Two deciders take one partition for theirs: the former owner goes on for a moment after it was replaced."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
from langlog_backbone.context import open_backbone
from langlog_backbone.log import Record
from langlog_backbone.process.settings import Settings
from langlog_backbone.time.clock import new_id
from langlog_executor.decider.service import DeciderService
from langlog_projector.service import ProjectorService
from langlog_schemas import commands as cmd
from langlog_schemas import envelope
from langlog_schemas import events as ev
from langlog_schemas.consumer import Follower
from msgspec import Raw

from tests.dead.stack import Stack
from tests.dead.test_commands import UNKNOWN, recolor, recolored
from tests.outage.test_lost_commits import running
from tests.stack.fixtures import MakeSettings


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(partitions=1)


@pytest.fixture
async def stack(settings: Settings) -> AsyncIterator[Stack]:
    """A stack of which nothing is started."""
    async with open_backbone(settings, local=True) as backbone:
        result = Stack(backbone)
        await result.listen()
        yield result


async def records_of(stack: Stack, topic: str, first: int = 0) -> Sequence[Record]:
    (end,) = await stack.backbone.log.end_offsets(topic)
    return await stack.backbone.log.fetch(topic, 0, range(first, end))


def create(thread: str, run: str) -> cmd.CreateRun:
    return cmd.CreateRun(
        thread_id=thread, run_id=run, assistant_id="a", graph_id="g", kwargs=Raw(b"{}"), multitask_strategy="enqueue"
    )


def finish(thread: str, run: str) -> cmd.FinishRun:
    return cmd.FinishRun(thread_id=thread, run_id=run, attempt=1, outcome="success", values=Raw(b'{"n":1}'))


async def test_a_new_owner_does_not_decide_again_what_the_former_one_decides_meanwhile(stack: Stack) -> None:
    """The new owner loads the thread from a read model that holds what the former one has decided since it was replaced."""
    thread, first, second, assistant = (new_id() for _ in range(4))
    former, new = DeciderService(stack.backbone), DeciderService(stack.backbone)
    async with running(ProjectorService(stack.backbone)):
        await new.assigned([(cmd.TOPIC, 0)])
        async with running(former):
            await stack.send(cmd.CreateThread(thread_id=thread))
            await stack.send(create(thread, first), retry=True)
            await stack.send(create(thread, second))
            await stack.send(finish(thread, first))
            await stack.send(cmd.CreateAssistant(assistant_id=assistant, graph_id="g"))
        await new._decide_all(await records_of(stack, cmd.TOPIC))
        last = finish(thread, second)
        position = await stack.append(cmd.TOPIC, last.key, last.TYPE, cmd.encode(last))
        await new._decide_all(await records_of(stack, cmd.TOPIC, position.offset))

    decided = [*await records_of(stack, ev.RUN_EVENTS), *await records_of(stack, ev.ASSISTANT_EVENTS)]
    assert len({record.headers["ce_id"] for record in decided}) == len(
        {(record.headers["ce_id"], record.value) for record in decided}
    ), "an equal id is an equal event"
    follower = Follower()
    counted = [follower.event(r.topic, r.partition, r.headers, r.value) for r in decided]
    of_runs = [part for event in counted if event is not None for part in ev.parts(event)]
    ends = [event.run_id for event in of_runs if isinstance(event, ev.RunEnded)]
    assert ends == [first, second]
    dispatched = [event.run_id for event in of_runs if isinstance(event, ev.RunDispatched)]
    assert dispatched == [first, second]
    assert new._aggregates.thread(thread).state.runs == {}


async def test_a_former_owner_that_is_behind_does_not_decide_on_what_its_successor_has_decided(stack: Stack) -> None:
    """It goes on where it stood when it was replaced, with commands that it had read, and nothing of the thread in memory."""
    thread, run = new_id(), new_id()
    former = DeciderService(stack.backbone)
    async with running(ProjectorService(stack.backbone)):
        await former.assigned([(cmd.TOPIC, 0)])
        async with running(DeciderService(stack.backbone)):
            await stack.send(cmd.CreateThread(thread_id=thread))
            read = await records_of(stack, cmd.TOPIC)
            await stack.send(create(thread, run))
        before = await records_of(stack, ev.RUN_EVENTS)
        await former._decide_all(read)
        assert await records_of(stack, ev.RUN_EVENTS) == before
        last = finish(thread, run)
        position = await stack.append(cmd.TOPIC, last.key, last.TYPE, cmd.encode(last))
        await former._decide_all(await records_of(stack, cmd.TOPIC, position.offset))
    (*_, event) = await records_of(stack, ev.RUN_EVENTS)
    assert envelope.type_of(event.headers) == ev.RunSucceeded.TYPE


async def test_a_release_is_decided_by_one_owner(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new owner comes to the release when the read model shows what the former one has released."""
    thread = new_id()
    former, new = DeciderService(stack.backbone), DeciderService(stack.backbone)
    async with running(ProjectorService(stack.backbone)):
        async with running(former):
            await stack.send(cmd.CreateThread(thread_id=thread))
            await stack.append(cmd.TOPIC, thread, UNKNOWN, recolor(thread, "red"))
            await stack.send(cmd.PatchThread(thread_id=thread, metadata={"n": 1}))
            await stack.parked(thread, 2)
            await new.assigned([(cmd.TOPIC, 0)])
            monkeypatch.setitem(cmd.UPCASTS, UNKNOWN, ("thread.patch.v1", recolored))
            assert (await stack.send(cmd.ReleaseParked(aggregate_id=thread))).status == 200
        await new._decide(await records_of(stack, cmd.TOPIC))
        released = await records_of(stack, ev.RUN_EVENTS)
        last = cmd.PatchThread(thread_id=thread, metadata={"n": 2})
        position = await stack.append(cmd.TOPIC, last.key, last.TYPE, cmd.encode(last))
        await new._decide(await records_of(stack, cmd.TOPIC, position.offset))

    ids = [record.headers["ce_id"] for record in released]
    assert len(set(ids)) == len(ids), "the new owner has decided nothing again"
    (*_, event) = await records_of(stack, ev.RUN_EVENTS)
    assert envelope.type_of(event.headers) == ev.ThreadUpdated.TYPE
