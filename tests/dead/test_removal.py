"""A thread whose key is parked can be deleted, and expires: what waits goes with it, and its id can be used again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from langlog_backbone.process.settings import Settings
from langlog_backbone.time.clock import new_id
from langlog_executor.decider.decisions.parked_threads import decide_removal
from langlog_projector.rebuild.comparison import compare
from langlog_projector.rebuild.rebuild import building, follow_log
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from langlog_schemas.aggregates.thread import RunInFlight, ThreadState
from langlog_schemas.envelope import CommandMeta
from msgspec import Raw

from tests.dead.stack import Stack, stack_of
from tests.erasure.conftest import MASTER
from tests.stack.fixtures import MakeSettings

Visible = dict[str, Any] | None
MINE: Visible = {"owner": "me"}
THEIRS: Visible = {"owner": "you"}


async def bad_command(stack: Stack, thread: str) -> None:
    """Append a command of an unknown type, and one behind it."""
    await stack.append(cmd.TOPIC, thread, "thread.recolor.v9", msgspec.json.encode({"thread_id": thread}))
    assert (await stack.send(cmd.PatchThread(thread_id=thread, metadata={"n": 1}))).status == 504
    await stack.parked(thread, 2)


async def bad_event(stack: Stack, thread: str) -> None:
    """Append an event of an unknown type, and a command behind it."""
    await stack.append(ev.RUN_EVENTS, thread, "thread.recolored.v9", msgspec.json.encode({"thread_id": thread}))
    await stack.parked(thread, 1)
    assert (await stack.send(cmd.PatchThread(thread_id=thread, metadata={"n": 1}))).status == 504
    await stack.parked(thread, 2)


async def bad_event_alone(stack: Stack, thread: str) -> None:
    await stack.append(ev.RUN_EVENTS, thread, "thread.recolored.v9", msgspec.json.encode({"thread_id": thread}))
    await stack.event(ev.ThreadUpdated(thread_id=thread, metadata={"late": True}))
    await stack.parked(thread, 2)


PARKED = pytest.mark.parametrize("park", [bad_command, bad_event, bad_event_alone], ids=lambda park: park.__name__)


def a_run(thread: str, run: str) -> cmd.CreateRun:
    return cmd.CreateRun(thread_id=thread, run_id=run, assistant_id="a", graph_id="g", kwargs=Raw(b"{}"))


async def owned_thread(stack: Stack) -> str:
    thread = new_id()
    assert (await stack.send(cmd.CreateThread(thread_id=thread, metadata=MINE or {}, fresh=True))).status == 200
    return thread


async def assert_gone(stack: Stack, settings: Settings, thread: str) -> None:
    """No row of it is left, a model that is folded anew has the same rows, and the id can be used again: here and by a next owner."""
    assert await stack.waiting(thread) == []
    assert await stack.metadata(thread) is None
    for n in (1, 2):
        reply = await stack.send(cmd.CreateThread(thread_id=thread, metadata={"again": n}))
        assert reply.status == (200 if n == 1 else 409)
        assert (await stack.send(cmd.PatchThread(thread_id=thread, metadata={"m": n}))).status == 200
        await stack.stop()
        await stack.backbone.log.commit("deciders", {})
        await stack.start()
    assert await stack.metadata(thread) == {"again": 1, "m": 2}
    backbone, rebuilt = stack.backbone, f"{settings.projection}_new"
    await stack.stop()
    async with building(backbone.log, settings, rebuilt, lambda done, left: None) as builder:
        await follow_log(builder, backbone.log)
        async with backbone.pool.acquire() as connection:
            result = await compare(connection, settings.projection, rebuilt)
    assert result.same, result.differences


@PARKED
@pytest.mark.parametrize("restart", [False, True])
async def test_a_parked_thread_is_deleted_with_what_waits(
    stack: Stack, settings: Settings, park: Any, restart: bool
) -> None:
    thread, run = await owned_thread(stack), new_id()
    assert (await stack.send(a_run(thread, run))).status == 200
    await park(stack, thread)
    if restart:
        await stack.restart()
    reply = await stack.send(cmd.DeleteThread(thread_id=thread, visible=MINE), retry=True)
    assert (reply.status, reply.type) == (200, ev.ThreadDeleted.TYPE)
    assert msgspec.json.decode(reply.body)["active"] == [[run, 1]]
    assert await stack.backbone.pool.fetchval("SELECT count(*) FROM runs WHERE thread_id = $1", thread) == 0
    await assert_gone(stack, settings, thread)


@PARKED
async def test_a_parked_thread_is_not_deleted_by_another(stack: Stack, park: Any) -> None:
    thread = await owned_thread(stack)
    await park(stack, thread)
    before = await stack.waiting(thread)
    reply = await stack.send(cmd.DeleteThread(thread_id=thread, visible=THEIRS))
    assert (reply.status, reply.detail) == (404, f"Thread with ID {thread} not found")
    assert await stack.waiting(thread) == before
    assert await stack.metadata(thread) == MINE
    assert (await stack.send(cmd.DeleteThread(thread_id=thread, visible=MINE))).status == 200
    assert await stack.waiting(thread) == []


async def test_a_parked_key_of_which_nothing_is_known_is_removed_without_a_filter_alone(stack: Stack) -> None:
    """Its first command is the bad one."""
    thread = new_id()
    await bad_command(stack, thread)
    assert (await stack.send(cmd.DeleteThread(thread_id=thread, visible=MINE))).status == 404
    assert (await stack.send(cmd.DeleteThread(thread_id=thread))).status == 200
    assert await stack.waiting(thread) == []
    assert (await stack.send(cmd.CreateThread(thread_id=thread, fresh=True))).status == 200


@PARKED
async def test_what_waits_of_a_parked_thread_that_is_encrypted_goes_too(make_settings: MakeSettings, park: Any) -> None:
    settings = make_settings(partitions=2, encryption="on", master_key=MASTER)
    settings = msgspec.structs.replace(settings, keys_schema=f"{settings.projection}_keys")
    async with stack_of(settings) as stack:
        thread = await owned_thread(stack)
        await park(stack, thread)
        assert (await stack.send(cmd.DeleteThread(thread_id=thread, visible=MINE))).status == 200
        await assert_gone(stack, settings, thread)


async def test_a_deletion_that_the_decider_wrote_before_it_heard_of_the_bad_event_is_folded(
    stack: Stack, settings: Settings
) -> None:
    thread = await owned_thread(stack)
    await bad_event_alone(stack, thread)
    await stack.stop()
    position = await stack.event(ev.ThreadDeleted(thread_id=thread))
    await stack.start()
    await stack.folded(position)
    await assert_gone(stack, settings, thread)


@PARKED
async def test_a_parked_thread_expires(stack: Stack, settings: Settings, park: Any) -> None:
    thread = new_id()
    ttl = cmd.Ttl(1e-9, "delete")
    assert (await stack.send(cmd.CreateThread(thread_id=thread, ttl=ttl, fresh=True))).status == 200
    await park(stack, thread)
    command = cmd.ExpireThread(thread_id=thread)
    position = await stack.append(cmd.TOPIC, thread, command.TYPE, cmd.encode(command))
    other = stack.neighbour(thread)
    assert (await stack.send(cmd.CreateThread(thread_id=other, fresh=True))).status == 200
    assert position.partition == stack.backbone.log.partition_of(other)
    await assert_gone(stack, settings, thread)


def test_a_parked_thread_with_a_later_record_or_a_run_is_not_due() -> None:
    old, now = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 1, tzinfo=UTC)
    state = ThreadState(thread_id="t", exists=True, updated_at=old.isoformat(), ttl=cmd.Ttl(30, "delete"))
    meta = CommandMeta("id", now.isoformat(), 0, 0)
    expire = cmd.ExpireThread(thread_id="t")
    assert decide_removal([state], expire, meta, old)
    assert decide_removal([state], expire, meta, None)
    assert not decide_removal([state], expire, meta, now - timedelta(minutes=29))
    assert not decide_removal([], expire, meta, None)
    run = RunInFlight(
        run_id="r",
        ordinal=1,
        assistant_id="a",
        graph_id="g",
        kwargs=Raw(b"{}"),
        metadata={},
        created_at=old.isoformat(),
    )
    assert not decide_removal([msgspec.structs.replace(state, runs={"r": run})], expire, meta, None)
    kept = msgspec.structs.replace(state, ttl=cmd.Ttl(30, "keep_latest"))
    assert not decide_removal([kept], expire, meta, None)
