"""Streams of runs whose frames Postgres alone holds: read page by page, however long the past is and however slow its client."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec
import pytest
from langlog_backbone.redis import channels
from langlog_gateway.http.backends import Reads
from langlog_gateway.protocol.history import History
from langlog_gateway.streams import backlog
from langlog_gateway.streams.backlog import RECORDED_BYTES, Backlog
from langlog_gateway.streams.sequencer import FrameSequencer
from langlog_gateway.streams.sse import Batch
from langlog_gateway.streams.stream_out import StreamOut
from langlog_schemas import frames
from langlog_schemas.frames import ATTEMPT_SPAN, Frame, FrameBatch

from .conftest import Attempt, Stack, make_thread


async def ends_at_once(attempt: Attempt) -> None:
    await attempt.finish({})


async def recorded_run(stack: Stack, batches: list[FrameBatch], thread_id: str | None = None) -> str:
    """Return the path of a run whose frames Postgres alone holds, and that is over."""
    thread_id = thread_id or await make_thread(stack)
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


class Held:
    """Bytes of recorded frames that a gateway has read, and those among them that it still holds for a client that does not read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read = self.written = self.most = 0
        self.stuck, self.goes_on = asyncio.Event(), asyncio.Event()
        opened, write = Backlog._opened, StreamOut.write

        async def counted(backlog: Backlog, new: FrameBatch) -> Batch:
            self.count(sum(len(frame.data) for frame in new.frames))
            return await opened(backlog, new)

        async def slowly(out: StreamOut, data: bytes) -> None:
            if len(data) > 100_000:
                self.stuck.set()
                await self.goes_on.wait()
            await write(out, data)
            self.written += len(data)

        monkeypatch.setattr(Backlog, "_opened", counted)
        monkeypatch.setattr(StreamOut, "write", slowly)

    def count(self, size: int) -> None:
        self.read += size
        self.most = max(self.most, self.read - self.written)


