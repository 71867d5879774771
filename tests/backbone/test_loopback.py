"""Target of a client without an address in a graph (`langlog_backbone.project.loopback`)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from aiohttp import web
from langlog_backbone.project.loopback import Loopback


@asynccontextmanager
async def listening() -> AsyncIterator[str]:
    """Serve a server that returns its requests."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response([request.method, request.host, request.raw_path, await request.text()])

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
