"""An operator's tool that ends right after its request: the request is completed without it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import pytest
from langlog_backbone.time.clock import new_id
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev

from tests.dead.stack import Stack
from tests.dead.test_commands import UNKNOWN, parked_thread, recolored
from tests.stack.waiting import until


async def asked(stack: Stack, key: str) -> None:
    """Request a release of events and commands, like `langlog dead retry`, without waiting for replies."""
    for topic, body in (
        (ev.DEAD_LETTERS, ev.ParkedEventsReleased(aggregate_id=key)),
        (cmd.TOPIC, cmd.ReleaseParked(aggregate_id=key)),
    ):
        await stack.append(topic, key, body.TYPE, msgspec.json.encode(body))


def released(stack: Stack, key: str) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return not await stack.waiting(key)

    return look


async def test_events_and_the_commands_behind_them_go_on(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    thread = new_id()
    await stack.send(cmd.CreateThread(thread_id=thread, fresh=True))
    await stack.append(ev.RUN_EVENTS, thread, UNKNOWN, msgspec.json.encode({"thread_id": thread, "to": "red"}))
    await stack.parked(thread, 1)
    for n in (1, 2):
        assert (await stack.send(cmd.PatchThread(thread_id=thread, metadata={f"n{n}": n}))).status == 504
    await stack.parked(thread, 3)
    await stack.restart()  # a decider that knows of the thread what Postgres says
    monkeypatch.setitem(ev.UPCASTS, UNKNOWN, ("thread.updated.v1", recolored))
    await asked(stack, thread)
    await until(stack.backbone, released(stack, thread))
    reply = await stack.send(cmd.PatchThread(thread_id=thread, metadata={"m": 1}))
    assert reply.status == 200
    assert await stack.metadata(thread) == {"color": "red", "n1": 1, "n2": 2, "m": 1}


@pytest.mark.parametrize("dying", [False, True], ids=["same decider", "another decider"])
async def test_more_than_fits_into_one_release_is_decided_to_the_end(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, dying: bool
) -> None:
    thread = await parked_thread(stack)
    for n in range(3, 8):
        await stack.send(cmd.PatchThread(thread_id=thread, metadata={f"n{n}": True}))
    await stack.parked(thread, 8)
    monkeypatch.setattr(stack.backbone.log, "max_record_bytes", 1000)
    monkeypatch.setitem(cmd.UPCASTS, UNKNOWN, ("thread.patch.v1", recolored))
    await asked(stack, thread)
    if dying:
        await stack.restart()
    await until(stack.backbone, released(stack, thread))
    assert (await stack.send(cmd.PatchThread(thread_id=thread, metadata={"m": 1}))).status == 200
    result = await stack.metadata(thread)
    assert result == {"color": "red", "n": 2, "m": 1, **{f"n{n}": True for n in range(1, 8)}}
