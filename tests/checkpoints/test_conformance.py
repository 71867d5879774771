"""The saver passes every capability of langgraph's own suite, on the log, the decider and the projector that really run."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import ALL_CAPABILITIES
from langlog_backbone.time.clock import new_id
from langlog_executor.checkpoints.checkpointer import LogCheckpointer
from langlog_executor.checkpoints.reader import CheckpointReader
from langlog_executor.checkpoints.serde import ProjectSerializer
from langlog_executor.runtime.command_sender import CommandSender
from langlog_executor.runtime.io_loop import IoLoop
from langlog_executor.runtime.records import RunRecords
from langlog_schemas.messages import Task

TASK = Task(
    run_id=new_id(),
    thread_id=new_id(),
    attempt=1,
    assistant_id=new_id(),
    graph_id="agent",
    kwargs=b"{}",
    metadata=b"{}",
    created_at="2026-01-01T00:00:00.000000+00:00",
    fresh=True,
)


@pytest.mark.parametrize("task", [None, TASK], ids=["outside", "within"])
async def test_a_saver_outside_and_within_a_run_passes_the_conformance_suite(io: IoLoop, task: Task | None) -> None:
    @checkpointer_test(name="LogCheckpointer")
    async def saver() -> AsyncGenerator[BaseCheckpointSaver[str], None]:
        records = RunRecords(io, task, "")
        yield LogCheckpointer(records, CheckpointReader(io), task=task, sender=CommandSender(io))

    report = await validate(saver)
    assert {c: result.failures for c, result in report.results.items()} == {c.value: [] for c in ALL_CAPABILITIES}
    assert all(result.detected and result.tests_passed > 0 for result in report.results.values())


def test_a_saver_of_a_run_is_what_the_library_would_have_made_of_it(io: IoLoop) -> None:
    """Its constructor is left out: see whether it does something new."""
    reader = CheckpointReader(io)
    assert isinstance(reader.serde, ProjectSerializer)
    assert vars(BaseCheckpointSaver(serde=reader.serde)) == {"serde": reader.serde}
    saver = LogCheckpointer(None, reader)
    assert saver.serde is reader.serde
    for method in (saver.put_writes, saver.aput_writes):
        assert list(inspect.signature(method).parameters) == ["config", "writes", "task_id", "task_path"]
