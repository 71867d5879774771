"""The newest checkpoint is the last one in the log, whatever the clocks of the processes that made the ids showed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from langgraph.checkpoint.base import id as langgraph_ids
from langgraph.checkpoint.base.id import uuid6
from langlog_backbone.time.clock import new_id
from langlog_executor.checkpoints.checkpointer import LogCheckpointer
from langlog_executor.checkpoints.reader import CheckpointReader
from langlog_executor.runtime.checkpoint_ids import LAST, issue_ids_after
from langlog_executor.runtime.command_sender import CommandSender
from langlog_executor.runtime.io_loop import IoLoop
from langlog_executor.runtime.records import CapturedRecords, RunRecords
from langlog_gateway.threads.copy import SQL

from tests.checkpoints.test_reads import place, task, value_of

DAY_S = 86_400.0
MOVED_S = [0.0, 2.0, DAY_S, -90.0, 0.5, -DAY_S]
"""Offsets of the clocks of workers that write one after the other."""


@pytest.fixture(autouse=True)
def own_clock() -> Iterator[None]:
    """Restore langgraph's clock after a test."""
    before = vars(langgraph_ids)[LAST]
    yield
    vars(langgraph_ids)[LAST] = before


def id_at(moved_s: float) -> str:
    """Return an id of a worker with a moved clock."""
    vars(langgraph_ids)[LAST] = None
    now = time.time_ns() + int(moved_s * 1e9)
    with mock.patch.object(time, "time_ns", return_value=now):
        return str(uuid6())


async def put(saver: LogCheckpointer, thread_id: str, checkpoint_id: str, value: Any, parent: str | None) -> str:
    version = saver.get_next_version(None, None)
    checkpoint: Any = {
        "v": 4,
        "id": checkpoint_id,
        "ts": "",
        "channel_values": {"c": value},
        "channel_versions": {"c": version},
        "versions_seen": {},
    }
    await saver.aput(place(thread_id, parent), checkpoint, {"source": "loop", "step": value}, {"c": version})
    return checkpoint_id


async def values(saver: LogCheckpointer, thread_id: str, **options: Any) -> list[Any]:
    return [t.checkpoint["channel_values"]["c"] async for t in saver.alist(place(thread_id), **options)]


async def test_reads_go_by_the_log_and_not_by_ids(io: IoLoop) -> None:
    thread_id, reader = new_id(), CheckpointReader(io)
    outside = LogCheckpointer(RunRecords(io, None, ""), reader, sender=CommandSender(io))
    made: list[str] = []
    for number, moved_s in enumerate(MOVED_S):
        made.append(await put(outside, thread_id, id_at(moved_s), number, made[-1] if made else None))
        assert await value_of(outside, place(thread_id)) == number
    newest_first = list(reversed(range(len(made))))
    assert await values(outside, thread_id) == newest_first
    for number, checkpoint_id in enumerate(made):
        assert await values(outside, thread_id, before=place(thread_id, checkpoint_id)) == list(reversed(range(number)))
        assert (
            await values(outside, thread_id, before=place(thread_id, checkpoint_id), limit=1) == [number - 1][:number]
        )

    partition = io.backbone.log.partition_of(thread_id)
    records = RunRecords(io, None, "")
    own = task(
        thread_id, partition=partition, read_after=(await io.backbone.log.end_offsets("run-events"))[partition] - 1
    )
    run = LogCheckpointer(CapturedRecords(), reader, task=own)
    assert await value_of(run, place(thread_id)) == len(made) - 1
    made.append(await put(run, thread_id, id_at(-2 * DAY_S), len(made), made[-1]))
    assert await value_of(run, place(thread_id)) == len(made) - 1, "what a run has written is its newest"
    assert await values(run, thread_id) == list(reversed(range(len(made))))
    assert await values(run, thread_id, before=place(thread_id, made[-1])) == newest_first
    assert await values(run, thread_id, before=place(thread_id, made[2])) == [1, 0]

    await outside.acopy_thread(thread_id, copy := new_id())
    assert await values(outside, copy) == newest_first
    rows = await io.backbone.pool.fetch(SQL["checkpoints"], thread_id, copy)
    assert [row["checkpoint_id"] for row in rows] == made[:-1]
    await outside.aprune([thread_id])
    assert await values(LogCheckpointer(records, reader, sender=CommandSender(io)), thread_id) == [newest_first[0]]


@pytest.mark.parametrize("ahead_s", [0.5, 2.0, 90.0, DAY_S])
def test_ids_grow_along_a_thread_that_a_worker_with_a_faster_clock_wrote_to(ahead_s: float) -> None:
    theirs = id_at(ahead_s)
    vars(langgraph_ids)[LAST] = None
    issue_ids_after(theirs)
    ours = [str(uuid6()) for _ in range(3)]
    assert [theirs, *ours] == sorted([theirs, *ours])


@pytest.mark.parametrize(
    "foreign", ["", "x", "z" * 100, "e34f369b-f5f6-412c-b45d-0ca3e50ec775", "ffffffff-ffff-6fff-bfff-ffffffffffff"]
)
def test_ids_that_no_clock_made_are_not_followed(foreign: str) -> None:
    vars(langgraph_ids)[LAST] = None
    issue_ids_after(foreign)
    assert vars(langgraph_ids)[LAST] is None


def test_a_worker_with_a_slower_clock_is_not_followed_back() -> None:
    before = str(uuid6())
    issue_ids_after(id_at(-DAY_S))
    assert str(uuid6()) > before
