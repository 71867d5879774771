"""An event that cannot be folded parks its key, and nothing else; what is parked is folded in order once the cause is fixed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from langlog.operations.dead import operator
from langlog_backbone.operation.parked_keys import NotReleased
from langlog_backbone.process.settings import Settings
from langlog_backbone.time.clock import new_id
from langlog_projector.rebuild.rebuild import building, follow_log
from langlog_schemas import checkpoints as cp
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from msgspec import Raw

from tests.dead.stack import Stack

UNKNOWN = "thread.recolored.v9"


def recolored(body: dict[str, Any]) -> dict[str, Any]:
    return {"thread_id": body["thread_id"], "metadata": {"color": body["to"]}}


def updated(thread_id: str, **metadata: Any) -> ev.ThreadUpdated:
    return ev.ThreadUpdated(thread_id=thread_id, metadata=metadata)


def poisons(thread_id: str) -> dict[str, tuple[str, bytes]]:
    """Type and value of events that cannot be folded, each for another reason."""
    good = cp.encode(cp.Bundle(cp.CheckpointBody("", "c1", None, "msgpack", b"d", b"{}", {}, [], None)))
    run = {
        "thread_id": thread_id,
        "run_id": "r",
        "ordinal": 1,
        "assistant_id": "a",
        "graph_id": "g",
        "kwargs": {},
        "metadata": {},
    }
    half = ev.StateUpdated(thread_id=thread_id, checkpoints=[good, b"\xc1"], values=Raw(b"{}"), status="idle")
    return {
        "a type that nobody knows": (UNKNOWN, msgspec.json.encode({"thread_id": thread_id, "to": "red"})),
        "no JSON": ("thread.updated.v1", b"\xff{"),
        "spoilt in the middle": (half.TYPE, ev.encode(half)),
        "what Postgres refuses": ("run.created.v1", msgspec.json.encode({**run, "assistant_id": "\0"})),
        "what its client refuses": ("run.dispatched.v1", msgspec.json.encode({**run, "attempt": 2**40})),
    }


@pytest.mark.parametrize("kind", list(poisons("")))
async def test_an_event_that_cannot_be_folded_parks_its_thread_and_no_other(stack: Stack, kind: str) -> None:
    thread = new_id()
    other = stack.neighbour(thread)
    for id in (thread, other):
        assert (await stack.send(cmd.CreateThread(thread_id=id, fresh=True))).status == 200
    type, value = poisons(thread)[kind]
    await stack.append(ev.RUN_EVENTS, thread, type, value)
    await stack.event(updated(thread, late=True))
    assert (await stack.send(cmd.PatchThread(thread_id=other, metadata={"n": 1}))).status == 200
    assert await stack.parked(thread, 2) == [
        (ev.RUN_EVENTS, type, "bad"),
        (ev.RUN_EVENTS, "thread.updated.v1", "behind"),
    ]
    assert await stack.metadata(thread) == {}
    assert await stack.metadata(other) == {"n": 1}
    checkpoints = await stack.backbone.pool.fetchval("SELECT count(*) FROM checkpoints WHERE thread_id = $1", thread)
    assert checkpoints == 0  # nothing of a record that is folded in half


async def test_parked_events_survive_restarts_and_are_folded_in_order_once_the_cause_is_mended(
    stack: Stack, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = new_id()
    await stack.send(cmd.CreateThread(thread_id=thread, fresh=True))
    await stack.append(ev.RUN_EVENTS, thread, *poisons(thread)["a type that nobody knows"])
    await stack.parked(thread, 1)
    await stack.restart()
    await stack.event(updated(thread, color="green", n=1))
    await stack.parked(thread, 2)
    async with operator(settings) as at_work:
        with pytest.raises(NotReleased, match=UNKNOWN):
            await at_work.release(thread, None)
    assert [state for *_, state in await stack.waiting(thread)] == ["bad", "behind"]

    seen: list[str] = []

    def mended(body: dict[str, Any]) -> dict[str, Any]:
        seen.append(body["to"])
        return recolored(body)

    monkeypatch.setitem(ev.UPCASTS, UNKNOWN, ("thread.updated.v1", mended))
    async with operator(settings) as at_work:
        assert await at_work.release(thread, None) == 2
    assert seen == ["red"]
    assert await stack.waiting(thread) == []
    assert await stack.metadata(thread) == {"color": "green", "n": 1}
    reply = await stack.send(cmd.PatchThread(thread_id=thread, metadata={"n": 2}))
    assert reply.status == 200
    await stack.restart()
    assert (await stack.send(cmd.PatchThread(thread_id=thread, metadata={"m": 3}))).status == 200


async def test_a_thread_goes_with_the_end_of_its_run_although_that_waits_behind_a_bad_event(stack: Stack) -> None:
    thread, run = new_id(), new_id()
    other = stack.neighbour(thread)
    for id in (thread, other):
        assert (await stack.send(cmd.CreateThread(thread_id=id, fresh=True))).status == 200
    await stack.append(ev.RUN_EVENTS, thread, *poisons(thread)["no JSON"])
    await stack.event(updated(thread, late=True))
    await stack.parked(thread, 2)
    await stack.folded(
        await stack.event(ev.RunSucceeded(thread_id=thread, run_id=run, attempt=1, status="idle", deletes_thread=True))
    )
    assert await stack.waiting(thread) == []
    assert await stack.metadata(thread) is None
    assert await stack.metadata(other) == {}
    await stack.restart()
    assert (await stack.send(cmd.CreateThread(thread_id=thread))).status == 200


async def test_a_thread_with_parked_events_is_not_decided_on_from_a_wrong_state(
    stack: Stack, settings: Settings
) -> None:
    """Neither by the decider that is notified of it, nor by one that loads the thread later."""
    thread = new_id()
    await stack.send(cmd.CreateThread(thread_id=thread, fresh=True))
    await stack.append(ev.RUN_EVENTS, thread, *poisons(thread)["no JSON"])
    await stack.parked(thread, 1)
    for restart in (False, True):
        if restart:
            await stack.restart()
        reply = await stack.send(cmd.PatchThread(thread_id=thread, metadata={"n": 1}))
        assert reply.status == 504 and "parked" in (reply.detail or "")
    assert await stack.parked(thread, 3) == [
        (ev.RUN_EVENTS, "thread.updated.v1", "bad"),
        (cmd.TOPIC, "thread.patch.v1", "behind"),
        (cmd.TOPIC, "thread.patch.v1", "behind"),
    ]
    async with operator(settings) as at_work:
        assert await at_work.release(thread, f"{ev.RUN_EVENTS}-{stack.backbone.log.partition_of(thread)}-1") == 3
    assert await stack.waiting(thread) == []
    assert (await stack.send(cmd.PatchThread(thread_id=thread, metadata={"m": 1}))).status == 200
    assert await stack.metadata(thread) == {"n": 1, "m": 1}


async def test_a_dropped_event_stays_out_and_a_rebuild_gives_the_same_rows(stack: Stack, settings: Settings) -> None:
    thread, left = new_id(), new_id()
    for id in (thread, left):
        await stack.send(cmd.CreateThread(thread_id=id, fresh=True))
    bad = await stack.append(ev.RUN_EVENTS, thread, *poisons(thread)["what Postgres refuses"])
    await stack.append(ev.RUN_EVENTS, left, *poisons(left)["what its client refuses"])
    await stack.event(updated(thread, after=True))
    last = await stack.event(updated(left, after=True))
    await stack.folded(last)
    await stack.parked(thread, 2)
    async with operator(settings) as at_work:
        await at_work.release(thread, f"{ev.RUN_EVENTS}-{bad.partition}-{bad.offset}")
    assert await stack.metadata(thread) == {"after": True}
    await stack.parked(left, 2)

    backbone = stack.backbone
    async with building(backbone.log, settings, f"{settings.projection}_new", lambda done, left: None) as builder:
        await follow_log(builder, backbone.log)
        for table, order in (("dead_letters", 'topic, part, "offset"'), ("threads", "thread_id")):
            query = f"SELECT * FROM {table} ORDER BY {order}"
            live = [tuple(row) for row in await backbone.pool.fetch(query)]
            assert live and [tuple(row) for row in await builder.pool.fetch(query)] == live
