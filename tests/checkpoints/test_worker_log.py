"""Worker records reach the log in order, whole, and once, whatever the log does meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from langlog_backbone.context import Backbone
from langlog_backbone.log import AppendUnknown, LogUnavailable, NewRecord, Position, RecordTooLarge
from langlog_backbone.process.settings import Settings
from langlog_executor.checkpoints.checkpointer import LogCheckpointer
from langlog_executor.checkpoints.reader import CheckpointReader
from langlog_executor.runtime import records as worker_log
from langlog_executor.runtime.io_loop import IoLoop
from langlog_executor.runtime.records import RecordsClosed, RunRecords
from langlog_schemas import events
from langlog_schemas.events import CheckpointPart, CheckpointSteps, CheckpointWrites, CheckpointWritten, RunStarted
from langlog_schemas.messages import Task

from tests.stack.sources import in_virtual_time

TASK = Task(
    run_id="r1",
    thread_id="t1",
    attempt=2,
    assistant_id="a",
    graph_id="g",
    kwargs=b"{}",
    metadata=b"{}",
    created_at="",
)


class FakeLog:
    """Keeps what is appended; raises the errors in ``trouble``."""

    appends_atomically = False
    partitions = 1

    def __init__(self) -> None:
        self.records: list[NewRecord] = []
        self.batches: list[int] = []
        self.trouble: list[Exception] = []
        self.tried = asyncio.Event()
        self.grown = asyncio.Event()

    async def append(self, records: Sequence[NewRecord]) -> list[Position]:
        self.tried.set()
        if self.trouble:
            error = self.trouble.pop(0)
            if isinstance(error, AppendUnknown):
                self.records += records
            raise error
        first = len(self.records)
        self.records += records
        self.batches.append(len(records))
        self.grown.set()
        return [Position(0, first + n) for n in range(len(records))]

    def ids(self) -> list[str]:
        return [record.headers["ce_id"] for record in self.records]


@pytest.fixture
async def log() -> FakeLog:
    return FakeLog()


@pytest.fixture
async def io(log: FakeLog) -> IoLoop:
    return io_of(log)


def io_of(log: FakeLog) -> IoLoop:
    nothing: Any = None
    return IoLoop(Backbone(Settings(max_record_bytes=2000), log, nothing, nothing, nothing, nothing, nothing))  # type: ignore[arg-type]


def started(n: int) -> RunStarted:
    return RunStarted(thread_id="t1", run_id="r1", attempt=2, worker=str(n))


async def test_records_keep_the_order_of_emitting_and_carry_run_attempt_and_sequence(io: IoLoop, log: FakeLog) -> None:
    records = RunRecords(io, TASK, "t1")
    for n in range(5):
        records.emit(started(n))
    await records.flush()
    assert log.ids() == [f"r1-2-{n}" for n in range(1, 6)]
    assert log.batches == [5]
    assert log.records[0].key == "t1"
    assert log.records[0].headers["ce_type"] == "langlog.run.started.v1"
    assert records.last_offset(0) == 4


def written(n: int, thread_id: str = "t1", size: int = 10) -> CheckpointWritten:
    return CheckpointWritten(thread_id=thread_id, run_id="r1", attempt=2, body=b"%d" % n + b"c" * size)


def writes(n: int) -> CheckpointWrites:
    return CheckpointWrites(thread_id="t1", run_id="r1", attempt=2, body=b"w%d" % n)


async def test_checkpoints_and_writes_that_follow_one_another_share_a_record_with_the_number_of_the_last(
    io: IoLoop, log: FakeLog
) -> None:
    records = RunRecords(io, TASK, "t1")
    emitted = [written(1), writes(1), written(2), started(0), written(3), written(4, "t2"), writes(2), written(5)]
    for event in emitted:
        records.emit(event)
    await records.flush()
    assert log.ids() == [f"r1-2-{n}" for n in (3, 4, 5, 6, 8)]
    collected: list[Any] = []
    for record in log.records:
        event = events.decode(record.headers["ce_type"].removeprefix("langlog."), record.value)
        assert record.key == event.key
        collected += event.events() if isinstance(event, CheckpointSteps) else [event]
    assert collected == emitted


async def test_steps_say_when_each_was_made_and_stay_below_what_a_record_may_hold(io: IoLoop, log: FakeLog) -> None:
    records = RunRecords(io, TASK, "t1")
    emitted = [written(n, size=400) for n in range(6)]
    for event in emitted:
        records.emit(event)
    await records.flush()
    made = [events.decode("checkpoint.steps.v1", record.value) for record in log.records]
    assert [event for one in made if isinstance(one, CheckpointSteps) for event in one.events()] == emitted
    assert len(made) > 1 and all(len(record.value) < 2_000 for record in log.records)
    for one in made:
        assert isinstance(one, CheckpointSteps)
        times = [step.after_us for step in one.steps]
        assert times[0] == 0 and times == sorted(times)


async def test_records_of_many_threads_are_all_there_and_numbered_without_gaps(io: IoLoop, log: FakeLog) -> None:
    records = RunRecords(io, TASK, "t1")

    def emit() -> None:
        for n in range(200):
            records.emit(started(n))

    threads = [threading.Thread(target=emit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    await records.flush()
    assert log.ids() == [f"r1-2-{n}" for n in range(1, 801)]


@in_virtual_time
async def test_what_follows_a_flood_waits_longer_for_company_unless_somebody_waits_for_it() -> None:
    log = FakeLog()
    records = RunRecords(io_of(log), TASK, "t1")
    for count, linger_s in ((2, worker_log.FIRST_LINGER_S), (4, worker_log.LINGER_S)):
        for _ in range(count):
            records.emit(started(0))
        await asyncio.sleep(linger_s * 0.9)
        assert log.batches[-1:] != [count]
        await asyncio.sleep(linger_s * 0.2)
        assert log.batches[-1] == count
    records.emit(started(0))
    await asyncio.sleep(worker_log.FLOOD_LINGER_S * 0.5)
    records.emit(started(0))
    await asyncio.sleep(worker_log.FLOOD_LINGER_S * 0.4)
    assert log.batches == [2, 4]
    await asyncio.sleep(worker_log.FLOOD_LINGER_S * 0.2)
    assert log.batches == [2, 4, 2]
    records.emit(started(0))
    await records.flush()
    assert log.batches == [2, 4, 2, 1]


async def test_flushing_from_a_thread_blocks_until_everything_is_durable(io: IoLoop, log: FakeLog) -> None:
    records = RunRecords(io, TASK, "t1")

    def work() -> int:
        records.emit(started(1))
        records.flush_blocking()
        return len(log.records)

    assert await asyncio.to_thread(work) == 1


async def test_records_wait_for_a_log_that_is_away_and_a_second_copy_has_the_same_ids(io: IoLoop, log: FakeLog) -> None:
    records = RunRecords(io, TASK, "t1")
    log.trouble = [LogUnavailable("away"), AppendUnknown("may have landed")]
    records.emit(started(1))
    records.emit(started(2))
    await records.flush()
    assert log.ids() == ["r1-2-1", "r1-2-2", "r1-2-1", "r1-2-2"]


async def test_what_cannot_be_appended_is_told_to_whoever_waits_and_whoever_emits(io: IoLoop, log: FakeLog) -> None:
    records = RunRecords(io, TASK, "t1")
    log.trouble = [RecordTooLarge("too large")]
    records.emit(started(1))
    with pytest.raises(RecordTooLarge):
        await records.flush()
    with pytest.raises(RecordTooLarge):
        records.emit(started(2))


async def test_a_closed_attempt_appends_nothing_more(io: IoLoop, log: FakeLog) -> None:
    records = RunRecords(io, TASK, "t1")
    log.trouble = [LogUnavailable("away")] * 1000
    records.emit(started(1))
    flushing = asyncio.create_task(records.flush())
    await log.tried.wait()
    records.close()
    with pytest.raises(RecordsClosed):
        await flushing
    with pytest.raises(RecordsClosed):
        records.emit(started(2))
    assert log.records == []


async def test_the_last_record_comes_after_all_others_even_if_it_goes_to_another_partition(
    io: IoLoop, log: FakeLog
) -> None:
    records = RunRecords(io, TASK, "t1")
    records.emit(started(1))
    last = NewRecord("commands", "t1", b"{}", {"ce_id": "last"})
    await records.flush_with(last)
    assert log.ids() == ["r1-2-1", "last"]
    assert log.batches == [1, 1]
    log.appends_atomically = True
    records.emit(started(2))
    await records.flush_with(last)
    assert log.batches == [1, 1, 2]


async def test_a_body_over_the_limit_travels_in_parts_that_make_it_whole(io: IoLoop, log: FakeLog) -> None:
    records = RunRecords(io, TASK, "t1")
    body = bytes(n % 251 for n in range(2500))
    records.emit(CheckpointWritten(thread_id="t1", run_id="r1", attempt=2, body=body))
    await records.flush()
    parts = [events.decode("checkpoint.part.v1", record.value) for record in log.records]
    assert all(isinstance(part, CheckpointPart) for part in parts)
    assert b"".join(part.body for part in parts if isinstance(part, CheckpointPart)) == body
    assert [(p.index, p.count, p.whole) for p in parts if isinstance(p, CheckpointPart)] == [
        (n, 3, "checkpoint.written.v1") for n in range(3)
    ]
    assert len({p.blob_id for p in parts if isinstance(p, CheckpointPart)}) == 1


@pytest.mark.parametrize("log_kind", ["sqlite"])
class TestThroughTheLog:
    """With a real log and projection, and a record limit that makes parts of everything."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return msgspec.structs.replace(settings, max_record_bytes=1000)

    async def test_checkpoints_in_parts_are_put_together_by_the_projection(self, backbone: Backbone) -> None:
        io = IoLoop(backbone)
        saver = LogCheckpointer(RunRecords(io, None, ""), CheckpointReader(io))
        config: Any = {"configurable": {"thread_id": "t1", "checkpoint_ns": ""}}
        value = [f"{n:x}" for n in range(3000)]
        checkpoint: Any = {
            "v": 4,
            "id": "1",
            "ts": "",
            "channel_values": {"c": value},
            "channel_versions": {"c": "1"},
            "versions_seen": {},
        }
        place = await saver.aput(config, checkpoint, {"source": "loop", "step": 0}, {"c": "1"})
        await saver.aput_writes(place, [("c", value)], "task")
        result = await saver.aget_tuple(config)
        assert result is not None
        assert result.checkpoint["channel_values"] == {"c": value}
        assert result.pending_writes == [("task", "c", value)]
