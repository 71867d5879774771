"""How a run is supervised whose graph was never begun: it says nothing of the thread that it does not know."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langlog_executor.graph_attempt import Ended
from langlog_executor.graph_loops import Work
from langlog_executor.io_loop import IoLoop
from langlog_executor.run_execution import RunExecution, RunTools
from msgspec.structs import replace

from tests.executor.test_run_stream import task_for

pytestmark = pytest.mark.parametrize("log_kind", ["sqlite"])

NOTHING: Any = None


async def never() -> Ended:
    raise AssertionError("not begun")


@pytest.mark.parametrize(("attempt", "fresh"), [(1, True), (1, False), (2, False)])
async def test_a_run_that_is_cancelled_before_it_is_begun_leaves_its_thread_alone(
    io: IoLoop, attempt: int, fresh: bool
) -> None:
    task = replace(task_for({"assistant_id": "echo"}), attempt=attempt, fresh=fresh)
    run = RunExecution(RunTools(io, NOTHING, NOTHING, NOTHING, None), task, "worker")
    run.stop("interrupt")
    work = Work("echo", never, asyncio.get_running_loop().create_future())
    work.cancel()
    ended = run._result(work)
    assert ended is not None
    if attempt > 1:
        assert ended.stopped == "drain", "handed back: the decider finds out what the first attempt has left"
    else:
        assert (ended.outcome, ended.values, ended.state_known) == ("interrupted", None, fresh)
