"""Answers to clients while something behind the gateway is unavailable."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import psutil
import pytest
from langlog_backbone.embedded.servers import EmbeddedPostgres, EmbeddedRedis
from langlog_backbone.log.port import AppendUnknown, LogUnavailable, NewRecord, Position
from langlog_backbone.redis import channels
from langlog_gateway.http.backends import Reads
from langlog_gateway.http.errors import ApiError, unavailable
from langlog_gateway.runs.streaming import RunFollower
from langlog_gateway.runs.submission import SQL
from langlog_gateway.streams.watch import Watch, Watches
from langlog_projector.publishing.recent_replies import RecentReplies
from langlog_schemas.messages import Answer

from tests.outage.eventually import eventually

from .conftest import Attempt, MakeStack, Stack, read_events

LIMIT_S = 60.0
"""Whatever else the machine does."""


async def test_reads_are_503_while_postgres_is_away_and_come_back(make_stack: MakeStack, tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "own")
    await server.start()
    try:
        async with make_stack(database_uri=server.uri) as stack:
            _, thread = await stack.call("POST", "/threads", {})
            path = f"/threads/{thread['thread_id']}"
            await server.stop()
            async with stack.http.get(stack.url + path) as answer:
                assert (answer.status, answer.headers["retry-after"]) == (503, "1")
                assert isinstance((await answer.json())["detail"], str)
            for health in ("/ok", "/ok?check_db=1"):
                async with stack.http.get(stack.url + health) as answer:
                    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
                    assert (await answer.json())["detail"].startswith("Postgres ")
            await server.start()
            assert (await stack.call("GET", path))[0] == 200
            assert (await eventually(partial(_ok, stack)))[1]["ok"] is True
    finally:
        await server.stop()


async def _done(stack: Stack, *request: Any) -> tuple[int, Any] | None:
    body = await stack.call(*request)
    return body if body[0] == 200 else None


async def _ok(stack: Stack) -> tuple[int, Any] | None:
    return await _done(stack, "GET", "/ok")


def _each(processes: list[psutil.Process], act: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            act(process)


async def test_a_postgres_that_hangs_is_503_within_the_time_that_is_set(make_stack: MakeStack, tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "own")
    await server.start()
    assert server.child is not None
    processes = [psutil.Process(server.child.pid)]
    try:
        async with make_stack(database_uri=server.uri, read_timeout_s=0.5) as stack:
            _, thread = await eventually(partial(_done, stack, "POST", "/threads", {}))
            path = f"/threads/{thread['thread_id']}"
            processes += processes[0].children(recursive=True)
            _each(processes, psutil.Process.suspend)
            async with asyncio.timeout(LIMIT_S):
                # more than there are connections: those that wait for one are answered in time as well
                body = await asyncio.gather(*(stack.call("GET", path) for _ in range(30)), stack.call("GET", "/ok"))
            assert {status for status, _ in body} == {503}
            assert body[-1][1]["detail"] == "Postgres has not answered within 2 s"
            _each(processes, psutil.Process.resume)
            assert await eventually(partial(_done, stack, "GET", path))  # on a busy machine others may be late as well
    finally:
        _each(processes, psutil.Process.resume)
        await server.stop()


async def test_locked_tables_are_told_by_ok(stack: Stack) -> None:
    async with stack.backbone.pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE threads IN ACCESS EXCLUSIVE MODE")
        assert await stack.call("GET", "/ok") == (503, {"detail": "Postgres has not answered within 2 s"})
    assert await eventually(partial(_ok, stack))


async def test_a_log_whose_disk_is_full_is_told_by_ok(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        raise LogUnavailable("the log's disk takes no more")

    monkeypatch.setattr(stack.backbone.log, "check", check)
    assert await stack.call("GET", "/ok") == (503, {"detail": "The log is unavailable (LogUnavailable)"})
    monkeypatch.undo()
    assert await eventually(partial(_ok, stack))


@pytest.mark.parametrize(("error", "status"), [(LogUnavailable("gone"), 503), (AppendUnknown("late"), 504)])
async def test_writes_are_refused_while_the_log_is_away(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    async def append(records: list[NewRecord]) -> list[Position]:
        raise error

    monkeypatch.setattr(stack.backbone.log, "append", append)
    for path in ("/threads", "/runs"):
        assert (await stack.call("POST", path, {"assistant_id": "echo"}))[0] == status
    monkeypatch.undo()
    assert (await stack.call("POST", "/threads", {}))[0] == 200


async def test_a_read_that_fails_after_the_command_took_effect_is_504_and_a_repetition_gets_the_outcome(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 would say that nothing was changed."""
    read = Reads.row
    taken = asyncio.Event()
    append = stack.backbone.log.append

    async def appending(records: list[NewRecord]) -> list[Position]:
        positions = await append(records)
        taken.set()
        return positions

    async def failing(self: Reads, sql: str, *args: Any) -> Any:
        if taken.is_set():
            raise unavailable("Postgres")
        return await read(self, sql, *args)

    assistant = {"assistant_id": str(uuid4()), "graph_id": "echo"}
    made = await stack.call("POST", "/assistants", assistant)
    thread = (await stack.call("POST", "/threads", {}))[1]["thread_id"]
    changes: list[tuple[str, str, Any]] = [
        ("PATCH", f"/threads/{thread}", {"metadata": {"a": 1}}),
        ("PATCH", f"/assistants/{made[1]['assistant_id']}", {"metadata": {"a": 1}}),
        ("POST", f"/threads/{thread}/runs", {"assistant_id": "echo", "input": {}}),
        ("POST", "/threads", {"thread_id": str(uuid4())}),
    ]
    monkeypatch.setattr(Reads, "row", failing)
    monkeypatch.setattr(stack.backbone.log, "append", appending)
    for n, (method, path, body) in enumerate(changes):
        taken.clear()
        async with stack.http.request(
            method, stack.url + path, json=body, headers={"Idempotency-Key": f"key {n}"}
        ) as answer:
            text = await answer.text()
        assert (answer.status, answer.headers["retry-after"]) == (504, "1"), (path, text)
        assert "Postgres is unavailable. The request was accepted" in text
    taken.clear()
    assert (await stack.call("GET", f"/threads/{thread}"))[0] == 200
    taken.set()
    assert (await stack.call("GET", f"/threads/{thread}"))[0] == 503  # it changes nothing
    monkeypatch.undo()
    for n, (method, path, body) in enumerate(changes):
        status, body = await stack.call(method, path, body, headers={"Idempotency-Key": f"key {n}"})
        assert status == 200, (path, body)
    runs = (await stack.call("GET", f"/threads/{thread}/runs"))[1]
    assert len(runs) == 1


