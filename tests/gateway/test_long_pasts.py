"""Streams of runs whose frames Postgres alone holds: read page by page, however long the past is and however slow its client."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from langlog_gateway.streams import backlog
from langlog_gateway.streams.backlog import RECORDED_BYTES, Backlog
from langlog_gateway.streams.sse import Batch
from langlog_gateway.streams.stream_out import StreamOut
from langlog_schemas import frames
from langlog_schemas.frames import ATTEMPT_SPAN, Frame, FrameBatch

from .conftest import Attempt, Stack, make_thread


async def ends_at_once(attempt: Attempt) -> None:
    await attempt.finish({})


async def recorded_run(stack: Stack, batches: list[FrameBatch]) -> str:
    """Return the path of a run whose frames Postgres alone holds, and that is over."""
    thread_id = await make_thread(stack)
    _, run = await stack.call("POST", f"/threads/{thread_id}/runs", {"assistant_id": "echo", "stream_resumable": True})
    path = f"/threads/{thread_id}/runs/{run['run_id']}"
    await stack.call("GET", f"{path}/join")
    rows = [
        (
            run["run_id"],
            b.attempt,
            b.frames[0].sequence,
            thread_id,
            frames.encode(msgspec.structs.replace(b, run_id=run["run_id"])),
        )
        for b in batches
    ]
    await stack.backbone.pool.execute(
        "INSERT INTO frames SELECT * FROM unnest($1::text[], $2::int[], $3::int[], $4::text[], $5::bytea[])",
        *map(list, zip(*rows, strict=True)),
    )
    at = batches[-1].attempt, batches[-1].frames[-1].sequence
    await stack.backbone.pool.execute(
        "UPDATE runs SET attempt = $2, frame_count = $3 WHERE run_id = $1", run["run_id"], *at
    )
    return path


def batch(attempt: int, first: int, texts: list[str], ms: int | None = None) -> FrameBatch:
    made = [
        Frame(
            first + n,
            (first if ms is None else ms) + n,
            attempt_n(attempt, first + n),
            "values",
            msgspec.json.encode(text),
        )
        for n, text in enumerate(texts)
    ]
    return FrameBatch("", attempt, made, True)


def attempt_n(attempt: int, sequence: int) -> int:
    return (attempt - 1) * ATTEMPT_SPAN + sequence


async def texts_of(answer: Any) -> list[str]:
    lines = (await answer.text()).splitlines()
    return [msgspec.json.decode(line[6:]) for line in lines if line.startswith("data: ")]


async def test_of_a_long_past_only_a_page_is_held_for_a_client_that_does_not_read(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"{n} {'x' * 500_000}" for n in range(60)]
    stack.play = ends_at_once
    path = await recorded_run(stack, [batch(1, n + 1, [text]) for n, text in enumerate(texts)])
    read = written = most = 0
    stuck, goes_on = asyncio.Event(), asyncio.Event()
    opened, write = Backlog._opened, StreamOut.write

    async def counted(self: Backlog, new: FrameBatch) -> Batch:
        nonlocal read, most
        read += sum(len(frame.data) for frame in new.frames)
        most = max(most, read - written)
        return await opened(self, new)

    async def slowly(out: StreamOut, data: bytes) -> None:
        nonlocal written
        stuck.set()
        await goes_on.wait()
        await write(out, data)
        written += len(data)

    monkeypatch.setattr(Backlog, "_opened", counted)
    monkeypatch.setattr(StreamOut, "write", slowly)
    async with stack.http.get(f"{stack.url}{path}/stream", headers={"Last-Event-ID": "0"}) as joined:
        await stuck.wait()
        assert 0 < read < 2 * RECORDED_BYTES
        goes_on.set()
        assert await texts_of(joined) == texts
    assert most < 3 * RECORDED_BYTES


async def test_pages_of_a_past_go_on_where_the_client_was_and_leave_out_lost_attempts(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "RECORDED_BATCHES", 2)
    stack.play = ends_at_once
    path = await recorded_run(
        stack,
        [
            *(batch(1, n, [f"1 {n}"]) for n in range(1, 8)),  # from 6 on, the second attempt has begun
            *(batch(2, n, [f"2 {n}", f"2 {n + 1}"], ms=4 + n) for n in range(1, 10, 2)),
        ],
    )
    whole = [*(f"1 {n}" for n in range(1, 6)), *(f"2 {n}" for n in range(1, 11))]
    async with stack.http.get(f"{stack.url}{path}/stream", headers={"Last-Event-ID": "0"}) as joined:
        assert await texts_of(joined) == whole
    for known, after in (
        (f"3-{attempt_n(1, 3)}", "1 3"),
        (f"8-{attempt_n(2, 4)}", "2 4"),
        (f"14-{attempt_n(2, 10)}", "2 10"),
    ):
        async with stack.http.get(f"{stack.url}{path}/stream", headers={"Last-Event-ID": known}) as joined:
            assert await texts_of(joined) == whole[whole.index(after) + 1 :]
