"""Readers of streams: when they read, how fast, and which part; and that no reader is anybody else's business."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.loss.cluster import Cluster
from tests.streams.conftest import BUFFER_FRAMES
from tests.streams.project.talkers import FLOOD_GATE_EVENTS, GATE_EVENTS
from tests.streams.reading import Client, Event, events_of
from tests.streams.test_resume import EVENTS, LOUD, TALK, done, ticks

pytestmark = pytest.mark.asyncio(loop_scope="session")

FROM_NOW_ON = "no id"
"""A join without a last id gets all of a run that is as young as those of tests."""
FLOOD = {"events": 5000, "bytes": 4000}
FAR = 4000
"""Events of a flood that are more than sockets and the gateway hold for a reader that does not read."""


async def streamed(http: aiohttp.ClientSession, path: str, **body: Any) -> list[Event]:
    async with http.post(path, json=body) as answer:
        assert answer.status == 200, await answer.text()
        return [event async for event in events_of(answer)]


async def test_a_stream_begins_with_the_run_s_first_event_whatever_else_begins(http: aiohttp.ClientSession) -> None:
    body = {"assistant_id": "talker", "input": {"events": 5, "pause": 0}, "stream_mode": ["custom"]}
    body["stream_subgraphs"] = True
    for events in await asyncio.gather(*(streamed(http, "/runs/stream", **body) for _ in range(60))):
        assert [event.name for event in events][:2] == ["metadata", "custom"]
        assert ticks(events) == list(range(5))


async def test_the_stream_of_a_thread_has_all_of_a_run_that_begins_later(
    http: aiohttp.ClientSession, client: Client
) -> None:
    async with http.post("/threads", json={"thread_id": client.thread}) as answer:
        assert answer.status == 200
    opened = asyncio.Event()
    ends: list[Event] = []

    def second_end(event: Event) -> bool:
        if event.name == "metadata" and "status" in event.json:
            ends.append(event)
        return len(ends) == 2

    whole = asyncio.create_task(client.read("stream", None, until=second_end, opened=opened))
    await opened.wait()
    path = f"/threads/{client.thread}/runs/stream"
    body = {"assistant_id": "talker", "input": TALK, "stream_mode": ["custom", "updates"]}
    runs = [await streamed(http, path, **body) for _ in range(2)]
    received = [(event.name, event.data) for event in (await whole)[0]]
    for run in runs:
        end = received.index(("metadata", ends[0].data))
        assert received[:end] == [(event.name, event.data) for event in run]
        received, ends = received[end + 1 :], ends[1:]
    assert received == []


@pytest.mark.parametrize("resumable", [False, True])
async def test_who_joins_a_run_sees_what_is_still_to_come(client: Client, resumable: bool, tmp_path: Path) -> None:
    gated = {**TALK, "pause": 0, "gates": str(tmp_path)}
    run = await client.begin("talker", gated, **{**LOUD, "stream_resumable": resumable})
    path = f"runs/{run}/stream"
    joined = []
    for gate in (places := range(0, EVENTS, GATE_EVENTS)):
        opened = [asyncio.Event(), asyncio.Event()]
        joined.append(asyncio.create_task(client.read(path, FROM_NOW_ON, opened=opened[0])))
        behind = client.read(
            path, FROM_NOW_ON, opened=opened[1], until=lambda event, gate=gate: ticks([event]) == [gate]
        )
        passed = asyncio.create_task(behind)
        for event in opened:
            await event.wait()
        (tmp_path / str(gate)).touch()
        await passed
    first, *later = [events for events, _ in await asyncio.gather(*joined)]
    assert ticks(first) == list(range(EVENTS))
    for gate, events in zip(places[1:], later, strict=True):
        assert events == first[-len(events) :]
        assert ticks(events)[-(EVENTS - gate) :] == list(range(gate, EVENTS))
    assert await client.read(path, FROM_NOW_ON) == ([], True), "over: there is nothing to come"


async def test_a_slow_reader_is_cut_off_and_slows_nobody(
    http: aiohttp.ClientSession, cluster: Cluster, client: Client, tmp_path: Path
) -> None:
    """The flood goes no further ahead of the fast reader than the gateway holds, however seldom this process gets a processor."""
    async with http.post("/threads", json={"thread_id": client.thread}) as answer:
        assert answer.status == 200
    async with http.get(f"/threads/{client.thread}/stream") as slow:
        seen: list[int] = []
        far = asyncio.Event()

        async def read_fast() -> None:
            flood = {**FLOOD, "gates": str(tmp_path)}
            body = {"assistant_id": "flood", "input": flood, "stream_mode": "custom"}
            (tmp_path / "0").touch()
            async with http.post(f"/threads/{client.thread}/runs/stream", json=body) as answer:
                async for event in events_of(answer):
                    if event.name != "custom":
                        continue
                    seen.append(event.json["n"])
                    if len(seen) % FLOOD_GATE_EVENTS == 0:
                        (tmp_path / str(len(seen))).touch()
                    if len(seen) == FAR:
                        far.set()

        fast = asyncio.create_task(read_fast())
        await far.wait()
        late = [event async for event in events_of(slow)]
        await fast
    assert seen == list(range(FLOOD["events"]))
    assert late[-1].name == "error"
    assert late[-1].json["error"] == "SlowReader"
    read = [event.json["n"] for event in late if event.name == "custom"]
    assert read == list(range(len(read))), "what it got is the beginning, without a gap"
    assert len(read) < FAR + BUFFER_FRAMES
    run = late[0].json["run_id"]
    assert not await client.in_flight(run)


async def test_a_filter_by_mode_keeps_the_frames_of_subgraphs(client: Client) -> None:
    run = await client.begin("talker", TALK, **LOUD)
    whole, _ = await client.read(f"runs/{run}/stream")
    for mode in ("custom", "updates", "values"):
        events, _ = await client.read(f"runs/{run}/stream?stream_mode={mode}")
        assert events == [e for e in whole if e.name == "metadata" or e.name.partition("|")[0] == mode]
        assert any(event.name.startswith(f"{mode}|child:") for event in events)
        assert any(event.name == mode for event in events)
    events, _ = await client.read(f"runs/{run}/stream?stream_mode=nonsense")
    assert [event.name for event in events] == ["metadata"]


async def test_errors_tell_no_secrets(http: aiohttp.ClientSession, client: Client) -> None:
    modes = ["tasks", "debug", "checkpoints", "events"]
    run = await client.begin("failing", {"events": 1}, stream_mode=modes, stream_resumable=True)
    events, _ = await client.read(f"runs/{run}/stream")
    assert (events[-1].name, events[-1].json["error"]) == ("error", "ConnectionError")
    received = [events[-1].data.decode(), str(await client.join(run))]
    assert not [event for event in events if b"hunter2" in event.data]
    for path in (f"/threads/{client.thread}", f"/threads/{client.thread}/state"):
        async with http.get(path) as answer:
            received.append(await answer.text())
    for text in received:
        assert "cannot reach" in text
        assert "hunter2" not in text


async def test_a_stream_of_a_run_that_is_not_there_says_so(client: Client) -> None:
    run = await client.begin("talker", {"events": 1})
    await client.join(run)
    events, _ = await client.read(f"runs/{uuid.uuid4()}/stream")
    assert [(event.name, event.json) for event in events] == [
        ("error", {"error": "HTTPException", "message": "404: Run not found"})
    ]


async def test_the_stream_of_a_thread_closes_a_cancelled_run_too(http: aiohttp.ClientSession, client: Client) -> None:
    run = await client.begin("talker", {**TALK, "events": 10_000}, **LOUD)
    await client.read("stream", "-", count=5)
    async with http.post(f"/threads/{client.thread}/runs/{run}/cancel") as answer:
        assert answer.status == 202
    events, _ = await client.read("stream", "-", until=done(run))
    assert ticks(events) == list(range(len(ticks(events))))
