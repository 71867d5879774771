"""A command that cannot be decided parks its key, and nothing else; what is parked is decided in order once the cause is
fixed."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from langlog.main import cli
from langlog.operations.dead import operator
from langlog_backbone.metrics.exposition import rendered
from langlog_backbone.operation.explain_run import explain, gather
from langlog_backbone.operation.figures import DeploymentFigures
from langlog_backbone.operation.parked_keys import NotReleased
from langlog_backbone.process.environment import VARIABLES
from langlog_backbone.process.settings import Settings
from langlog_backbone.time.clock import new_id
from langlog_executor.decider import command_decider
from langlog_executor.decider import service as decider
from langlog_executor.decider.decisions.threads import decide_thread
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev

from tests.dead.stack import LIMIT_S, Stack
from tests.stack.waiting import until

UNKNOWN = "thread.recolor.v9"


def recolor(thread_id: str, to: str) -> bytes:
    return msgspec.json.encode({"thread_id": thread_id, "to": to})


def recolored(body: dict[str, Any]) -> dict[str, Any]:
    return {"thread_id": body["thread_id"], "metadata": {"color": body["to"]}}


async def parked_thread(stack: Stack) -> str:
    """A thread with a command of an unknown type and two behind it, whose clients received this."""
    thread = new_id()
    await stack.send(cmd.CreateThread(thread_id=thread, fresh=True))
    await stack.append(cmd.TOPIC, thread, UNKNOWN, recolor(thread, "red"))
    for n in (1, 2):
        reply = await stack.send(cmd.PatchThread(thread_id=thread, metadata={"n": n, f"n{n}": True}))
        assert reply.status == 504 and "parked" in (reply.detail or "")
    await stack.parked(thread, 3)
    return thread


async def test_a_command_that_nobody_knows_parks_its_thread_and_no_other(stack: Stack) -> None:
    thread = await parked_thread(stack)
    assert await stack.waiting(thread) == [
        (cmd.TOPIC, UNKNOWN, "bad"),
        (cmd.TOPIC, "thread.patch.v1", "behind"),
        (cmd.TOPIC, "thread.patch.v1", "behind"),
    ]
    assert await stack.metadata(thread) == {}
    other = stack.neighbour(thread)
    assert (await stack.send(cmd.CreateThread(thread_id=other, fresh=True))).status == 200
    assert (await stack.send(cmd.PatchThread(thread_id=other, metadata={"n": 1}))).status == 200


async def test_a_command_on_which_deciding_fails_parks_its_thread_and_the_decider_goes_on(
    stack: Stack, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = new_id()
    await stack.send(cmd.CreateThread(thread_id=thread, fresh=True))
    sound = decide_thread

    def failing(state: Any, command: cmd.Command, meta: Any, **more: Any) -> Any:
        if isinstance(command, cmd.PatchThread) and "boom" in command.metadata:
            raise RuntimeError("not foreseen")
        return sound(state, command, meta, **more)

    monkeypatch.setattr(command_decider, "decide_thread", failing)
    reply = await stack.send(cmd.PatchThread(thread_id=thread, metadata={"boom": 1}), retry=True)
    assert reply.status == 504
    assert (await stack.send(cmd.CreateThread(thread_id=stack.neighbour(thread), fresh=True))).status == 200
    await stack.parked(thread, 1)
    async with operator(settings) as at_work:
        with pytest.raises(NotReleased, match="RuntimeError"):
            await at_work.release(thread, None)
        monkeypatch.setattr(command_decider, "decide_thread", sound)
        assert await at_work.release(thread, None) == 1
    assert await stack.metadata(thread) == {"boom": 1}
    outcomes = await stack.backbone.pool.fetchval("SELECT count(*) FROM outcomes WHERE aggregate_id = $1", thread)
    assert outcomes == 1  # a client that asks again with its Idempotency-Key is told how it went


async def test_parked_commands_survive_another_decider_and_are_decided_in_order_once_the_cause_is_mended(
    stack: Stack, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = await parked_thread(stack)
    await stack.restart()
    assert (await stack.send(cmd.PatchThread(thread_id=thread, metadata={"n": 3}))).status == 504
    async with operator(settings) as at_work:
        with pytest.raises(NotReleased, match=UNKNOWN):
            await at_work.release(thread, None)
    monkeypatch.setitem(cmd.UPCASTS, UNKNOWN, ("thread.patch.v1", recolored))
    async with operator(settings) as at_work:
        assert await at_work.release(thread, None) == 4
    assert await stack.waiting(thread) == []
    assert await stack.metadata(thread) == {"color": "red", "n": 3, "n1": True, "n2": True}
    for _ in range(2):  # by this decider, and by one that reads everything again
        assert (await stack.send(cmd.PatchThread(thread_id=thread, metadata={"m": 1}))).status == 200
        await stack.stop()
        await stack.backbone.log.commit("deciders", {})
        await stack.start()
    assert await stack.metadata(thread) == {"color": "red", "n": 3, "n1": True, "n2": True, "m": 1}


async def test_a_dropped_command_is_left_out_and_those_behind_it_are_decided(stack: Stack, settings: Settings) -> None:
    thread = await parked_thread(stack)
    row = await stack.backbone.pool.fetchrow(
        'SELECT topic, part, "offset" FROM dead_letters WHERE key = $1 AND state = $2', thread, "bad"
    )
    async with operator(settings) as at_work:
        assert await at_work.release(thread, f"{row['topic']}-{row['part']}-{row['offset']}") == 3
    assert await stack.metadata(thread) == {"n": 2, "n1": True, "n2": True}
    states = await stack.backbone.pool.fetch(
        'SELECT state, value IS NULL AS gone FROM dead_letters WHERE key = $1 ORDER BY "offset"', thread
    )
    assert [tuple(x) for x in states] == [("dropped", True), ("decided", True), ("decided", True)]


async def test_what_the_scheduler_says_of_a_parked_thread_does_not_pile_up(stack: Stack) -> None:
    thread = await parked_thread(stack)
    command = cmd.RequeueRun(thread_id=thread, run_id=new_id(), attempt=1, reason="queue_lost")
    await stack.append(cmd.TOPIC, thread, command.TYPE, cmd.encode(command))
    assert (await stack.send(cmd.PatchThread(thread_id=thread, metadata={}))).status == 504
    await stack.parked(thread, 4)
    assert "run.requeue.v1" not in {type for _, type, _ in await stack.waiting(thread)}


async def test_a_release_whose_events_are_in_the_log_is_not_decided_again_by_the_next_owner(
    stack: Stack, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decider dies right after it has appended; nothing of what it has done is committed."""
    thread = await parked_thread(stack)
    monkeypatch.setitem(cmd.UPCASTS, UNKNOWN, ("thread.patch.v1", recolored))

    async def nothing(self: Any) -> None:
        return None

    monkeypatch.setattr(decider.DeciderService, "_commit", nothing)
    async with operator(settings) as at_work:
        await at_work.release(thread, None)
    ends = await stack.backbone.log.end_offsets(ev.RUN_EVENTS)
    await stack.restart()
    other = stack.neighbour(thread)
    await stack.send(cmd.CreateThread(thread_id=other, fresh=True))
    assert sum(await stack.backbone.log.end_offsets(ev.RUN_EVENTS)) == sum(ends) + 1
    assert await stack.waiting(thread) == []


