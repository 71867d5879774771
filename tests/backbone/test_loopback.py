"""Target of a client without an address in a graph (`langlog_backbone.project.loopback`)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from langlog_backbone.project.loopback import Loopback
from structlog.testing import capture_logs

Handler = Callable[[web.Request], Awaitable[web.Response]]


async def echo(request: web.Request) -> web.Response:
    return web.json_response([request.method, request.host, request.raw_path, await request.text()])


@asynccontextmanager
async def listening(answer: Handler = echo) -> AsyncIterator[str]:
    """Serve a server that returns its requests, or what ``answer`` returns."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def client(way: Loopback) -> httpx.AsyncClient:
    """Return a client as the SDK creates it."""
    return httpx.AsyncClient(base_url="http://api", transport=way)


async def test_requests_go_to_the_server_as_they_are_under_its_prefix() -> None:
    async with listening() as url, client(Loopback(url, "/api")) as asking:
        answer = await asking.post("/threads/a%2Fb?x=1%202", json={"k": 1})
        host = url.removeprefix("http://")
        assert answer.json() == ["POST", host, "/api/threads/a%2Fb?x=1%202", '{"k":1}']


async def test_one_client_serves_several_event_loops_and_outlives_one_that_was_closed() -> None:
    async with listening() as url:
        way = Loopback(url)
        asking = client(way)
        async with client(way) as closed:
            await closed.get("/first")
        collected: list[Any] = []

        def elsewhere() -> None:
            collected.append(asyncio.run(asking.get("/there")).json()[2])

        for _ in range(2):
            thread = threading.Thread(target=elsewhere)
            thread.start()
            await asyncio.to_thread(thread.join)
            collected.append((await asking.get("/here")).json()[2])
        assert collected == ["/there", "/here"] * 2


async def test_without_an_address_the_error_names_the_setting() -> None:
    async with client(Loopback("")) as asking:
        with pytest.raises(httpx.ConnectError, match="LANGLOG_BASE_URL"):
            await asking.get("/ok")


OTHER_SERVER = """
import sys
from langlog_backbone.project.loopback import import_sdk, open_loopback

{prepare}
import langgraph_sdk
import langgraph_sdk.cache

langgraph_sdk.get_client()
assert "langgraph_api" not in sys.modules
try:
    import langgraph_api
except RuntimeError as error:
    print(error)
"""


@pytest.mark.parametrize(
    "prepare", ["open_loopback('', '')", "import_sdk('langgraph_sdk.cache'); open_loopback('', '')"]
)
def test_langgraphs_own_server_is_not_imported_where_it_is_installed(prepare: str, tmp_path: Path) -> None:
    """``langgraph-cli[inmem]`` installs it: it configures the process that imports it, and raises without its own settings."""
    (tmp_path / "langgraph_api").mkdir()
    (tmp_path / "langgraph_api" / "__init__.py").write_text("raise RuntimeError('the other server')")
    command = [sys.executable, "-c", OTHER_SERVER.format(prepare=prepare)]
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "the other server"  # to the project's code it is there


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_request_says_that_it_is_authenticated_like_any_other(status: int) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.json_response({"detail": "no"}, status=status)

    async with listening(refuse) as url, client(Loopback(url)) as asking:
        with capture_logs() as logs:
            for _ in range(2):
                assert (await asking.get("/threads")).status_code == status
    (line,) = [x for x in logs if x["event"] == "loopback.refused"]
    assert line["log_level"] == "warning"
    assert "headers" in line["hint"]
