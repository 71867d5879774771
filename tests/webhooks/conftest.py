"""A receiver of webhooks, and a stack with schedulers that send to it; the workers are played by the test."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web
from langlog_backbone.context import Backbone
from langlog_scheduler.service import SchedulerService

from tests.gateway.conftest import MakeStack, Stack, make_stack
from tests.stack.waiting import until

__all__ = ["make_stack"]

SECRET = "a secret of the test"
ALLOWED = {"url": {"require_https": False, "disable_loopback": False}}


class Hook(NamedTuple):
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """Receives requests and responds with 200, or with ``answer``."""

    def __init__(self) -> None:
        self.url = ""
        self.hooks: list[Hook] = []
        self.answer: Callable[[int], Awaitable[web.StreamResponse]] | None = None
        """Called with the number of the hook, from 1."""
        self._came = asyncio.Condition()

    async def take(self, request: web.Request) -> web.StreamResponse:
        hook = Hook(request.path_qs, request.headers.copy(), await request.read())
        async with self._came:
            self.hooks.append(hook)
            self._came.notify_all()
        return web.Response() if self.answer is None else await self.answer(len(self.hooks))

    def answers(self, *statuses: int) -> None:
        """The statuses of the first hooks; the last one of all that follow."""

        async def answer(number: int) -> web.StreamResponse:
            return web.Response(status=statuses[min(number, len(statuses)) - 1])

        self.answer = answer

    async def got(self, count: int) -> list[Hook]:
        """The hooks, once there are so many."""
        async with asyncio.timeout(60), self._came:
            await self._came.wait_for(lambda: len(self.hooks) >= count)
        return self.hooks


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", made.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    made.url = f"http://{host}:{port}"
    yield made
    await runner.cleanup()


@contextlib.asynccontextmanager
async def scheduler(backbone: Backbone) -> AsyncIterator[SchedulerService]:
    """Start one more scheduler, for the duration of a block."""
    service = SchedulerService(backbone)
    await service.start()
    task = asyncio.create_task(service.serve())
    try:
        yield service
    finally:
        await service.drain()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await service.stop()


MakeProject = Callable[..., Path]


@pytest.fixture
def make_project(tmp_path: Path) -> MakeProject:
    """A langgraph.json with sections of the test's own; its graphs are never loaded."""

    def make(**sections: Any) -> Path:
        file = tmp_path / "langgraph.json"
        file.write_text(json.dumps({"graphs": {"echo": "./echo.py:graph"}, **sections}))
        return file

    return make


@pytest.fixture
async def hooked(make_stack: MakeStack, make_project: MakeProject) -> AsyncIterator[Stack]:
    """A stack that may send to this machine, with one scheduler."""
    project = make_project(
        webhooks={**ALLOWED, "headers": {"X-Static": "yes", "X-Token": "t-${{ env.LG_WEBHOOK_TOKEN }}"}},
        env={"LG_WEBHOOK_TOKEN": "from-env"},
    )
    settings = {"webhook_secret": SECRET, "webhook_backoff_s": 0.05}
    async with make_stack(project=project, **settings) as stack, scheduler(stack.backbone):
        yield stack


@pytest.fixture
async def impatient(make_stack: MakeStack, make_project: MakeProject) -> AsyncIterator[Stack]:
    """A stack whose scheduler waits two seconds for a receiver."""
    settings = {"webhook_backoff_s": 0.05, "webhook_timeout_s": 2.0}
    async with make_stack(project=make_project(webhooks=ALLOWED), **settings) as stack, scheduler(stack.backbone):
        yield stack


async def settled(stack: Stack, run: Mapping[str, str]) -> Any:
    """The log of a run's delivery, once that is over."""

    async def look() -> Any:
        status, body = await stack.call("GET", f"/threads/{run['thread_id']}/runs/{run['run_id']}/webhooks")
        return body[0] if status == 200 and body and body[0]["state"] != "pending" else None

    return await until(stack.backbone, look)


@pytest.fixture
async def stack_without_scheduler(make_stack: MakeStack) -> AsyncIterator[Stack]:
    async with make_stack() as stack:
        yield stack
