"""Frames out: numbered without gaps, in few batches, and in the log when the run is resumable."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from langlog_backbone.context import Backbone
from langlog_backbone.metrics import table
from langlog_backbone.process.server_errors import RedisUnavailable
from langlog_backbone.redis import channels
from langlog_backbone.redis.client import RedisPipe
from langlog_backbone.time.clock import now_ms
from langlog_backbone.values.compression import restored
from langlog_executor.frames import publisher as frames_out
from langlog_executor.frames.publisher import FramesOut
from langlog_executor.runtime.io_loop import IoLoop
from langlog_executor.runtime.records import CapturedRecords
from langlog_schemas import events, frames
from langlog_schemas.frames import Frame, FrameBatch
from langlog_schemas.messages import Task

from tests.executor.test_run_stream import task_for

LIMIT_S = 60.0
"""Whatever else the machine does."""


class Watch:
    """The frames that a gateway would receive of a thread."""

    def __init__(self) -> None:
        self.batches: list[FrameBatch] = []
        self._more = asyncio.Event()

    def on_message(self, data: bytes) -> None:
        self.batches.append(frames.decode(restored(data)))
        self._more.set()

    async def heard(self, count: int) -> list[Frame]:
        """All frames so far, once there are that many."""
        async with asyncio.timeout(LIMIT_S):
            while len(self.frames) < count:
                self._more.clear()
                await self._more.wait()
        return self.frames

    @property
    def frames(self) -> list[Frame]:
        return [frame for batch in self.batches for frame in batch.frames]


@pytest.fixture
def task() -> Task:
    return task_for({"assistant_id": "echo"})


@pytest.fixture
async def watch(backbone: Backbone, task: Task) -> AsyncIterator[Watch]:
    result = Watch()
    await backbone.bus.subscribe(channels.frames(task.thread_id), result.on_message)
    yield result
    await backbone.bus.unsubscribe(channels.frames(task.thread_id), result.on_message)


async def backlog(backbone: Backbone, task: Task) -> list[Frame]:
    """Return the content of the thread's Redis stream."""
    pipe = backbone.pipe
    entries = await pipe.call("XRANGE", pipe.key(channels.frames(task.thread_id)), "-", "+")
    return [frame for _, fields in entries for frame in frames.decode(restored(fields[1])).frames]


async def kept(backbone: Backbone, task: Task) -> None:
    """Until the thread's Redis stream holds something."""
    client = RedisPipe(backbone.settings, patient=True)  # whoever shares a connection with a call that blocks waits too
    try:
        async with asyncio.timeout(LIMIT_S):
            await client.call("XREAD", "BLOCK", 0, "STREAMS", backbone.pipe.key(channels.frames(task.thread_id)), "0")
    finally:
        client.drop()


async def test_no_frame_of_two_attempts_has_the_same_id(
    io: IoLoop, backbone: Backbone, task: Task, watch: Watch
) -> None:
    floor = (
        now_ms() + 3_600_000
    )  # a thread whose ids are ahead of the clock: both attempts begin in the same millisecond
    for attempt in (1, 2):
        out = FramesOut(io, msgspec.structs.replace(task, attempt=attempt, frame_floor_ms=floor))
        for number in range(3):
            out.emit("custom", b"%d" % number)
        await out.finish()
    ids = [(frame.ms, frame.n) for frame in await watch.heard(6)]
    assert {ms for ms, _ in ids} == {floor + 1}
    assert ids == sorted(set(ids))


