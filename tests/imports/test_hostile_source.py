"""Whatever a source responds, the import ends with one line with the reason, and nothing partly read counts as complete."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import tempfile
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from langlog.imports import http
from langlog.imports.api_source import ApiSource, Limits
from langlog.imports.http import FAILED_MAX, TRIES, JsonServer, Refused, Unanswered
from langlog.imports.report import Report, print_report
from langlog.imports.source import ThreadHead, TooLarge

from tests.stack.server import free_port

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
HEAD = ThreadHead("0198c0de-0000-7000-8000-000000000001")


async def at_once(_: float) -> None:
    """Sleep no time."""


@asynccontextmanager
async def source(
    handler: Handler,
    limits: Limits | None = None,
    body_bytes_max: int = 1_000_000,
    sleep: Callable[[float], Awaitable[None]] = at_once,
) -> AsyncIterator[ApiSource]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)  # it would wait a minute for a handler that never answers
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        url = f"http://127.0.0.1:{port}"
        async with JsonServer(url, {}, "source", "--from", body_bytes_max=body_bytes_max, sleep=sleep) as server:
            yield ApiSource(server, limits)
    finally:
        await runner.cleanup()


def answering(value: Any, status: int = 200) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=value if isinstance(value, str) else json.dumps(value), status=status)

    return answer


async def all_threads(api: ApiSource) -> list[str]:
    return [head.id async for page in api.threads({}) for head in page]


async def test_a_redirect_is_not_followed() -> None:
    async def elsewhere(_: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect("http://169.254.169.254/latest")

    async with source(elsewhere) as api:
        with pytest.raises(Refused, match=r"redirects POST /threads/search to http://169\.254\.169\.254/latest"):
            await all_threads(api)


@pytest.mark.parametrize("text", ["<html>", "{", '{"threads": []}', "3", "[" * 100_000, '[{"id": 1}]', "[[]]"])
async def test_what_is_no_list_of_threads_is_refused(text: str) -> None:
    async with source(answering(text)) as api:
        with pytest.raises(Refused, match=r"no server of this API|without thread_id"):
            await all_threads(api)


async def test_an_endless_body_is_cut_off() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65_536)

    async with source(endless) as api:
        with pytest.raises(Refused, match="more than 1,000,000 bytes"):
            await all_threads(api)


async def test_pages_that_repeat_or_never_end_stop_it() -> None:
    same = [{"thread_id": f"t{n}", "updated_at": None} for n in range(100)]
    async with source(answering(same)) as api:
        with pytest.raises(Unanswered, match="the same rows again and again"):
            await all_threads(api)

    async def ever_new(request: web.Request) -> web.Response:
        at = (await request.json())["offset"]
        return web.json_response([{"thread_id": f"t{n}"} for n in range(at, at + 100)])

    async with source(ever_new, Limits(objects=1_000)) as api:
        with pytest.raises(Unanswered, match="more than 1,000 rows"):
            await all_threads(api)


async def test_rows_that_are_deleted_meanwhile_hide_no_others() -> None:
    rows = [{"thread_id": f"t{n}"} for n in range(300)]

    async def shrinking(request: web.Request) -> web.Response:
        wanted = await request.json()
        page = rows[wanted["offset"] :][: wanted["limit"]]
        if wanted["offset"] == 0:
            del rows[:50]
        return web.json_response(page)

    async with source(shrinking) as api:
        ids = await all_threads(api)
    assert len(ids) == len(set(ids)) and {f"t{n}" for n in range(50, 300)} <= set(ids)


async def test_a_history_has_limits() -> None:
    def entry(n: int) -> dict[str, Any]:
        return {"checkpoint": {"checkpoint_id": f"c{n}"}, "values": {"text": "x" * 1_000}, "next": [], "tasks": []}

    async def ever_new(request: web.Request) -> web.Response:
        before = (await request.json()).get("before")
        at = int(before["configurable"]["checkpoint_id"][1:]) + 1 if before else 0
        return web.json_response([entry(n) for n in range(at, at + 100)])

    async with source(ever_new, Limits(checkpoints=500)) as api:
        with pytest.raises(Refused, match="more than 500 checkpoints"):
            await api.history(HEAD)
    async with source(ever_new, Limits(history_bytes=50_000)) as api:
        with pytest.raises(TooLarge, match="larger than 50,000 bytes"):
            await api.history(HEAD)
    async with source(answering([entry(n) for n in range(100)])) as api:
        with pytest.raises(Refused, match="the same page of the history"):
            await api.history(HEAD)


async def test_subgraphs_without_end_are_followed_to_a_depth() -> None:
    async def deeper(request: web.Request) -> web.Response:
        space = ((await request.json()).get("checkpoint") or {}).get("checkpoint_ns", "")
        task = {"id": "t", "name": "n", "checkpoint": {"checkpoint_ns": f"{space}|n:t".lstrip("|")}}
        return web.json_response([{"checkpoint": {"checkpoint_id": f"c{len(space)}"}, "tasks": [task]}])

    async with source(deeper) as api:
        with await api.history(HEAD) as history:
            assert len(history.checkpoints) == 51


async def test_a_server_that_fails_for_good_is_reported_and_one_that_recovers_is_not() -> None:
    tries = 0

    async def recovers(_: web.Request) -> web.Response:
        nonlocal tries
        tries += 1
        return web.json_response([], status=503 if tries < 3 else 200)

    async with source(recovers) as api:
        assert await all_threads(api) == []
    async with source(answering({"detail": "out of order"}, 500)) as api:
        with pytest.raises(Refused, match="500: out of order"):
            await all_threads(api)
    async with source(answering({"detail": "no key"}, 403)) as api:
        with pytest.raises(Refused, match=r"no key.*send credentials"):
            await all_threads(api)
    async with JsonServer(f"http://127.0.0.1:{free_port()}", {}, "source", "--from") as nobody:
        with pytest.raises(Unanswered, match="start the same import again"):
            await all_threads(ApiSource(nobody))


async def test_a_source_that_falls_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "WHOLE_S", 0.2)
    monkeypatch.setattr(http, "TRIES", 2)

    async def silent(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with source(silent) as api:
        with pytest.raises(Unanswered, match="no whole response"):
            await all_threads(api)


WRONG: list[Any] = [1, 1.5, True, "x", [], [1], {"a": 1}]
PLACES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "assistant": lambda v: {"/assistants/search": [{"assistant_id": v}]},
    "version": lambda v: {"/assistants/search": [{"assistant_id": "a"}], "/assistants/a/versions": [{"version": v}]},
    "thread id": lambda v: {"/threads/search": [{"thread_id": v}]},
    "thread": lambda v: {f"/threads/{HEAD.id}": dict.fromkeys(("metadata", "config", "ttl", "status", "created_at"), v)},
    "checkpoint": lambda v: {f"/threads/{HEAD.id}/history": [{"checkpoint": v}]},
    "entry": lambda v: {
        f"/threads/{HEAD.id}/history": [
            {"checkpoint": {"checkpoint_id": "c"}} | dict.fromkeys(("tasks", "parent_checkpoint", "next", "metadata"), v)
        ]
    },
    "task": lambda v: {
        f"/threads/{HEAD.id}/history": [{"checkpoint": {"checkpoint_id": "c"}, "tasks": [v, {"checkpoint": v}]}]
    },
    "item": lambda v: {
        "/store/namespaces": {"namespaces": [["a"]]},
        "/store/items/search": {"items": [{"namespace": v, "key": v}]},
    },
    "cron": lambda v: {"/runs/crons/search": [{"cron_id": v, "enabled": v}]},
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
async def test_a_value_of_a_wrong_type_is_refused_or_left_to_the_target(place: str) -> None:
    for value in WRONG:
        answers = PLACES[place](value)

        async def answer(request: web.Request, answers: dict[str, Any] = answers) -> web.Response:
            return web.json_response(answers.get(request.path, []))

        async with source(answer) as api:
            with contextlib.suppress(Refused, Unanswered):
                match place:
                    case "assistant" | "version":
                        [_ async for _ in api.assistants()]
                    case "thread id":
                        await all_threads(api)
                    case "thread":
                        await api.thread(HEAD)
                    case "item":
                        [_ async for _ in api.items()]
                    case "cron":
                        [_ async for _ in api.crons()]
                    case _:
                        (await api.history(HEAD)).close()


async def test_ids_do_not_leave_their_place_in_a_path() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.raw_path)
        return web.json_response({"metadata": {}})

    async with source(answer) as api:
        await api.thread(ThreadHead("../store/items?x=1#\x1b"))
    assert asked == ["/threads/..%2Fstore%2Fitems%3Fx%3D1%23%1B?include=ttl"]


async def test_many_subgraphs_with_short_histories_have_the_same_limit() -> None:
    asked = 0

    async def wider(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        space = ((await request.json()).get("checkpoint") or {}).get("checkpoint_ns", "")
        tasks = [{"id": "t", "checkpoint": {"checkpoint_ns": f"{space}|{n}"}} for n in range(3)]
        return web.json_response([{"checkpoint": {"checkpoint_id": f"c{asked}"}, "tasks": tasks}])

    async with source(wider, Limits(checkpoints=100)) as api:
        with pytest.raises(Refused, match="more than 100 checkpoints"):
            await api.history(HEAD)
    assert asked < 200


def packed(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(b" " * 1_000_000) for _ in range(size // 1_000_000)) + packer.flush()


@pytest.mark.parametrize("times", [1, 2])
async def test_a_packed_body_is_unpacked_no_further_than_the_limit(times: int) -> None:
    body, encoding = packed(30_000_000), ", ".join(["gzip"] * times)
    if times == 2:
        body = gzip.compress(body)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, headers={"content-encoding": encoding})

    async with source(answer) as api:
        tracemalloc.start()
        try:
            with pytest.raises(Refused, match=r"more than 1,000,000 bytes|packed by gzip, gzip"):
                await all_threads(api)
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
        finally:
            tracemalloc.stop()


async def test_a_packed_body_is_read_and_a_damaged_one_refused() -> None:
    body = gzip.compress(json.dumps([{"thread_id": "t"}]).encode())

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, headers={"content-encoding": "gzip"})

    async with source(answer) as api:
        assert await all_threads(api) == ["t"]
        body = b"no gzip at all"
        with pytest.raises(Refused, match="damaged body"):
            await all_threads(api)


def test_a_report_writes_nothing_that_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report("http://there", dry=False)
    report.lost("threads", "\x1b[2Jid\r\n", "graph \x1b]0;owned\x07 is not there")
    report.stopped = "it says \x9b31m"
    print_report(report, as_json=False)
    assert all(sign.isprintable() or sign == "\n" for sign in capsys.readouterr().out)


async def test_a_source_that_asks_for_a_pause_gets_it_and_one_that_goes_on_asking_stops_the_import() -> None:
    pauses: list[float] = []
    answers = [("429", "7"), ("503", "Thu, 01 Jan 2026 00:00:30 GMT"), ("429", "never"), ("429", "999999999999")]

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def busy(_: web.Request) -> web.Response:
        if not answers:
            return web.json_response([])
        status, after = answers.pop(0)
        return web.Response(status=int(status), headers={"retry-after": after, "date": "Thu, 01 Jan 2026 00:00:00 GMT"})

    async with source(busy, sleep=sleep) as api:
        assert await all_threads(api) == []
        assert pauses == [7.0, 30.0, 2.0, 120.0]
        answers += [("429", "1")] * 6
        with pytest.raises(Unanswered, match=r"does not answer POST /threads/search \(429") as raised:
            await all_threads(api)
        assert not isinstance(raised.value, Refused)  # which would cost one thread after the other


async def test_a_source_that_fails_everywhere_stops_the_import() -> None:
    status, asked = 503, 0

    async def failing(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(status=status)

    async with source(failing) as api:
        for _ in range(FAILED_MAX - 1):  # one thread may be too much for it
            with pytest.raises(Refused, match="fails at"):
                await api.history(HEAD)
        with pytest.raises(Unanswered, match="then start the same import again") as raised:
            await api.history(HEAD)
        assert not isinstance(raised.value, Refused)
        assert asked == FAILED_MAX * TRIES
        status, asked = 501, 0
        with pytest.raises(Refused):
            await api.history(HEAD)
        assert asked == 1


async def test_a_full_disk_stops_the_import_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full").open("r+b")  # noqa: SIM115 - closed by the history
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: full)
    entry = {"checkpoint": {"checkpoint_id": "c"}, "values": {"text": "x"}}
    async with source(answering([entry])) as api:
        with pytest.raises(Unanswered, match=r"No space left on device.*TMPDIR"):
            await api.history(HEAD)