async def texts_until(answer: Any, last: str) -> list[str]:
    """Return the texts of a stream's events up to one."""
    texts = []
    buffered = b""
    async for chunk in answer.content.iter_any():
        *lines, buffered = (buffered + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data: ") and isinstance(text := msgspec.json.decode(line[6:]), str):
                texts.append(text)
                if text == last:
                    return texts
    return texts


LONG = [f"{n} {'x' * 500_000}" for n in range(60)]


@pytest.mark.parametrize("of", ["run", "thread"])
async def test_of_a_long_past_only_a_page_is_held_for_a_client_that_does_not_read(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    stack.play = ends_at_once
    path = await recorded_run(stack, [batch(1, n + 1, [text]) for n, text in enumerate(LONG)])
    held = Held(monkeypatch)
    if of == "thread":
        path = path[: path.index("/runs")]
    async with stack.http.get(f"{stack.url}{path}/stream", headers={"Last-Event-ID": "0"}) as joined:
        await held.stuck.wait()
        assert 0 < held.read < 2 * RECORDED_BYTES
        held.goes_on.set()
        assert await texts_until(joined, LONG[-1]) == LONG
    assert held.most < 3 * RECORDED_BYTES


async def test_a_past_of_the_streaming_protocol_is_read_page_by_page(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.play = ends_at_once
    made = [batch(1, n + 1, [text]) for n, text in enumerate(LONG)]
    for number, new in enumerate(made):
        new.frames[0] = msgspec.structs.replace(new.frames[0], seq=number + 1)
    path = await recorded_run(stack, made)
    thread_id = path.split("/")[2]
    await stack.backbone.pool.execute(
        "UPDATE runs SET first_event_number = 1, last_event_number = $2 WHERE thread_id = $1", thread_id, len(LONG) + 1
    )
    held = Held(monkeypatch)
    reads = Reads(stack.backbone.pool, 5.0)
    known = Backlog(stack.backbone.pipe, reads, cast(Any, None))
    events = []
    async for some in History(reads, known).events(thread_id, 0, len(LONG)):
        events += [event.seq for event in some]
        held.written += sum(len(event.text) for event in some)
    assert events == list(range(1, len(LONG) + 1))
    assert held.most < 2 * RECORDED_BYTES


async def test_a_thread_s_stream_goes_on_with_the_runs_behind_the_event_that_the_client_has(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when that event is one of a lost attempt that others are not shown, as `in_turn` has it."""
    monkeypatch.setattr(backlog, "RECORDED_BATCHES", 2)
    stack.play = ends_at_once
    first = await recorded_run(stack, [batch(1, n, [f"a {n}"]) for n in range(1, 4)])
    thread_id = first.split("/")[2]
    retried = [
        *(batch(1, n, [f"b1 {n}"], ms=100 + n) for n in range(1, 6)),  # from 4 on, the second attempt has begun
        *(batch(2, n, [f"b2 {n}"], ms=102 + n) for n in range(1, 6)),
    ]
    await recorded_run(stack, retried, thread_id)
    await recorded_run(stack, [batch(1, n, [f"c {n}"], ms=200 + n) for n in range(1, 4)], thread_id)
    whole = ["a 1", "a 2", "a 3", "b1 1", "b1 2", "b1 3", *(f"b2 {n}" for n in range(1, 6)), "c 1", "c 2", "c 3"]
    for known, after in (
        ("0", ""),
        (f"2-{attempt_n(1, 2)}", "a 2"),
        (f"3-{attempt_n(1, 3)}", "a 3"),
        (f"102-{attempt_n(1, 2)}", "b1 2"),
        (f"105-{attempt_n(1, 5)}", "b1 3"),
        (f"105-{attempt_n(2, 3)}", "b2 3"),
        (f"202-{attempt_n(1, 2)}", "c 2"),
    ):
        path = f"{stack.url}/threads/{thread_id}/stream"
        async with stack.http.get(path, headers={"Last-Event-ID": known}) as joined:
            left = await texts_until(joined, "c 3")
        assert left == (whole[whole.index(after) + 1 :] if after else whole), known


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


async def published(stack: Stack, path: str, new: FrameBatch) -> None:
    """Publish a batch to those who follow the thread now, and to nobody else."""
    _, _, thread_id, _, run_id = path.split("/")
    new = msgspec.structs.replace(new, run_id=run_id)
    await stack.backbone.bus.publish_counted(channels.frames(thread_id), frames.encode(new))


async def test_a_long_gap_is_read_page_by_page(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    stack.play = ends_at_once
    path = await recorded_run(stack, [batch(1, n + 1, [text]) for n, text in enumerate(LONG)])
    held = Held(monkeypatch)
    reads = Reads(stack.backbone.pool, 5.0)
    known = Backlog(stack.backbone.pipe, reads, cast(Any, None))
    _, _, thread_id, _, run_id = path.split("/")
    sequencer = FrameSequencer(known, thread_id, run_id, recorded=True)
    live = Batch(msgspec.structs.replace(batch(1, len(LONG) + 1, ["live"]), run_id=run_id))
    taken = []
    async for slices in sequencer.take([live]):
        taken += [frame.sequence for new in slices for frame in new.frames]
        held.written += sum(len(frame.data) for new in slices for frame in new.frames)
    assert taken == list(range(1, len(LONG) + 2))
    assert held.most < 2 * RECORDED_BYTES


@pytest.mark.parametrize("of", ["run", "thread"])
async def test_a_stream_that_fills_a_gap_outlasts_postgres(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    going_on = asyncio.Event()

    async def until_then(attempt: Attempt) -> None:
        await going_on.wait()
        await attempt.finish({})

    stack.play = until_then
    thread_id = await make_thread(stack)
    body = {"assistant_id": "echo", "stream_resumable": True}
    _, run = await stack.call("POST", f"/threads/{thread_id}/runs", body)
    path = f"/threads/{thread_id}/runs/{run['run_id']}"
    failures = 0
    away = asyncio.Event()
    fetch = Reads.rows_as_stored

    class Away:
        """The pool of a server that is away, and comes back after a few reads of frames."""

        def __init__(self, pool: Any) -> None:
            self._pool = pool

        def __getattr__(self, name: str) -> Any:
            return getattr(self._pool, name)

        async def fetch(self, sql: str, *args: Any) -> Any:
            nonlocal failures
            if away.is_set() and "FROM frames" in sql and failures < 3:
                failures += 1
                raise ConnectionRefusedError("Postgres is away")
            return await self._pool.fetch(sql, *args)

    async def through(reads: Reads, sql: str, *args: Any) -> list[Any]:
        if not isinstance(reads._pool, Away):
            reads._pool = cast(Any, Away(reads._pool))
        return await fetch(reads, sql, *args)

    monkeypatch.setattr(Reads, "rows_as_stored", through)
    followed = path if of == "run" else f"/threads/{thread_id}"
    async with stack.http.get(f"{stack.url}{followed}/stream", headers={"Last-Event-ID": "0"}) as joined:
        await published(stack, path, batch(1, 1, ["first"]))
        assert await texts_until(joined, "first") == ["first"]
        missed = msgspec.structs.replace(batch(1, 2, ["missed"]), run_id=run["run_id"])
        await stack.backbone.pool.execute(
            "INSERT INTO frames VALUES ($1, 1, 2, $2, $3)", run["run_id"], thread_id, frames.encode(missed)
        )
        away.set()
        await published(stack, path, batch(1, 3, ["last"]))
        assert await texts_until(joined, "last") == ["missed", "last"]
    assert failures == 3
    going_on.set()
