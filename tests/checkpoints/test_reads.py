"""Reads of a run: from what the attempt knows, else from the read model once that has passed what is in the log."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from langgraph.checkpoint.base.id import uuid6
from langlog_backbone.context import open_backbone
from langlog_backbone.process.settings import Settings
from langlog_backbone.time.clock import new_id
from langlog_executor.checkpoints.checkpointer import LogCheckpointer
from langlog_executor.checkpoints.overlay import Overlay
from langlog_executor.checkpoints.reader import CheckpointReader
from langlog_executor.runtime.command_sender import CommandSender
from langlog_executor.runtime.io_loop import IoLoop
from langlog_executor.runtime.records import CapturedRecords, RunRecords
from langlog_projector.service import ProjectorService
from langlog_schemas.commands import StoreOp, WriteStore
from langlog_schemas.messages import Task
from msgspec import Raw

from tests.checkpoints.unfenced import UnfencedRecords

pytestmark = pytest.mark.parametrize("log_kind", ["sqlite"])


def task(thread_id: str, **changes: Any) -> Task:
    fields = {
        "run_id": new_id(),
        "thread_id": thread_id,
        "attempt": 1,
        "assistant_id": "a",
        "graph_id": "g",
        "kwargs": b"{}",
        "metadata": b"{}",
        "created_at": "",
    }
    return Task(**{**fields, **changes})


def place(thread_id: str, checkpoint_id: str | None = None, ns: str = "") -> Any:
    members = {"thread_id": thread_id, "checkpoint_ns": ns}
    return {"configurable": members | ({"checkpoint_id": checkpoint_id} if checkpoint_id else {})}


async def put(saver: LogCheckpointer, thread_id: str, value: Any, parent: str | None = None, ns: str = "") -> str:
    version = saver.get_next_version(None, None)
    checkpoint: Any = {
        "v": 4,
        "id": str(uuid6()),
        "ts": "",
        "channel_values": {"c": value},
        "channel_versions": {"c": version},
        "versions_seen": {},
    }
    await saver.aput(place(thread_id, parent, ns), checkpoint, {"source": "loop", "step": 0}, {"c": version})
    return str(checkpoint["id"])


async def value_of(saver: LogCheckpointer, config: Any) -> Any:
    checkpoint = await saver.aget_tuple(config)
    return checkpoint and checkpoint.checkpoint["channel_values"]["c"]


class Counted(CheckpointReader):
    """Counts questions to Postgres."""

    asked = 0

    async def page(self, *args: Any, **kwargs: Any) -> Any:
        self.asked += 1
        return await super().page(*args, **kwargs)

    async def checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        self.asked += 1
        return await super().checkpoint(*args, **kwargs)


async def test_a_fresh_thread_is_never_asked_for(io: IoLoop) -> None:
    reader, thread_id = Counted(io), new_id()
    saver = LogCheckpointer(CapturedRecords(), reader, task=task(thread_id, fresh=True))
    assert await value_of(saver, place(thread_id)) is None
    first = await put(saver, thread_id, "one")
    await put(saver, thread_id, "two", first)
    assert await value_of(saver, place(thread_id)) == "two"
    assert await value_of(saver, place(thread_id, first)) == "one"
    assert await value_of(saver, place(thread_id, ns="child")) is None
    assert [t.checkpoint["channel_values"]["c"] async for t in saver.alist(place(thread_id))] == ["two", "one"]
    assert reader.asked == 0


async def test_what_was_read_once_is_not_asked_for_again(io: IoLoop) -> None:
    reader, thread_id = Counted(io), new_id()
    first = await put(LogCheckpointer(records := RunRecords(io, None, ""), reader), thread_id, "one")
    partition = io.backbone.log.partition_of(thread_id)
    later = task(thread_id, partition=partition, read_after=records.last_offset(partition))
    saver = LogCheckpointer(CapturedRecords(), reader, task=later)
    for _ in range(3):
        assert await value_of(saver, place(thread_id)) == "one"
        assert await value_of(saver, place(thread_id, first)) == "one"
    assert reader.asked == 1
    await put(saver, thread_id, "two", first)
    assert await value_of(saver, place(thread_id)) == "two"
    assert reader.asked == 1
    for _ in range(2):
        assert await value_of(saver, place(thread_id, ns="child")) is None
    assert reader.asked == 2


async def test_an_attempt_that_has_written_much_reads_its_older_checkpoints_from_the_read_model(io: IoLoop) -> None:
    reader, thread_id = Counted(io), new_id()
    own = task(thread_id, fresh=True, partition=io.backbone.log.partition_of(thread_id))
    overlay = Overlay(kept_bytes=2_000)
    saver = LogCheckpointer(UnfencedRecords(io, own, thread_id), reader, task=own, overlay=overlay)
    ids: list[str] = []
    for n in range(20):
        ids.append(await put(saver, thread_id, f"{n}" * 200, ids[-1] if ids else None))
        await saver.aput_writes(place(thread_id, ids[-1]), [("c", n)], "task")
    assert overlay.thinned
    assert await value_of(saver, place(thread_id)) == "19" * 200
    assert reader.asked == 0
    first = await saver.aget_tuple(place(thread_id, ids[0]))
    assert first is not None
    assert (first.checkpoint["channel_values"], first.pending_writes) == ({"c": "0" * 200}, [("task", "c", 0)])
    assert [t.checkpoint["id"] async for t in saver.alist(place(thread_id))] == ids[::-1]
    history = await saver.aget_delta_channel_history(config=place(thread_id, ids[-1]), channels=["other"])
    assert history == {"other": {"writes": []}}


async def test_a_read_waits_until_the_projection_has_passed_what_was_written(settings: Settings) -> None:
    async with open_backbone(settings) as backbone:
        io = IoLoop(backbone)
        saver = LogCheckpointer(RunRecords(io, None, ""), CheckpointReader(io))
        thread_id = new_id()
        await put(saver, thread_id, "one")
        reading = asyncio.create_task(value_of(saver, place(thread_id)))
        await asyncio.wait([reading], timeout=0.1)
        assert not reading.done()
        projector = ProjectorService(backbone)
        await projector.start()
        serving = asyncio.create_task(projector.serve())
        assert await asyncio.wait_for(reading, 60) == "one"
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await projector.stop()


async def test_a_run_waits_while_postgres_is_away_and_others_are_told(io: IoLoop) -> None:
    thread_id = new_id()

    class Away(CheckpointReader):
        failures = 0

        async def checkpoint(self, *args: Any, **kwargs: Any) -> Any:
            self.failures += 1
            if self.failures < 3:
                raise asyncpg.CannotConnectNowError("the database system is starting up")
            return await super().checkpoint(*args, **kwargs)

    reader = Away(io)
    saver = LogCheckpointer(CapturedRecords(), reader, task=task(thread_id))
    assert await value_of(saver, place(thread_id)) is None
    assert reader.failures == 3
    reader.failures = 0
    with pytest.raises(asyncpg.CannotConnectNowError):
        await LogCheckpointer(None, reader).aget_tuple(place(thread_id))


async def test_sync_methods_work_from_a_thread_and_refuse_to_block_the_io_loop(io: IoLoop) -> None:
    saver = LogCheckpointer(RunRecords(io, None, ""), CheckpointReader(io))
    thread_id = new_id()

    def work() -> Any:
        version = saver.get_next_version(None, None)
        checkpoint: Any = {
            "v": 4,
            "id": str(uuid6()),
            "ts": "",
            "channel_values": {"c": 1},
            "channel_versions": {"c": version},
            "versions_seen": {},
        }
        config = saver.put(place(thread_id), checkpoint, {"source": "loop", "step": 0}, {"c": version})
        saver.put_writes(config, [("c", 2)], "task")
        result = saver.get_tuple(config)
        assert result is not None
        assert [t.config for t in saver.list(place(thread_id), limit=5)] == [config]
        assert saver.get_delta_channel_history(config=config, channels=["c"]) == {"c": {"writes": []}}
        copied = new_id()
        saver.copy_thread(thread_id, copied)
        assert saver.get_tuple(place(copied)) is not None
        saver.delete_thread(thread_id)
        return saver.get_tuple(config), result.checkpoint["channel_values"], result.pending_writes

    assert await asyncio.to_thread(work) == (None, {"c": 1}, [("task", "c", 2)])
    with pytest.raises(RuntimeError, match="block the I/O loop"):
        saver.get_tuple(place(thread_id))


async def test_a_reply_that_is_lost_with_redis_is_found_in_the_read_model(
    io: IoLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = CommandSender(io)
    command = WriteStore(namespace=["n"], ops=[StoreOp(key="k", value=Raw(b"{}"))])
    await sender.send([command])
    monkeypatch.setattr("langlog_executor.runtime.command_sender.RECHECK_S", 0.05)
    await sender._replies.stop()
    (reply,) = await sender.send([command])
    assert reply.status == 200
