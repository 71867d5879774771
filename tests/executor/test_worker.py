"""Worker processes at work: what a run leaves behind in the log, however it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from langlog_backbone.process.service import StartError
from langlog_backbone.process.settings import Settings
from langlog_backbone.redis import channels
from langlog_executor.worker.pool import WorkerPoolService
from langlog_schemas import commands, envelope, events, frames

from tests.executor.stack import GRAPHS, LIMIT_S, Stack, pids, running_stack, write_project
from tests.stack.fixtures import MakeSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def project(make_settings: MakeSettings, tmp_path: Path) -> Settings:
    """Settings of the test's own, with a project of its own."""
    return make_settings(project=write_project(tmp_path / "project"), drain_s=60.0, reply_timeout_s=60.0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(make_shared_settings: MakeSettings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """One worker for all runs of this file. A test that takes the worker away leaves another one."""
    project = write_project(tmp_path_factory.mktemp("project"))
    async with running_stack(make_shared_settings(project=project, drain_s=60.0, reply_timeout_s=60.0)) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tight_stack(
    make_shared_settings: MakeSettings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    """A stack whose states may have 500 kB, and its records less than half of that."""
    project = write_project(tmp_path_factory.mktemp("project"))
    limits = {"max_record_bytes": 200_000, "max_answer_bytes": 500_000}
    async with running_stack(make_shared_settings(project=project, reply_timeout_s=60.0, **limits)) as opened:
        yield opened


async def records(stack: Stack, thread_id: str) -> list[tuple[str, Any]]:
    """Type and event of every record of the thread in ``run-events``."""
    log = stack.backbone.log
    partition = log.partition_of(thread_id)
    end = (await log.end_offsets(events.RUN_EVENTS))[partition]
    reader = log.reader([events.RUN_EVENTS])
    collected: list[tuple[str, Any]] = []
    try:
        while True:
            for record in await reader.read():
                if record.partition != partition:
                    continue
                if record.key == thread_id:
                    kind = envelope.type_of(record.headers)
                    collected.append((kind, events.decode(kind, record.value)))
                if record.offset == end - 1:
                    return collected
    finally:
        await reader.stop()


async def stored_errors(stack: Stack, thread_id: str) -> int:
    query = "SELECT count(*) FROM checkpoint_writes WHERE thread_id = $1 AND channel = '__error__'"
    count: int = await stack.backbone.pool.fetchval(query, thread_id)
    return count


async def test_a_run_ends_with_its_frames_checkpoints_and_values(stack: Stack) -> None:
    run = await stack.start("steps")
    await run.custom.wait()
    stack.go(run)
    kind, body = await stack.end(run)
    assert (kind, body["status"]) == ("run.succeeded.v1", "idle")
    assert body["values"] == {"label": run.thread_id, "log": ["first", "second", "third"]}
    assert [frame.sequence for frame in run.frames] == list(range(1, body["frame_count"] + 1))
    ids = [(frame.ms, frame.n) for frame in run.frames]
    assert ids == sorted(set(ids))
    assert body["last_frame_ms"] == run.frames[-1].ms
    kinds = [kind for kind, _ in await records(stack, run.thread_id)]
    assert kinds.index("run.started.v1") < min(i for i, kind in enumerate(kinds) if kind.startswith("checkpoint."))
    last_checkpoint = max(i for i, kind in enumerate(kinds) if kind.startswith("checkpoint."))
    assert last_checkpoint < kinds.index("run.succeeded.v1")


async def test_the_next_run_of_a_thread_has_larger_frame_ids(stack: Stack) -> None:
    run = await stack.start("steps")
    stack.go(run)
    await stack.end(run)
    again = await stack.start("steps", thread_id=run.thread_id)
    await stack.end(again)
    assert (again.frames[0].ms, again.frames[0].n) > (run.frames[-1].ms, run.frames[-1].n)
    assert again.frames[0].ms > run.frames[-1].ms


async def test_frames_of_a_resumable_run_are_in_the_log_without_gaps(stack: Stack) -> None:
    run = await stack.start("steps", resumable=True)
    stack.go(run)
    _, body = await stack.end(run)
    recorded = [event for kind, event in await records(stack, run.thread_id) if kind == "run.frames.v1"]
    kept = [frame for event in recorded for frame in frames.decode(event.frames).frames]
    assert [f.sequence for f in kept] == list(range(1, body["frame_count"] + 1))
    assert kept == run.frames


async def test_frames_of_other_runs_are_not_in_the_log(stack: Stack) -> None:
    run = await stack.start("steps")
    stack.go(run)
    await stack.end(run)
    assert "run.frames.v1" not in [kind for kind, _ in await records(stack, run.thread_id)]


async def test_a_cancelled_run_keeps_its_checkpoints_and_its_task_says_so(stack: Stack) -> None:
    run = await stack.start("steps")
    await run.custom.wait()
    await stack.send(commands.CancelRuns(thread_id=run.thread_id, run_ids=[run.run_id]))
    kind, body = await stack.end(run)
    assert (kind, body["status"]) == ("run.cancelled.v1", "interrupted")
    assert body["values"] == {"label": run.thread_id, "log": ["first"]}
    assert body["error"]["error"] == "UserInterrupt"
    assert await stored_errors(stack, run.thread_id) == 1


async def test_a_run_is_stopped_although_nobody_was_told(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the decider dies after the event, or had no Redis at that moment, while the workers' subscription goes on."""
    run = await stack.start("steps")
    await run.custom.wait()
    publish = stack.backbone.bus.publish
    lost = asyncio.Event()

    def publish_others(channel: str, data: bytes) -> None:
        if channel == channels.CONTROL:
            lost.set()
        else:
            publish(channel, data)

    monkeypatch.setattr(stack.backbone.bus, "publish", publish_others)
    await stack.send(commands.CancelRuns(thread_id=run.thread_id, run_ids=[run.run_id]))
    await asyncio.wait_for(lost.wait(), LIMIT_S)
    kind, body = await stack.end(run)
    assert (kind, body["status"]) == ("run.cancelled.v1", "interrupted")


async def test_a_run_cancelled_in_the_middle_of_a_plain_node_says_so_too(stack: Stack) -> None:
    """Without a custom stream the library runs a lone node without a task of its own, and notes nothing."""
    run = await stack.start("steps", stream_mode=["values"])
    while "second" not in (stack.done(run) if (stack.folder / f"{run.thread_id}.log").exists() else []):
        await asyncio.sleep(0.01)
    await stack.send(commands.CancelRuns(thread_id=run.thread_id, run_ids=[run.run_id]))
    await stack.end(run)
    assert await stored_errors(stack, run.thread_id) == 1


async def test_a_run_that_is_rolled_back_tells_what_it_had_reached(stack: Stack) -> None:
    run = await stack.start("steps")
    await run.custom.wait()
    await stack.send(commands.CancelRuns(thread_id=run.thread_id, run_ids=[run.run_id], action="rollback"))
    kind, body = await stack.end(run)
    assert (kind, body["status"]) == ("run.rolled_back.v1", "idle")
    assert body["output"] == {"label": run.thread_id, "log": ["first"]}
    assert "values" not in body


async def test_a_graph_that_does_not_stop_is_reported_as_stopped_and_changes_nothing_more(stack: Stack) -> None:
    run = await stack.start("deaf")
    await run.custom.wait()
    await stack.send(commands.CancelRuns(thread_id=run.thread_id, run_ids=[run.run_id]))
    kind, body = await stack.end(run)
    assert (kind, body["values"]["log"]) == ("run.cancelled.v1", ["first"])
    stack.go(run)
    after = await stack.start("steps", thread_id=run.thread_id)
    await stack.end(after)
    events_of_first = [e for _, e in await records(stack, run.thread_id) if getattr(e, "run_id", "") == run.run_id]
    assert isinstance(events_of_first[-1], events.RunCancelled)


async def test_a_run_of_a_deleted_thread_stops_and_reports_nothing(stack: Stack) -> None:
    run = await stack.start("steps")
    await run.custom.wait()
    await run.started.wait()
    await stack.send(commands.DeleteThread(thread_id=run.thread_id))
    async with asyncio.timeout(LIMIT_S):
        while f"{run.run_id}:1" in await stack.backbone.queue.known():
            await asyncio.sleep(0.01)  # the worker has been told when it lets go of the run
    stack.go(run)
    other = await stack.start("steps")
    stack.go(other)
    await stack.end(other)
    kinds = [kind for kind, _ in await records(stack, run.thread_id)]
    after = kinds[kinds.index("thread.deleted.v1") + 1 :]
    assert [
        kind for kind in after if not kind.startswith("checkpoint.")
    ] == []  # those were under way: readers drop them
    for table in ("threads", "runs", "checkpoints", "checkpoint_writes", "checkpoint_blobs"):
        query = f"SELECT count(*) FROM {table} WHERE thread_id = $1"
        assert await stack.backbone.pool.fetchval(query, run.thread_id) == 0
    assert "third" not in stack.done(run)


async def test_an_exit_in_a_node_fails_that_run_alone(stack: Stack) -> None:
    waiting = await stack.start("steps")
    await waiting.custom.wait()
    run = await stack.start("leaving")
    kind, body = await stack.end(run)
    assert (kind, body["error"]) == ("run.failed.v1", {"error": "SystemExit", "message": "3"})
    stack.go(waiting)
    assert (await stack.end(waiting))[0] == "run.succeeded.v1"


async def test_a_run_over_its_time_ends_as_timeout(project: Settings) -> None:
    for limit_s in (0.5, 5.0, 50.0):
        async with running_stack(msgspec.structs.replace(project, job_timeout_s=limit_s)) as stack:
            run = await stack.start("steps")
            kind, body = await stack.end(run)
        assert kind == "run.timed_out.v1"
        if run.custom.is_set():
            break  # else the machine had no time for the first step
    assert body["values"]["log"] == ["first"]


async def test_a_run_that_is_cancelled_between_two_attempts_leaves_what_the_first_one_did(
    project: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langlog_executor.decider.orphaned_runs.ANSWER_S", 60.0)
    async with running_stack(msgspec.structs.replace(project, drain_s=0.1)) as stack:
        run = await stack.start("steps")
        await run.custom.wait()
        await stack.pool.drain()
        lost = commands.RequeueRun(thread_id=run.thread_id, run_id=run.run_id, attempt=1, reason="lease_lost")
        await stack.append(lost)  # unless the worker came to hand it back before it went
        await stack.send(commands.CancelRuns(thread_id=run.thread_id, run_ids=[run.run_id]))
        others = WorkerPoolService(stack.backbone)
        await others.start()
        kind, body = await stack.end(run)
        await others.stop()
        row = await stack.backbone.pool.fetchrow(
            "SELECT status, state_values FROM threads WHERE thread_id = $1", run.thread_id
        )
    assert (kind, body["attempt"], body["status"]) == ("run.cancelled.v1", 2, "interrupted")
    assert (row["status"], json.loads(row["state_values"])) == (
        "interrupted",
        {"label": run.thread_id, "log": ["first"]},
    )
    assert "third" not in stack.done(run)


async def test_a_drained_worker_hands_its_runs_on_and_no_step_is_done_twice(stack: Stack) -> None:
    run = await stack.start("steps")
    await run.custom.wait()
    reload = asyncio.create_task(stack.pool.reload())
    old = pids(stack.pool)
    while len(pids(stack.pool)) < 2:  # the new worker is ready, the old one is draining
        await asyncio.sleep(0.01)
    stack.go(run)
    kind, body = await stack.end(run)
    await reload
    assert (kind, body["values"]["log"]) == ("run.succeeded.v1", ["first", "second", "third"])
    assert stack.done(run) == ["first", "second", "third"]
    assert pids(stack.pool) != old


async def test_a_reload_names_the_runs_that_it_waits_for_and_restarts_each_at_most_once(stack: Stack) -> None:
    run = await stack.start("twice")
    await run.custom.wait()
    (first,) = (await stack.pool.reload()).runs
    assert str(first) == f"run {run.run_id} of twice (until its next step)"
    run.custom.clear()
    stack.go(run)
    await run.custom.wait()
    (second,) = (await stack.pool.reload()).runs
    assert (second.run_id, second.until) == (run.run_id, "its end")
    assert (await stack.pool.reload()).count == 0, "the newest worker has no run"
    (stack.folder / f"{run.thread_id}.on").touch()
    kind, body = await stack.end(run)
    assert (kind, body["attempt"]) == ("run.succeeded.v1", 2)
    assert stack.done(run) == ["first", "second", "again", "third"]
    async with asyncio.timeout(LIMIT_S):
        while len(pids(stack.pool)) > 1:
            await asyncio.sleep(0.01)  # the workers that waited for it end by themselves


async def test_a_reload_breaks_no_step_off_however_long_it_takes(project: Settings) -> None:
    async with running_stack(msgspec.structs.replace(project, drain_s=0.1)) as stack:
        run = await stack.start("steps")
        await run.custom.wait()
        assert (await stack.pool.reload()).count == 1
        stack.go(run)
        kind, body = await stack.end(run)
        assert (kind, body["attempt"]) == ("run.succeeded.v1", 2)
        assert stack.done(run) == ["first", "second", "third"]


async def test_a_stop_hands_on_a_run_that_reaches_no_step_boundary(project: Settings) -> None:
    async with running_stack(msgspec.structs.replace(project, drain_s=0.2)) as stack:
        run = await stack.start("steps")
        await run.custom.wait()
        await stack.pool.drain()
        others = WorkerPoolService(stack.backbone)
        await others.start()
        stack.go(run)
        kind, body = await stack.end(run)
        await others.stop()
        assert (kind, body["attempt"]) == ("run.succeeded.v1", 2)
        assert body["values"]["log"] == ["first", "second", "third"]
        assert stack.done(run) == ["first", "second", "second", "third"]


async def test_a_dead_worker_is_replaced(stack: Stack) -> None:
    (pid,) = pids(stack.pool)
    os.kill(pid, signal.SIGKILL)
    while pids(stack.pool) in ([], [pid]):
        await asyncio.sleep(0.01)
    run = await stack.start("steps")
    stack.go(run)
    assert (await stack.end(run))[0] == "run.succeeded.v1"


async def test_a_reload_of_broken_graphs_keeps_the_old_workers(stack: Stack) -> None:
    living = pids(stack.pool)
    write_project(stack.folder, GRAPHS + "\nbroken = 1 / 0\n")
    with pytest.raises(StartError, match="ZeroDivisionError"):
        await stack.pool.reload()
    write_project(stack.folder)
    assert pids(stack.pool) == living
    run = await stack.start("steps")
    stack.go(run)
    assert (await stack.end(run))[0] == "run.succeeded.v1"


async def test_a_graph_that_does_not_load_stops_the_start_with_file_line_and_reason(
    stack: Stack, tmp_path: Path
) -> None:
    project = write_project(tmp_path, "x = 1\nsteps = nothing\n")
    settings = msgspec.structs.replace(stack.backbone.settings, project=project)
    pool = WorkerPoolService(stack.backbone._replace(settings=settings))
    with pytest.raises(StartError, match=r"graphs\.py, line 2") as caught:
        await pool.start()
    assert "NameError: name 'nothing' is not defined" in str(caught.value)
    assert pids(pool) == []


async def test_graphs_and_their_default_assistants_are_there_when_the_pool_has_started(stack: Stack) -> None:
    graphs = await stack.backbone.pool.fetch("SELECT graph_id, schemas FROM graphs ORDER BY position")
    assert [row["graph_id"] for row in graphs] == ["steps", "deaf", "leaving", "wide", "twice"]
    assert json.loads(graphs[0]["schemas"])["state_schema"]["title"] == "steps_state"
    names = await stack.backbone.pool.fetch("SELECT name, metadata FROM assistants ORDER BY name")
    assert [(row["name"], json.loads(row["metadata"])) for row in names] == [
        (name, {"created_by": "system"}) for name in ("deaf", "leaving", "steps", "twice", "wide")
    ]


async def test_a_state_over_the_record_limit_ends_its_run_all_the_same(tight_stack: Stack) -> None:
    run = await tight_stack.start("wide", input={"label": "x" * 100_000})
    kind, body = await tight_stack.end(run)
    assert (kind, body["values"]["log"]) == ("run.succeeded.v1", ["x" * 100_000] * 3)
    pool = tight_stack.backbone.pool
    row = await pool.fetchrow("SELECT status, state_values FROM threads WHERE thread_id = $1", run.thread_id)
    assert (row["status"], json.loads(row["state_values"])) == ("idle", body["values"])
    assert await pool.fetchval("SELECT count(*) FROM checkpoint_parts") == 0


async def test_a_state_that_no_answer_can_hold_is_an_error_that_says_so(tight_stack: Stack) -> None:
    run = await tight_stack.start("wide", input={"label": "x" * 150_000})
    kind, body = await tight_stack.end(run)
    assert (kind, body["error"]["error"]) == ("run.failed.v1", "StateTooLarge")
    assert "LANGLOG_MAX_ANSWER_BYTES" in body["error"]["message"]
    assert [frame.event for frame in run.frames if not frame.event.startswith("@@")][-1] == "error"