@pytest.mark.parametrize("way", ["wait", "stream"])
async def test_a_client_that_waits_outlasts_reads_that_fail(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    read = Reads.row
    failed: list[str] = []

    async def failing(self: Reads, sql: str, *args: Any) -> Any:
        if sql in (SQL["progress"], SQL["answer"]) and len(failed) < 3:
            failed.append(sql)
            raise unavailable("Postgres")
        return await read(self, sql, *args)

    monkeypatch.setattr(Reads, "row", failing)
    thread = (await stack.call("POST", "/threads", {}))[1]["thread_id"]
    body = {"assistant_id": "echo", "input": {"a": 1}}
    # with a key the run is looked up at once: it may be over already
    async with stack.http.post(
        f"{stack.url}/threads/{thread}/runs/{way}", json=body, headers={"Idempotency-Key": "k"}
    ) as answer:
        assert answer.status == 200
        if way == "wait":
            assert await answer.json() == {"a": 1}
        else:
            assert ("values", {"a": 1}) in await stack.events(answer)
    assert failed


async def test_a_response_that_has_begun_is_broken_off_not_mixed_with_an_error(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(self: RunFollower) -> None:
        raise ApiError(410, "The rest is gone")

    monkeypatch.setattr(RunFollower, "_catch_up", failing)
    thread = (await stack.call("POST", "/threads", {}))[1]["thread_id"]
    body = {"assistant_id": "echo", "input": {"a": 1}}
    async with stack.http.post(
        f"{stack.url}/threads/{thread}/runs/stream", json=body, headers={"Idempotency-Key": "k"}
    ) as answer:
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


async def test_a_frame_before_the_subscription_reaches_a_stream_whose_run_waits(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No later frame shows the gap."""
    published, release = asyncio.Event(), asyncio.Event()
    subscribe = stack.backbone.bus.subscribe

    async def late(channel: str, *args: Any, **how: Any) -> None:
        if channel == channels.frames(thread):
            await published.wait()
        await subscribe(channel, *args, **how)

    async def play(attempt: Attempt) -> None:
        await attempt.started()
        await attempt.emit(("custom", "early"))
        published.set()
        await release.wait()
        await attempt.finish({})

    stack.play = play
    thread = (await stack.call("POST", "/threads", {}))[1]["thread_id"]
    monkeypatch.setattr(stack.backbone.bus, "subscribe", late)
    body = {"assistant_id": "echo", "input": {}, "stream_mode": "custom"}
    async with stack.http.post(f"{stack.url}/threads/{thread}/runs/stream", json=body) as answer:
        async with asyncio.timeout(LIMIT_S):
            async for name, data, _ in read_events(answer):
                if name == "custom":
                    assert data == "early"
                    release.set()
    assert release.is_set()


async def test_a_watch_that_fails_tells_whether_the_run_may_have_been_appended(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = stack.backbone.log.append
    appended = asyncio.Event()

    async def appending(records: list[NewRecord]) -> list[Position]:
        appended.set()
        return await append(records)

    async def late(self: Watches, watch: Watch) -> None:
        await appended.wait()
        raise unavailable("Redis")

    async def at_once(self: Watches, watch: Watch) -> None:
        raise unavailable("Redis")

    thread = (await stack.call("POST", "/threads", {}))[1]["thread_id"]
    path, body = f"/threads/{thread}/runs/stream", {"assistant_id": "echo", "input": {}}
    monkeypatch.setattr(stack.backbone.log, "append", appending)
    monkeypatch.setattr(Watches, "ready", at_once)
    status, _ = await stack.call("POST", path, body)
    assert status == (504 if appended.is_set() else 503)
    monkeypatch.setattr(Watches, "ready", late)
    appended.clear()
    assert (await stack.call("POST", path, body))[0] == 504
    monkeypatch.undo()

    async def ran() -> Any:
        return (await stack.call("GET", f"/threads/{thread}/runs"))[1]

    assert await eventually(ran)


async def test_an_outcome_that_is_not_heard_in_time_is_504(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_stack(reply_timeout_s=0.2) as stack:

        async def append(records: list[NewRecord]) -> list[Position]:
            return [Position(0, 0)]

        monkeypatch.setattr(stack.backbone.log, "append", append)
        status, body = await stack.call("POST", "/threads", {})
        assert status == 504
        assert "will be carried out" in body["detail"]


async def test_an_outcome_that_redis_lost_is_sent_again_when_redis_is_back(
    make_stack: MakeStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = asyncio.Event()
    publish = RecentReplies.publish

    def publishing(self: RecentReplies, command_id: str, channel: str, data: bytes) -> None:
        publish(self, command_id, channel, data)
        published.set()

    server = EmbeddedRedis(tmp_path / "own")
    await server.start()
    try:
        async with make_stack(redis_uri=server.uri, local=False, reply_timeout_s=3600.0) as stack:
            monkeypatch.setattr(RecentReplies, "publish", publishing)
            await server.stop()
            made = asyncio.create_task(stack.call("POST", "/threads", {}))
            async with asyncio.timeout(LIMIT_S):
                await published.wait()
                await server.start()
                status, thread = await made
            assert status == 200
            assert (await stack.call("GET", f"/threads/{thread['thread_id']}"))[0] == 200
    finally:
        await server.stop()


async def test_a_refusal_that_redis_lost_is_sent_again_while_the_gateway_waits(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_stack(local=False, reply_timeout_s=3600.0) as stack:
        thread_id = (await stack.call("POST", "/threads", {}))[1]["thread_id"]
        lost = stack.backbone.bus.publish

        def publish(channel: str, data: bytes) -> None:
            if channel.startswith("gw:"):
                monkeypatch.undo()  # this one is lost
            else:
                lost(channel, data)

        monkeypatch.setattr(stack.backbone.bus, "publish", publish)
        async with asyncio.timeout(LIMIT_S):
            status, _ = await stack.call("POST", "/threads", {"thread_id": thread_id})
        assert status == 409


async def test_a_keyed_outcome_is_found_in_the_read_model_while_redis_is_away(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_stack(local=False, reply_timeout_s=1.0) as stack:
        lost = stack.backbone.bus.publish
        monkeypatch.setattr(
            stack.backbone.bus, "publish", lambda channel, data: channel[:3] == "gw:" or lost(channel, data)
        )
        status, thread = await stack.call("POST", "/threads", {}, headers={"Idempotency-Key": "k"})
        while status == 504:  # a slow machine: the read model did not have it within the second
            status, thread = await stack.call("POST", "/threads", {}, headers={"Idempotency-Key": "k"})
        assert status == 200
        assert thread["status"] == "idle"


async def test_a_question_that_no_worker_answers_is_504_and_its_errors_are_passed_on(
    stack: Stack, make_stack: MakeStack
) -> None:
    path = "/assistants/echo/graph"
    stack.answers["graph"] = lambda asked: Answer(id="", body=b'{"nodes":[],"edges":[]}')
    assert await stack.call("GET", path) == (200, {"nodes": [], "edges": []})
    stack.answers["graph"] = lambda asked: Answer(id="", status=400, detail="no")
    assert await stack.call("GET", path) == (400, {"detail": "no"})
    stack.answers["graph"] = lambda asked: Answer(id="", status=500, detail="boom")
    assert await stack.call("GET", path) == (500, "Internal Server Error\nboom")
    assert (await stack.call("GET", f"{path}?xray=0"))[0] == 422
    async with make_stack(reply_timeout_s=0.3) as impatient:
        assert (await impatient.call("GET", path))[0] == 504


async def test_closing_breaks_streams_off_and_leaves_their_runs_alone(
    make_stack: MakeStack, caplog: pytest.LogCaptureFixture
) -> None:

    async with make_stack() as stack:
        running = asyncio.Event()

        async def play(attempt: Attempt) -> None:
            running.set()
            await asyncio.Event().wait()

        stack.play = play
        body = b'{"assistant_id": "echo", "on_disconnect": "cancel", "on_completion": "keep"}'
        async with stack.http.post(f"{stack.url}/runs/stream", data=body) as answer:
            await running.wait()
            await stack.gateway.drain()
            with pytest.raises(aiohttp.ClientPayloadError):
                await stack.events(answer)
        assert not [record for record in caplog.records if record.name == "aiohttp.server"]
        assert await stack.backbone.pool.fetchval("SELECT cancel FROM runs") is None
        assert await stack.gateway.not_ready() == "it is going down"
