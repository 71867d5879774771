"""What clients are told while something behind the gateway is away."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest
from langlog_backbone.embedded import EmbeddedPostgres
from langlog_backbone.log.port import AppendUnknown, LogUnavailable, NewRecord, Position
from langlog_schemas.messages import Answer

from .conftest import MakeStack, Stack


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
            assert (await stack.call("GET", "/ok"))[0] == 200
            assert (await stack.call("GET", "/ok?check_db=1"))[0] == 503
            await server.start()
            assert (await stack.call("GET", path))[0] == 200
    finally:
        await server.stop()


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


async def test_a_question_that_no_worker_answers_is_504_and_its_errors_are_passed_on(
    stack: Stack, make_stack: MakeStack
) -> None:
    path = "/assistants/echo/graph"
    stack.answers["graph"] = lambda asked: Answer(id="", body=b'{"nodes":[],"edges":[]}')
    assert await stack.call("GET", path) == (200, {"nodes": [], "edges": []})
    stack.answers["graph"] = lambda asked: Answer(id="", status=400, detail="no")
    assert await stack.call("GET", path) == (400, {"detail": "no"})
    stack.answers["graph"] = lambda asked: Answer(id="", status=500, detail="boom")
    assert await stack.call("GET", path) == (500, "Internal Server Error")
    assert (await stack.call("GET", f"{path}?xray=0"))[0] == 422
    async with make_stack(reply_timeout_s=0.3) as impatient:
        assert (await impatient.call("GET", path))[0] == 504


async def test_closing_breaks_streams_off_and_leaves_their_runs_alone(
    make_stack: MakeStack, caplog: pytest.LogCaptureFixture
) -> None:
    from .conftest import Attempt

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
        assert not await stack.gateway.healthy()