async def test_frames_that_redis_does_not_take_are_counted_as_lost(
    io: IoLoop, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> Any:
        raise RedisUnavailable("connection refused")

    monkeypatch.setattr(io.backbone.pipe, "call", away)
    published, lost = table.FRAMES._value.get(), table.FRAMES_LOST._value.get()
    out = FramesOut(io, task)
    for number in range(3):
        out.emit("custom", b"%d" % number)
    await out.finish()
    assert (table.FRAMES._value.get() - published, table.FRAMES_LOST._value.get() - lost) == (0, 3)


async def test_frames_are_numbered_published_and_kept(io: IoLoop, backbone: Backbone, task: Task, watch: Watch) -> None:
    out = FramesOut(io, task)
    for number in range(5):
        out.emit("custom", b"%d" % number)
    await out.finish()
    got = await watch.heard(5)
    assert [(f.sequence, f.event, f.data) for f in got] == [(n + 1, "custom", b"%d" % n) for n in range(5)]
    assert len({f.id for f in got}) == 5
    assert await backlog(backbone, task) == got
    assert (
        0
        < await backbone.pipe.call("TTL", backbone.pipe.key(channels.frames(task.thread_id)))
        <= io.backbone.settings.frames_kept_s
    )


async def test_a_flood_travels_in_few_batches(io: IoLoop, task: Task, watch: Watch) -> None:
    out = FramesOut(io, task)

    def flood() -> None:
        for number in range(2000):
            out.emit("custom", b"%d" % number)

    thread = threading.Thread(target=flood)
    thread.start()
    await asyncio.to_thread(thread.join)
    await out.finish()
    got = await watch.heard(2000)
    assert [f.sequence for f in got] == list(range(1, 2001))
    assert len(watch.batches) < 200


async def test_there_is_room_again_when_what_waited_has_left(io: IoLoop, task: Task, watch: Watch) -> None:
    out = FramesOut(io, task)
    assert out.room() is None
    for _ in range(20):
        out.emit("custom", bytes(1_000_000))
    waiting = out.room()
    assert waiting is not None
    async with asyncio.timeout(LIMIT_S):
        await waiting
    assert out.room() is None
    given_up = FramesOut(io, task)
    for _ in range(20):
        given_up.emit("custom", bytes(1_000_000))
    waiting = given_up.room()
    assert waiting is not None
    given_up.close()
    await waiting


async def test_a_lone_frame_does_not_wait(
    io: IoLoop, task: Task, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames_out, "LINGER_S", 60.0)
    FramesOut(io, task).emit("metadata", b"{}")
    assert [f.event for f in await watch.heard(1)] == ["metadata"]


async def test_a_stream_expires_from_its_first_batch_on_and_is_noted_when_the_run_ends(
    io: IoLoop, backbone: Backbone, task: Task, watch: Watch
) -> None:
    out = FramesOut(io, task)
    out.emit("metadata", b"{}")
    await watch.heard(1)
    stream = backbone.pipe.key(channels.frames(task.thread_id))
    async with asyncio.timeout(LIMIT_S):
        while await backbone.pipe.call("PTTL", stream) <= 0:
            await asyncio.sleep(0)
    order = backbone.pipe.key("frame-index", "order")
    assert await backbone.pipe.call("ZSCORE", order, task.thread_id) is None
    await out.finish()
    await backbone.pipe.flush()
    assert await backbone.pipe.call("ZSCORE", order, task.thread_id) is not None


async def test_a_stream_that_goes_on_is_noted_before_its_end(
    io: IoLoop, backbone: Backbone, task: Task, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames_out, "NOTE_AFTER_S", 0.0)
    out = FramesOut(io, task)
    order = backbone.pipe.key("frame-index", "order")
    async with asyncio.timeout(LIMIT_S):
        for count in range(1, 1_000):
            out.emit("values", b"{}")
            await watch.heard(count)
            if await backbone.pipe.call("ZSCORE", order, task.thread_id) is not None:
                break
    assert await backbone.pipe.call("ZSCORE", order, task.thread_id) is not None
    await out.finish()


async def test_finishing_sends_what_lingers(
    io: IoLoop, task: Task, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames_out, "LINGER_S", 60.0)
    monkeypatch.setattr(frames_out, "FLOOD_S", 60.0)
    out = FramesOut(io, task)
    out.emit("metadata", b"{}")
    await watch.heard(1)
    out.emit("values", b"{}")
    await out.finish()
    assert [f.event for f in await watch.heard(2)] == ["metadata", "values"]


async def test_what_nobody_hears_waits_for_company_and_goes_out_at_once_when_somebody_does(
    io: IoLoop, backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames_out, "UNHEARD_S", 60.0)
    out = FramesOut(io, task)
    out.emit("metadata", b"{}")
    await kept(backbone, task)
    for _ in range(3):
        out.emit("values", b"{}")
    assert len(await backlog(backbone, task)) == 1
    await out.finish()
    pipe = backbone.pipe
    assert [f.sequence for f in await backlog(backbone, task)] == [1, 2, 3, 4]
    assert await pipe.call("XLEN", pipe.key(channels.frames(task.thread_id))) == 2
    watch = Watch()
    await backbone.bus.subscribe(channels.frames(task.thread_id), watch.on_message)
    monkeypatch.setattr(frames_out, "UNHEARD_S", 0.01)
    out.emit("values", b"{}")
    await watch.heard(1)
    monkeypatch.setattr(frames_out, "UNHEARD_S", 60.0)
    out.emit("custom", b"{}")
    assert [f.sequence for f in await watch.heard(2)] == [5, 6]
    await backbone.bus.unsubscribe(channels.frames(task.thread_id), watch.on_message)


async def test_the_loop_is_woken_once_for_frames_that_nobody_hears(
    io: IoLoop, backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames_out, "UNHEARD_S", 60.0)
    woken: list[Any] = []

    def post(*call: Any) -> None:
        woken.append(call)
        IoLoop.post(io, *call)

    monkeypatch.setattr(io, "post", post)
    out = FramesOut(io, task)
    out.emit("metadata", b"{}")
    await kept(backbone, task)
    await backbone.pipe.flush()  # after the reply about subscribers
    for _ in range(3):
        out.emit("values", b"{}")
    assert len(woken) == 1
    await out.finish()
    assert [f.sequence for f in await backlog(backbone, task)] == [1, 2, 3, 4]
    out.emit("values", b"{}")
    assert len(woken) == 2


async def test_ids_start_above_the_floor_also_when_that_is_in_the_future(io: IoLoop, task: Task, watch: Watch) -> None:
    floor = now_ms() + 60_000
    out = FramesOut(io, msgspec.structs.replace(task, frame_floor_ms=floor))
    out.emit("metadata", b"{}")
    out.emit("values", b"{}")
    await out.finish()
    assert [f.id for f in await watch.heard(2)] == [f"{floor + 1}-0", f"{floor + 1}-1"]
    assert out.last_ms == floor + 1


async def test_a_large_frame_travels_alone(io: IoLoop, task: Task, watch: Watch) -> None:
    out = FramesOut(io, task)
    sizes = [10, frames_out.MAX_BATCH_BYTES * 2, 10]
    for size in sizes:
        out.emit("custom", b"x" * size)
    await out.finish()
    await watch.heard(3)
    assert [[len(f.data) for f in batch.frames] for batch in watch.batches] == [[x] for x in sizes]


async def test_frames_of_a_resumable_run_are_handed_to_the_log_in_pieces_that_fit(
    backbone: Backbone, task: Task
) -> None:
    small = msgspec.structs.replace(backbone.settings, max_record_bytes=10_000)
    io, records = IoLoop(backbone._replace(settings=small)), CapturedRecords()
    out = FramesOut(io, task, resumable=True, records=records)
    for _ in range(10):
        out.emit("custom", b"x" * 4_000)
    out.emit("custom", b"x" * 20_000)  # no record can hold it
    await out.finish()
    result: list[Any] = records.events
    assert all(isinstance(event, events.RunFrames) and len(event.frames) <= 10_000 for event in result)
    batches = [frames.decode(event.frames) for event in result]
    assert [f.sequence for batch in batches for f in batch.frames] == list(range(1, 11))
    assert [event.first_sequence for event in result] == [batch.frames[0].sequence for batch in batches]


async def test_nothing_is_sent_after_closing(io: IoLoop, backbone: Backbone, task: Task) -> None:
    out = FramesOut(io, task)
    out.close()
    out.emit("values", b"{}")
    await out.finish()
    assert await backlog(backbone, task) == []


async def test_a_frame_too_large_for_a_channel_arrives_in_its_order(io: IoLoop, task: Task, watch: Watch) -> None:
    large = msgspec.json.encode(os.urandom(4_000_000).hex())
    out = FramesOut(io, task)
    for data in (b"1", large, b"3"):
        out.emit("custom", data)
    await out.finish()
    assert [frame.data for frame in await watch.heard(3)] == [b"1", large, b"3"]
