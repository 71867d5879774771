"""Supervision of a run: reports of a graph that never began, and of an end that cannot be reported unchanged."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langlog_backbone.log import RecordTooLarge
from langlog_executor.runtime.io_loop import IoLoop
from langlog_executor.runtime.loop_thread import Work
from langlog_executor.worker.graph_attempt import Ended
from langlog_executor.worker.run_execution import RunExecution, RunTools
from langlog_schemas import commands, envelope
from msgspec.structs import replace

from tests.executor.test_run_stream import task_for

NOTHING: Any = None
READER: Any = SimpleNamespace(serde=JsonPlusSerializer())


async def never() -> Ended:
    raise AssertionError("not begun")


@pytest.mark.parametrize("log_kind", ["sqlite"])
@pytest.mark.parametrize(("attempt", "fresh"), [(1, True), (1, False), (2, False)])
async def test_a_run_that_is_cancelled_before_it_is_begun_leaves_its_thread_alone(
    io: IoLoop, attempt: int, fresh: bool
) -> None:
    task = replace(task_for({"assistant_id": "echo"}), attempt=attempt, fresh=fresh)
    run = RunExecution(RunTools(io, NOTHING, NOTHING, READER, None), task, "worker")
    run.stop("interrupt")
    work = Work("echo", never, asyncio.get_running_loop().create_future())
    work.cancel()
    ended = run._result(work)
    assert ended is not None
    if attempt > 1:
        assert ended.stopped == "drain", "handed back: the decider finds out what the first attempt has left"
    else:
        assert (ended.outcome, ended.values, ended.state_known) == ("interrupted", None, fresh)


@pytest.mark.parametrize("broken", ["values", "records"])
async def test_an_end_that_cannot_be_reported_as_it_is_is_reported_all_the_same(io: IoLoop, broken: str) -> None:
    task = task_for({"assistant_id": "echo"})
    run = RunExecution(RunTools(io, NOTHING, NOTHING, READER, None), task, "worker")
    reader = io.backbone.log.reader([commands.TOPIC])
    try:
        if broken == "records":
            run._records._error = RecordTooLarge("an earlier record was refused")
        await run._report(Ended(values=b'{"not": JSON' if broken == "values" else b"{}", next=["caf\udce9"]))
        async with asyncio.timeout(60):
            while True:
                for record in await reader.read():
                    if record.key == task.thread_id:
                        result = commands.decode(envelope.type_of(record.headers), record.value)
                        assert isinstance(result, commands.FinishRun)
                        assert (result.run_id, result.outcome) == (task.run_id, "error")
                        assert result.error is not None
                        assert result.error.error == "ReportError"
                        return
    finally:
        await reader.stop()
