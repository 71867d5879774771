"""A command that a client repeats (``Idempotency-Key``) is answered with its first outcome, whatever it is about."""

from __future__ import annotations

from typing import Any

import pytest
from langlog_backbone.context import open_backbone
from langlog_backbone.process.settings import Settings
from langlog_backbone.time.clock import new_id
from langlog_executor.decider.service import DeciderService
from langlog_projector.service import ProjectorService
from langlog_schemas import commands as cmd
from langlog_schemas import envelope
from langlog_schemas import events as ev
from msgspec import Raw

from tests.dead.stack import Stack
from tests.outage.test_lost_commits import running
from tests.stack.fixtures import MakeSettings


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(partitions=1)


CRON = {"assistant_id": "a", "schedule": "0 0 * * *", "payload": {"assistant_id": "a"}}


@pytest.mark.parametrize(
    ("make", "topic"),
    [
        (lambda id: cmd.CreateThread(thread_id=id, metadata={"n": 1}), ev.RUN_EVENTS),
        (lambda id: cmd.CreateAssistant(assistant_id=id, graph_id="g"), ev.ASSISTANT_EVENTS),
        (lambda id: cmd.CreateCron(cron_id=id, **CRON), ev.CRON_EVENTS),
        (lambda id: cmd.WriteStore(namespace=[id], ops=[cmd.StoreOp(key="k", value=Raw(b'{"n":1}'))]), ev.STORE_EVENTS),
    ],
    ids=["thread", "assistant", "cron", "store"],
)
async def test_a_repetition_is_read_behind_the_first_outcome_and_answered_with_it(
    settings: Settings, make: Any, topic: str
) -> None:
    """The projector reads topics beside each other: only in one topic is the first outcome surely folded first."""
    command, id = make(new_id()), new_id()
    async with open_backbone(settings, local=True) as backbone:
        stack = Stack(backbone)
        await stack.listen()
        async with running(ProjectorService(backbone)), running(DeciderService(backbone)):
            first = await stack.send(command, id=id, retry=True)
            again = await stack.send(command, id=id, retry=True)
        (end,) = await backbone.log.end_offsets(topic)
        types = [envelope.type_of(record.headers) for record in await backbone.log.fetch(topic, 0, range(end))]
    assert types[-1] == ev.CommandRepeated.TYPE and len(types) == 2
    assert (again.type, again.body, again.status) == (first.type, first.body, first.status)