async def test_the_command_line_lists_shows_drops_and_retries(
    stack: Stack, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = await parked_thread(stack)

    async def langlog(*args: str) -> Result:
        """The command, on a thread of its own: it has its own event loop."""
        env = {VARIABLES[name][0]: str(getattr(settings, name)) for name in SHARED}
        result = await asyncio.to_thread(CliRunner().invoke, cli, ["dead", *args], env=env)
        logging.disable(logging.NOTSET)
        return result

    listed = (await langlog("list")).stdout
    assert thread in listed and "3 waiting" in listed and UNKNOWN in listed
    shown = (await langlog("show", thread)).stdout.splitlines()
    assert [("bad" in line, "behind" in line) for line in shown] == [(True, False), (False, True), (False, True)]
    first = msgspec.json.decode((await langlog("show", thread, "--json")).stdout.splitlines()[0])
    assert first["data"] == {"thread_id": thread, "to": "red"} and first["headers"]["ce_type"] == f"langlog.{UNKNOWN}"
    failed = await langlog("retry", thread)
    assert failed.exit_code == 1 and "cannot be handled yet" in failed.output
    assert (await langlog("drop", thread, "--yes")).stdout == f"Released {thread}: 3 records processed.\n"
    assert (await langlog("list")).stdout == "Nothing is parked.\n"
    assert (await langlog("retry", thread)).exit_code == 1


SHARED = (
    "log_uri",
    "database_uri",
    "redis_uri",
    "redis_prefix",
    "topic_prefix",
    "partitions",
    "projection",
    "data_dir",
)


async def test_why_and_the_metrics_say_that_a_thread_is_parked(stack: Stack, settings: Settings) -> None:
    thread, run = new_id(), new_id()
    await stack.send(
        cmd.CreateRun(
            thread_id=thread,
            run_id=run,
            assistant_id="a",
            graph_id="g",
            kwargs=msgspec.Raw(b"{}"),
            if_not_exists="create",
        )
    )
    await stack.append(cmd.TOPIC, thread, UNKNOWN, recolor(thread, "red"))
    await stack.parked(thread, 1)
    backbone = stack.backbone
    facts = await gather(settings, backbone.pool, backbone.log, backbone.pipe, run)
    assert explain(run, facts, settings)[0].startswith(f"Its thread {thread} is parked: commands-")
    assert any("1 keys are parked" in line for line in explain(new_id(), facts._replace(run=None), settings))
    figures = DeploymentFigures(backbone.pool, backbone.log, backbone.pipe, settings)
    text = rendered(await figures.collect()).decode()
    assert "langlog_parked_keys 1\n" in text and "langlog_parked_records 1\n" in text


async def test_two_deciders_that_meet_the_same_bad_command_park_it_once(stack: Stack) -> None:
    """A former owner continues for a moment: both write letters, and there is one row for each record."""
    thread = await parked_thread(stack)
    letters = []
    reader = stack.backbone.log.reader([ev.DEAD_LETTERS])
    async with asyncio.timeout(LIMIT_S):
        while len(letters) < 3:
            letters += await reader.read()
    await reader.stop()
    from langlog_backbone.log import NewRecord

    positions = await stack.backbone.log.append([NewRecord(x.topic, x.key, x.value, x.headers) for x in letters])

    async def passed() -> bool:
        rows = await stack.backbone.pool.fetch('SELECT part, "offset" FROM positions WHERE topic = $1', ev.DEAD_LETTERS)
        return dict(map(tuple, rows)).get(positions[-1].partition, 0) > positions[-1].offset

    await until(stack.backbone, passed)
    assert len(await stack.waiting(thread)) == 3
