"""Assistants, crons and namespaces of the store are parked like threads: the key and nothing else, until it is released."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest
from langlog.operations.dead import operator
from langlog_backbone.process.settings import Settings
from langlog_backbone.time.clock import new_id
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from msgspec import Raw

from tests.dead.stack import Stack


class Kind(NamedTuple):
    topic: str
    event: str
    """A type of event of the topic."""
    make: Callable[[str], cmd.Body]
    change: Callable[[str, int], cmd.Body]
    query: str
    """Query of the result of `change`, by key."""


KINDS = {
    "assistant": Kind(
        ev.ASSISTANT_EVENTS,
        ev.AssistantVersioned.TYPE,
        lambda key: cmd.CreateAssistant(assistant_id=key, graph_id="g"),
        lambda key, n: cmd.PatchAssistant(assistant_id=key, metadata={"n": n}),
        "SELECT metadata FROM assistants WHERE assistant_id = $1",
    ),
    "cron": Kind(
        ev.CRON_EVENTS,
        ev.CronChanged.TYPE,
        lambda key: cmd.CreateCron(cron_id=key, assistant_id="a", schedule="0 0 1 1 *", payload={}),
        lambda key, n: cmd.PatchCron(cron_id=key, payload={"n": n}),
        "SELECT payload FROM crons WHERE cron_id = $1",
    ),
    "namespace": Kind(
        ev.STORE_EVENTS,
        ev.StoreWritten.TYPE,
        lambda key: cmd.WriteStore(namespace=[key], ops=[cmd.StoreOp(key="made", value=Raw(b"{}"))]),
        lambda key, n: cmd.WriteStore(namespace=[key], ops=[cmd.StoreOp(key="k", value=Raw(b'{"n":%d}' % n))]),
        "SELECT value FROM store_items WHERE namespace = ARRAY[$1] AND key = 'k'",
    ),
}


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


async def left(stack: Stack, kind: Kind, key: str) -> Any:
    value = await stack.backbone.pool.fetchval(kind.query, key)
    return None if value is None else msgspec.json.decode(value)


async def sent(stack: Stack, command: cmd.Body) -> int:
    return (await stack.send(command)).status


async def test_a_command_that_nobody_knows_parks_its_key_alone(stack: Stack, settings: Settings, kind: Kind) -> None:
    key = new_id()
    other = stack.neighbour(key)
    assert await sent(stack, kind.make(key)) == 200
    bad = await stack.append(cmd.TOPIC, key, "nobody.knows.v9", b"{}")
    assert await sent(stack, kind.change(key, 1)) == 504
    assert [(topic, state) for topic, _, state in await stack.parked(key, 2)] == [
        (cmd.TOPIC, "bad"),
        (cmd.TOPIC, "behind"),
    ]
    for command in (kind.make(other), kind.change(other, 2)):
        assert await sent(stack, command) == 200
    assert await left(stack, kind, other) == {"n": 2}
    await stack.restart()
    assert await sent(stack, kind.change(key, 3)) == 504
    async with operator(settings) as at_work:
        assert await at_work.release(key, f"{cmd.TOPIC}-{bad.partition}-{bad.offset}") == 3
    assert await left(stack, kind, key) == {"n": 3}
    assert await sent(stack, kind.change(key, 4)) == 200


async def test_an_event_that_cannot_be_folded_parks_its_key_alone(stack: Stack, settings: Settings, kind: Kind) -> None:
    key = new_id()
    other = stack.neighbour(key)
    for each in (key, other):
        assert await sent(stack, kind.make(each)) == 200
    bad = await stack.append(kind.topic, key, kind.event, b"\xff{")
    await stack.parked(key, 1)
    assert await sent(stack, kind.change(key, 1)) == 504
    assert await sent(stack, kind.change(other, 2)) == 200
    assert await left(stack, kind, other) == {"n": 2}
    assert [(topic, state) for topic, _, state in await stack.parked(key, 2)] == [
        (kind.topic, "bad"),
        (cmd.TOPIC, "behind"),
    ]
    async with operator(settings) as at_work:
        assert await at_work.release(key, f"{kind.topic}-{bad.partition}-{bad.offset}") == 2
    assert await stack.waiting(key) == []
    assert await left(stack, kind, key) == {"n": 1}
    assert await sent(stack, kind.change(key, 4)) == 200
