"""Streams of runs and threads over HTTP: every frame once, joined, resumed, and ended with their run or by their reader."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import structlog
from langlog_backbone.metrics.table import SLOW_READERS
from langlog_backbone.time import sources
from langlog_gateway.runs.submission import RunSubmission
from langlog_gateway.streams import slow_readers
from langlog_gateway.streams.sse import Batch
from langlog_gateway.streams.stream_out import PORTION_BYTES, StreamOut
from langlog_gateway.streams.watch import Watch, Watches
from langlog_schemas import events as ev

from tests.stack.sources import SteppedClock

from .conftest import Attempt, MakeStack, Stack, echo, make_thread, read_events

UNKNOWN = "00000000-0000-4000-8000-000000000000"


async def test_a_stream_has_every_frame_once_and_ends(stack: Stack) -> None:
    async def play(attempt: Attempt) -> None:
        await attempt.emit(("metadata", {"attempt": 1}), live=False)  # published before anyone could listen
        await attempt.emit(("values", {"n": 1}), ("updates|child:1", {"n": 2}))
        await attempt.emit(("custom", "lost on the way"), live=False)
        await attempt.emit(("values", {"n": 3}))
        await attempt.emit(("values", {"n": 4}), live=False)
        await attempt.finish({"n": 4})

    stack.play = play
    async with stack.http.post(f"{stack.url}/runs/stream", data=b'{"assistant_id": "echo"}') as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert re.fullmatch("/runs/[0-9a-f-]{36}/stream", answer.headers["location"])
        assert await stack.events(answer) == [
            ("metadata", {"attempt": 1}),
            ("values", {"n": 1}),
            ("updates|child:1", {"n": 2}),
            ("custom", "lost on the way"),
            ("values", {"n": 3}),
            ("values", {"n": 4}),
        ]


async def test_a_new_attempt_begins_the_stream_again(stack: Stack) -> None:
    async def play(attempt: Attempt) -> None:
        await attempt.emit(("metadata", {"attempt": attempt.task.attempt}), ("values", attempt.task.attempt))
        if attempt.task.attempt == 1:
            from langlog_schemas import commands as cmd

            from .conftest import append

            again = cmd.RequeueRun(
                thread_id=attempt.task.thread_id, run_id=attempt.task.run_id, attempt=1, reason="drained"
            )
            await append(stack.backbone, cmd.TOPIC, again.key, again.TYPE, cmd.encode(again), "again")
        else:
            await attempt.finish({})

    stack.play = play
    async with stack.http.post(f"{stack.url}/runs/stream", data=b'{"assistant_id": "echo"}') as answer:
        assert await stack.events(answer) == [
            ("metadata", {"attempt": 1}),
            ("values", 1),
            ("metadata", {"attempt": 2}),
            ("values", 2),
        ]


FROM_NOW_ON = {"Last-Event-ID": "no id"}
"""A join without the header gets all of a run that is as young as those of tests."""


async def test_joining_a_live_run_shows_what_comes_and_can_be_filtered(stack: Stack) -> None:
    going, more = asyncio.Event(), asyncio.Event()

    async def play(attempt: Attempt) -> None:
        await attempt.emit(("metadata", {}), ("values", 1))
        going.set()
        await more.wait()
        await attempt.emit(("values", 2), ("messages", [3]), ("messages/partial", [4]), ("updates|a:1", 5))
        await attempt.finish({})

    stack.play = play
    thread_id = await make_thread(stack)
    _, run = await stack.call("POST", f"/threads/{thread_id}/runs", {"assistant_id": "echo"})
    await going.wait()
    path = f"{stack.url}/threads/{thread_id}/runs/{run['run_id']}/stream"
    async with (
        stack.http.get(path, headers={"Last-Event-ID": "-1"}) as everything,
        stack.http.get(f"{path}?stream_mode=messages-tuple&stream_mode=updates", headers=FROM_NOW_ON) as some,
        stack.http.get(f"{path}?stream_mode=zzz", headers=FROM_NOW_ON) as nothing,
    ):
        more.set()
        assert await stack.events(everything) == [
            ("values", 2),
            ("messages", [3]),
            ("messages/partial", [4]),
            ("updates|a:1", 5),
        ]
        assert await stack.events(some) == [("messages", [3]), ("messages/partial", [4]), ("updates|a:1", 5)]
        assert await stack.events(nothing) == []
    async with stack.http.get(path, headers=FROM_NOW_ON) as late:
        assert await stack.events(late) == []
    # whatever the machine does, it was quick, and is younger than a moment
    young = "UPDATE runs SET created_at = now() + interval '60 s', ended_at = now() + interval '60.1 s'"
    await stack.backbone.pool.execute(young)
    async with stack.http.get(path) as early:
        assert [name for name, _ in await stack.events(early)][:2] == ["metadata", "values"]
    await stack.backbone.pool.execute("UPDATE runs SET created_at = created_at - interval '3 s'")
    async with stack.http.get(path) as late:
        assert await stack.events(late) == []
    async with stack.http.get(path.replace(run["run_id"], UNKNOWN)) as unknown:
        assert await stack.events(unknown) == [("error", {"error": "HTTPException", "message": "404: Run not found"})]


async def test_a_resumable_stream_goes_on_after_the_last_event_known(stack: Stack) -> None:
    going, more = asyncio.Event(), asyncio.Event()

    async def play(attempt: Attempt) -> None:
        await attempt.emit(("metadata", {}), ("values", 1), ("values", 2))
        going.set()
        await more.wait()
        await attempt.emit(("values", 3))
        await attempt.finish({})

    stack.play = play
    body = msgspec.json.encode({"assistant_id": "echo", "stream_resumable": True, "on_completion": "keep"})
    async with stack.http.post(f"{stack.url}/runs/stream", data=body) as answer:
        run_id = answer.headers["location"].split("/")[2]
        await going.wait()
        thread_id = await stack.backbone.pool.fetchval("SELECT thread_id FROM runs WHERE run_id = $1", run_id)
        path = f"{stack.url}/threads/{thread_id}/runs/{run_id}/stream"
        events = read_events(answer)
        seen = [await anext(events) for _ in range(3)]
        assert all(re.fullmatch(r"\d{13}-\d+", id or "") for _, _, id in seen)
        async with stack.http.get(path, headers={"Last-Event-ID": seen[1][2] or ""}) as joined:
            more.set()
            assert await stack.events(joined) == [("values", 2), ("values", 3)]
        assert [(name, data) async for name, data, _ in events] == [("values", 3)]
    async with stack.http.get(path, headers={"Last-Event-ID": "0"}) as again:
        assert await stack.events(again) == [("metadata", {}), ("values", 1), ("values", 2), ("values", 3)]


async def test_a_long_past_is_written_in_portions(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{n}{'x' * 600_000}" for n in range(6)]

    async def play(attempt: Attempt) -> None:
        for text in texts:
            await attempt.emit(("values", text))
        await attempt.finish({})

    stack.play = play
    thread_id = await make_thread(stack)
    _, run = await stack.call("POST", f"/threads/{thread_id}/runs", {"assistant_id": "echo", "stream_resumable": True})
    path = f"/threads/{thread_id}/runs/{run['run_id']}"
    await stack.call("GET", f"{path}/join")
    written: list[int] = []
    write = StreamOut.write

    async def counted(out: StreamOut, data: bytes) -> None:
        written.append(len(data))
        await write(out, data)

    monkeypatch.setattr(StreamOut, "write", counted)
    async with stack.http.get(f"{stack.url}{path}/stream", headers={"Last-Event-ID": "0"}) as joined:
        lines = (await joined.text()).splitlines()
    assert [msgspec.json.decode(line[6:]) for line in lines if line.startswith("data: ")] == texts
    assert max(written) < 2 * PORTION_BYTES


async def test_a_client_that_leaves_takes_its_run_along_when_it_said_so(stack: Stack) -> None:
    from langlog_backbone.redis import channels

    running = asyncio.Event()
    stopped: asyncio.Queue[Any] = asyncio.Queue()

    async def play(attempt: Attempt) -> None:
        running.set()
        await asyncio.Event().wait()

    await stack.backbone.bus.subscribe(channels.CONTROL, lambda data: stopped.put_nowait(data))
    stack.play = play
    for path in ("/runs/stream", "/runs/wait"):
        running.clear()
        body = {"assistant_id": "echo", "on_disconnect": "cancel"}
        client = asyncio.create_task(stack.call("POST", path, body))
        await running.wait()
        client.cancel()
        await asyncio.wait_for(stopped.get(), 60)


async def test_silence_is_broken_by_heartbeats(make_stack: MakeStack) -> None:
    async with make_stack(heartbeat_s=0.2) as stack:
        heard = asyncio.Event()

        async def play(attempt: Attempt) -> None:
            await heard.wait()
            await attempt.finish({"a": 1})

        stack.play = play
        for path, beat, rest in (("wait", b"\n", b'{"a":1}'), ("stream", b": heartbeat\n\n", b"")):
            async with stack.http.post(f"{stack.url}/runs/{path}", data=b'{"assistant_id": "echo"}') as answer:
                assert await answer.content.readexactly(3 * len(beat)) == 3 * beat
                heard.set()
                assert (await answer.content.read()).replace(beat, b"") == rest
            heard.clear()


async def test_one_stream_too_many_is_429_and_a_slow_reader_is_cut_off_with_a_log_line(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_readers, "SLOW", slow_readers.SlowReaders())
    async with make_stack(max_streams=1, stream_buffer_frames=3) as stack:
        counted = asyncio.Event()

        async def play(attempt: Attempt) -> None:
            await counted.wait()
            await attempt.emit(*(("custom", n) for n in range(5)))
            await asyncio.Event().wait()

        stack.play = play
        async with stack.http.post(f"{stack.url}/runs/stream", data=b'{"assistant_id": "echo"}') as answer:
            assert (await stack.call("POST", "/runs/stream", {"assistant_id": "echo"}))[0] == 429
            counted.set()
            with structlog.testing.capture_logs() as logged:
                [(name, data)] = await stack.events(answer)
            assert (name, data["error"]) == ("error", "SlowReader")
        lines = [line for line in logged if line["event"] == "stream.reader_too_slow"]
        assert [(line["stream"], line["others"]) for line in lines] == [("/runs/stream", 0)]


def test_many_slow_readers_have_one_log_line_in_a_while_and_are_all_counted() -> None:
    clock, slow = SteppedClock(), slow_readers.SlowReaders()
    before = SLOW_READERS._value.get()
    with sources.replaced(clock=clock), structlog.testing.capture_logs() as logged:
        for _ in range(1000):
            slow.cut_off("/runs/stream")
        clock.ns += int(slow_readers.LOG_EVERY_S * 1e9)
        slow.cut_off("/threads/x/stream")
    assert [(line["stream"], line["others"]) for line in logged] == [("/runs/stream", 0), ("/threads/x/stream", 999)]
    assert SLOW_READERS._value.get() - before == 1001


@pytest.mark.parametrize("limits", [{"stream_buffer_bytes": 1_000}, {"stream_buffer_frames": 2}])
@pytest.mark.parametrize("over", [True, False], ids=["over", "running"])
async def test_a_run_that_is_quicker_than_the_reply_to_its_creation_has_no_slow_reader(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch, limits: dict[str, Any], over: bool
) -> None:
    """Its frames wait for a stream that has not begun: they are more than a reader may lag behind."""
    subscribed, arrived = asyncio.Event(), asyncio.Event()
    submit, ready, put, apply = RunSubmission.submit, Watches.ready, Watch.put, Watch.add
    values = [{"n": n, "text": "x" * 700} for n in range(4)]

    async def submitted(self: RunSubmission, run: Any) -> Any:
        reply = await submit(self, run)
        await arrived.wait()
        return reply

    async def listening(self: Watches, watch: Watch) -> None:
        await ready(self, watch)
        subscribed.set()

    def heard(self: Watch, batch: Batch) -> None:
        put(self, batch)
        if not over and batch.last == len(values):
            arrived.set()

    def updated(self: Watch, update: Any) -> None:
        apply(self, update)
        if isinstance(update.event, ev.RunEnded):
            arrived.set()

    monkeypatch.setattr(RunSubmission, "submit", submitted)
    monkeypatch.setattr(Watches, "ready", listening)
    monkeypatch.setattr(Watch, "put", heard)
    monkeypatch.setattr(Watch, "add", updated)

    async def play(attempt: Attempt) -> None:
        await subscribed.wait()
        for value in values:
            await attempt.emit(("values", value))
        if not over:
            await arrived.wait()
        await attempt.finish(values[-1])

    async with make_stack(**limits) as stack:
        stack.play = play
        async with stack.http.post(f"{stack.url}/runs/stream", data=b'{"assistant_id": "echo"}') as answer:
            assert await stack.events(answer) == [("values", value) for value in values]


async def test_the_thread_stream_shows_all_runs_from_start_to_end(stack: Stack) -> None:
    thread_id = await make_thread(stack)
    path = f"{stack.url}/threads/{thread_id}/stream"
    async with (
        stack.http.get(path) as runs,
        stack.http.get(f"{path}?stream_modes=lifecycle") as lifecycle,
    ):
        stack.play = echo
        for n in range(2):
            body = {"assistant_id": "echo", "input": n, "stream_resumable": n == 1}
            await stack.call("POST", f"/threads/{thread_id}/runs/wait", body)
        events = read_events(runs)
        seen = [await anext(events) for _ in range(6)]
        assert [name for name, _, _ in seen] == ["metadata", "values", "metadata"] * 2
        assert seen[2][1]["status"] == "run_done"
        ids = [tuple(map(int, (id or "").split("-"))) for _, _, id in seen]
        assert ids == sorted(ids)
        only = read_events(lifecycle)
        assert [(await anext(only))[0] for _ in range(4)] == ["metadata"] * 4
    async with stack.http.get(path, headers={"Last-Event-ID": "-"}) as again:
        events = read_events(again)
        assert [(await anext(events))[:2] for _ in range(3)] == [(name, data) for name, data, _ in seen[3:]]
    assert (await stack.call("GET", f"/threads/{thread_id}/stream?stream_modes=zzz"))[0] == 422


async def test_a_thread_is_joined_right_after_a_run_s_creation_with_all_of_it(stack: Stack) -> None:
    thread_id = await make_thread(stack)
    path, pool = f"{stack.url}/threads/{thread_id}/stream", stack.backbone.pool
    stack.play = echo
    for n in range(2):
        await stack.call("POST", f"/threads/{thread_id}/runs/wait", {"assistant_id": "echo", "input": n})
    first, second = [row["run_id"] for row in await pool.fetch("SELECT run_id FROM runs ORDER BY ordinal")]
    young = "UPDATE runs SET created_at = now() + $2, ended_at = now() + $2 + interval '0.1 s' WHERE run_id = $1"
    await pool.execute(young, first, timedelta(seconds=-10))
    await pool.execute(young, second, timedelta(seconds=60))  # whatever the machine does, it is younger than a moment
    going, more = asyncio.Event(), asyncio.Event()

    async def play(attempt: Attempt) -> None:
        await attempt.emit(("metadata", {"attempt": 1}), ("values", 1))
        going.set()
        await more.wait()
        await attempt.emit(("values", 2))
        await attempt.finish({})

    async with stack.http.get(path) as quick:
        events = read_events(quick)
        received = [await anext(events) for _ in range(3)]
        assert [name for name, _, _ in received] == ["metadata", "values", "metadata"]
        assert received[2][1] == {"status": "run_done", "run_id": second}
        stack.play = play
        _, run = await stack.call("POST", f"/threads/{thread_id}/runs", {"assistant_id": "echo"})
        await going.wait()
        await pool.execute("UPDATE runs SET created_at = now() + interval '60 s' WHERE run_id = $1", run["run_id"])
        async with stack.http.get(path) as live, stack.http.get(path, headers=FROM_NOW_ON) as now_on:
            early, later = read_events(live), read_events(now_on)
            assert [(await anext(early))[1] for _ in range(5)][3:] == [{"attempt": 1}, 1]
            more.set()
            end = {"status": "run_done", "run_id": run["run_id"]}
            assert [(await anext(early))[1] for _ in range(2)] == [2, end]
            assert [(await anext(later))[1] for _ in range(2)] == [2, end]
            assert [(await anext(events))[1] for _ in range(4)] == [{"attempt": 1}, 1, 2, end], "and nothing twice"


async def test_a_reader_that_stops_reading_is_dropped(make_stack: MakeStack) -> None:
    async with make_stack(stream_buffer_frames=20) as stack:
        gone = asyncio.Event()

        async def play(attempt: Attempt) -> None:
            while not gone.is_set():
                await attempt.emit(*(("custom", "x" * 100_000) for _ in range(10)), kept=False)
                await asyncio.sleep(0.01)  # a pace that others on the loop can keep

        stack.play = play
        port = int(stack.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
        body = b'{"assistant_id": "echo"}'
        writer.write(b"POST /runs/stream HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await reader.readuntil(b"\r\n")  # and then no more, so that the server's buffers fill up

        async def dropped() -> None:
            # the transport is paused: only probing with writes shows that the other side has let go
            while True:
                writer.write(b"\r\n")
                await asyncio.sleep(0.1)
                if writer.transport.is_closing():
                    return

        await asyncio.wait_for(dropped(), 60)
        gone.set()


async def test_a_run_that_fails_without_its_worker_says_so_on_its_stream(stack: Stack) -> None:
    async def play(attempt: Attempt) -> None:
        from langlog_schemas import commands as cmd

        from .conftest import append

        late = cmd.TimeOutRun(thread_id=attempt.task.thread_id, run_id=attempt.task.run_id, attempt=1)
        await append(stack.backbone, cmd.TOPIC, late.key, late.TYPE, cmd.encode(late), "late")

    stack.play = play
    async with stack.http.post(f"{stack.url}/runs/stream", data=b'{"assistant_id": "echo"}') as answer:
        [(name, data)] = await stack.events(answer)
        assert (name, data["error"]) == ("error", "TimeoutError")


async def test_head_of_a_stream_does_not_wait_for_it(stack: Stack) -> None:
    thread_id = await make_thread(stack)
    async with stack.http.head(f"{stack.url}/threads/{thread_id}/stream") as answer:
        assert answer.status == 200


async def test_a_stream_that_tells_less_than_was_seen_live_says_so(stack: Stack) -> None:
    thread_id = await make_thread(stack)
    over = asyncio.Event()

    async def play(attempt: Attempt) -> None:
        await attempt.emit(("metadata", {}))
        await attempt.emit(("custom", 1), ("custom", 2), kept=False)
        await attempt.emit(("custom", 3))
        await attempt.emit(("custom", 4), kept=False)
        await attempt.finish({})
        over.set()

    stack.play = play
    body = {"assistant_id": "echo", "stream_resumable": True, "stream_mode": ["custom"]}
    async with stack.http.post(f"{stack.url}/threads/{thread_id}/runs/stream", json=body) as answer:
        text = (await answer.read()).decode()
        run_id = answer.headers["content-location"].rpartition("/")[2]
    assert [line for line in text.splitlines() if line.startswith("data:")][1:] == [f"data: {n}" for n in (1, 2, 3, 4)]
    assert "missing" not in text
    path = f"/threads/{thread_id}/runs/{run_id}/stream"
    async with stack.http.get(stack.url + path, headers={"last-event-id": "-1"}) as answer:
        lines = [line for line in (await answer.read()).decode().splitlines() if line]
    comments = [line for line in lines if line.startswith(": ") and "missing" in line]
    assert [line.split()[1] for line in comments] == ["2", "1"]
    assert lines.index("data: 3") > lines.index(comments[0])
    assert lines[-1] == comments[1]
    assert "langlog_stream_events_missing_total 3\n" in (await stack.call("GET", "/metrics"))[1]


async def test_metrics_say_how_much_redis_holds(stack: Stack) -> None:
    lines = (await stack.call("GET", "/metrics"))[1].splitlines()
    result = dict(line.split() for line in lines if line.startswith("langlog_redis_"))
    assert int(result["langlog_redis_used_bytes"]) > 0
    assert result["langlog_redis_max_bytes"] == result["langlog_redis_frames_bytes"] == "0"
