"""Reads and writes of a graph on the host pass the worker as bytes: in order, compressed and encrypted, and never decoded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langlog_executor.checkpoints.checkpointer import LogCheckpointer
from langlog_executor.checkpoints.cipher import AesCipher, CheckpointCiphers
from langlog_executor.checkpoints.emission import UnstorableCheckpoint
from langlog_executor.checkpoints.overlay import Overlay
from langlog_executor.checkpoints.serde import OtherLanguage, ProjectSerializer, project_serializer
from langlog_executor.frames.protocol_events import ProtocolEvents
from langlog_executor.graph_host.checkpoint_calls import HELD_UP_BYTES, CheckpointCalls
from langlog_executor.graph_host.hosted_stream import HostedStream
from langlog_executor.runtime.records import CapturedRecords
from langlog_schemas import checkpoints as cp
from langlog_schemas.events import CheckpointWrites, CheckpointWritten
from langlog_schemas.messages import Task

STATE = b'{"v":4,"channel_versions":{"text":"1"}}'


def task() -> Task:
    return Task(
        run_id="r",
        thread_id="t",
        attempt=1,
        assistant_id="a",
        graph_id="g",
        kwargs=b"{}",
        metadata=b"{}",
        created_at="2026-01-01T00:00:00Z",
        fresh=True,
    )


class Calls:
    """Of a run on a fresh thread: nothing is read from elsewhere."""

    def __init__(self, serde: ProjectSerializer | None = None) -> None:
        self.records = CapturedRecords()
        self.overlay = Overlay()
        log = SimpleNamespace(partition_of=lambda _: 0, partitions=1)

        async def call(read: Coroutine[Any, Any, Any]) -> Any:
            return await read

        io = SimpleNamespace(backbone=SimpleNamespace(log=log), call=call)
        self.reader: Any = SimpleNamespace(serde=serde or project_serializer(), io=io)
        self.calls = CheckpointCalls(self.records, self.reader, task=task(), overlay=self.overlay)

    async def call(self, name: str, *args: Any) -> Any:
        waiting = self.calls.call(name, list(args))
        return None if waiting is None else await waiting

    async def put(self, id: str, text: bytes = b'"a"', *, kind: str = "js+json", thread: str = "t") -> None:
        blobs = [["text", id, kind, text]]
        await self.call("put", thread, "", None, id, kind, STATE, b'{"step":0}', {"text": id}, blobs, False)

    def written(self) -> list[cp.CheckpointBody | cp.WritesBody]:
        bodies: list[cp.CheckpointBody | cp.WritesBody] = []
        for event in self.records.events:
            match event:
                case CheckpointWritten():
                    bodies.append(cp.decode_checkpoint(event.body))
                case CheckpointWrites():
                    bodies.append(cp.decode_writes(event.body))
        return bodies


async def test_what_was_written_is_read_as_it_was() -> None:
    calls = Calls()
    await calls.put("1")
    await calls.call("writes", "t", "", "1", "task", "path", [[0, "text", "js+json", b'"b"']], False)
    found = await calls.call("get", "t", "", None)
    values, writes = {"text": ["js+json", b'"a"']}, [["task", "text", "js+json", b'"b"']]
    assert found == ["t", "", "1", None, "js+json", STATE, b'{"step":0}', values, writes]
    assert [getattr(event, "run_id", None) for event in calls.records.events] == ["r", "r"]
    assert await calls.call("get", "t", "elsewhere", None) is None


async def test_a_listing_comes_in_pages_the_newest_first() -> None:
    calls = Calls()
    for number in range(120):
        await calls.put(f"{number:03}")
    handle, page = await calls.call("list", "t", "", None, None, None, None)
    found = [stored[2] for stored in page]
    while handle:
        handle, page = await calls.call("next", handle)
        found += [stored[2] for stored in page]
    assert found == [f"{number:03}" for number in reversed(range(120))]
    handle, page = await calls.call("list", "t", "", None, "100", None, 2)
    assert [stored[2] for stored in page] == ["099", "098"]


@pytest.mark.parametrize("ciphers", [CheckpointCiphers(), CheckpointCiphers(AesCipher("k" * 16))], ids=["clear", "aes"])
async def test_large_and_encrypted_values_keep_the_order(ciphers: CheckpointCiphers) -> None:
    calls = Calls(project_serializer(ciphers=ciphers))
    large = json.dumps("x" * 2 * HELD_UP_BYTES).encode()
    await asyncio.gather(calls.put("1", large), calls.put("2"), calls.put("3", large), calls.put("4"))
    bodies = calls.written()
    assert [body.checkpoint_id for body in bodies] == ["1", "2", "3", "4"]
    first = bodies[0]
    assert isinstance(first, cp.CheckpointBody)
    assert first.blobs[0].type.startswith("js+json+zstd") and len(first.blobs[0].data) < 10_000
    found = await calls.call("get", "t", "", "3")
    assert found[7]["text"] == ["js+json", large]


async def test_an_address_that_cannot_be_stored_is_refused() -> None:
    calls = Calls()
    with pytest.raises(UnstorableCheckpoint):
        await calls.put("1\0")
    with pytest.raises(ValueError, match="js\\+"):
        await calls.put("1", kind="msgpack")
    assert calls.records.events == []


async def test_neither_language_opens_the_values_of_the_other() -> None:
    calls = Calls()
    await calls.put("1")
    python = LogCheckpointer(calls.records, calls.reader, task=task(), overlay=calls.overlay)
    with pytest.raises(OtherLanguage, match="written by a graph in JavaScript"):
        await python.aget_tuple({"configurable": {"thread_id": "t", "checkpoint_ns": ""}})
    other = {"configurable": {"thread_id": "t", "checkpoint_ns": "py"}}
    python.put(other, empty_checkpoint(), {}, {})
    with pytest.raises(OtherLanguage, match="written by a graph in Python"):
        await calls.call("get", "t", "py", None)


def test_what_a_graph_streams_becomes_frames() -> None:
    frames: list[tuple[str, bytes]] = []
    marks: list[str] = []

    def emit(name: str, data: bytes) -> None:
        frames.append((name, data))

    stream = HostedStream(emit, ProtocolEvents(emit, "g"), nested=True, mark=marks.append)
    stream.take([[1, "values", b'{"a":1}'], [5, "c1"], [0, "custom", b"1"], [2]])
    stream.take([[3, b'[{"id":"i","value":2}]']])
    assert [name for name, _ in frames] == [
        "values",
        "custom",
        "@@input.requested/i",
        "@@lifecycle/interrupted",
    ]
    assert stream.values_json == b'{"a":1}' and stream.interrupted and marks == ["c1"]
    with pytest.raises(ValueError, match="does not know"):
        stream.take([[99, b""]])
