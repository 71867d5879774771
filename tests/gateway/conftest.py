"""A gateway over real Postgres, Redis, log, decider and projector, and a worker that the test controls."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from langlog_backbone.context import Backbone, open_backbone
from langlog_backbone.embedded.servers import EmbeddedPostgres, EmbeddedRedis
from langlog_backbone.log.port import NewRecord
from langlog_backbone.process.settings import Settings
from langlog_backbone.redis import channels
from langlog_backbone.time.clock import new_id, now_iso, now_ms
from langlog_executor.decider.service import DeciderService
from langlog_gateway.service import GatewayService
from langlog_projector.service import ProjectorService
from langlog_schemas import commands as cmd
from langlog_schemas import envelope, frames, messages
from langlog_schemas import events as ev
from langlog_schemas.frames import Frame, FrameBatch
from langlog_schemas.ids import default_assistant_id
from langlog_schemas.messages import Answer, Query, Task

from tests.stack.fixtures import MakeSettings, isolated
from tests.stack.server import free_port

GRAPHS = ("echo", "slow")


class Attempt:
    """One dispatched run in the hands of the test."""

    def __init__(self, backbone: Backbone, task: Task) -> None:
        self.task = task
        self.kwargs: dict[str, Any] = msgspec.json.decode(task.kwargs)
        self._backbone = backbone
        self._sequence = 0

    async def emit(self, *events: tuple[str, Any], live: bool = True, kept: bool = True) -> None:
        """Publish frames as one batch. ``live`` False: only for those who come later; ``kept`` False: the reverse."""
        made = []
        for name, data in events:
            self._sequence += 1
            made.append(Frame(self._sequence, now_ms(), self._sequence, name, msgspec.json.encode(data)))
        batch = frames.encode(FrameBatch(self.task.run_id, self.task.attempt, made, bool(self.kwargs["resumable"])))
        pipe, channel = self._backbone.pipe, channels.frames(self.task.thread_id)
        if kept:
            await pipe.call("XADD", pipe.key(channel), "*", "f", batch)
        if live:
            await pipe.call("PUBLISH", pipe.key(channel), batch)

    async def started(self) -> None:
        event = ev.RunStarted(
            thread_id=self.task.thread_id, run_id=self.task.run_id, attempt=self.task.attempt, worker="test"
        )
        await append(self._backbone, ev.RUN_EVENTS, event.key, event.TYPE, ev.encode(event), f"{self.task.id}-started")

    async def finish(self, values: Any = None, outcome: cmd.Outcome = "success", **more: Any) -> None:
        result = cmd.ABSENT if values is None else msgspec.Raw(msgspec.json.encode(values))
        command = cmd.FinishRun(
            thread_id=self.task.thread_id,
            run_id=self.task.run_id,
            attempt=self.task.attempt,
            outcome=outcome,
            values=result,
            frame_count=self._sequence,
            last_frame_ms=now_ms(),
            started_at=now_iso(),
            **more,
        )
        await append(self._backbone, cmd.TOPIC, command.key, command.TYPE, cmd.encode(command), new_id())
        self._backbone.queue.release("test", self.task.id)


async def append(backbone: Backbone, topic: str, key: str, type: str, body: bytes, id: str) -> None:
    headers = envelope.headers(id=id, type=type, source="/test", time=now_iso(), subject=key)
    await backbone.log.append([NewRecord(topic, key, body, headers)])


Play = Callable[[Attempt], Awaitable[None]]


async def echo(attempt: Attempt) -> None:
    """The least that a run can do."""
    await attempt.started()
    await attempt.emit(("metadata", {"run_id": attempt.task.run_id, "attempt": attempt.task.attempt}))
    await attempt.emit(("values", attempt.kwargs["input"]))
    await attempt.finish(attempt.kwargs["input"])


class Stack:
    """Client and parts of a test. ``play`` is the worker's behavior for a run."""

    def __init__(self, backbone: Backbone, gateway: GatewayService, url: str, http: aiohttp.ClientSession) -> None:
        self.backbone = backbone
        self.gateway = gateway
        self.url = url
        self.http = http
        self.play: Play = echo
        self.answers: dict[str, Callable[[dict[str, Any]], Answer]] = {}

    async def call(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        """Status and JSON (or text) of one request."""
        if body is not None:
            more["data"] = msgspec.json.encode(body)
        async with self.http.request(method, self.url + path, allow_redirects=False, **more) as answer:
            text = await answer.text()
            try:
                return answer.status, msgspec.json.decode(text)
            except msgspec.DecodeError:
                return answer.status, text

    async def events(self, answer: aiohttp.ClientResponse) -> list[tuple[str, Any]]:
        """All events of a stream up to its end."""
        return [(name, data) async for name, data, _ in read_events(answer)]

    async def work(self) -> None:
        await self.backbone.queue.lease("test", fresh=True)
        async with asyncio.TaskGroup() as tasks:
            while True:
                for task in await self.backbone.queue.claim("test", 16, 0):
                    tasks.create_task(self._play(Attempt(self.backbone, task)))

    async def _play(self, attempt: Attempt) -> None:
        await self.play(attempt)

    async def answer(self) -> None:
        """Answer queries as the test defines, on a separate connection, because this waits."""
        from langlog_backbone.redis.client import connect

        client = connect(self.backbone.settings.redis_uri, socket_timeout=None)  # questions may be long in coming
        try:
            while True:
                _, data = await client.execute_command("BRPOP", self.backbone.pipe.key("queries"), 0)
                query: Query = messages.decode_query(data)
                if query.kind not in self.answers:
                    continue
                answer = self.answers[query.kind](msgspec.json.decode(query.body))
                answer = msgspec.structs.replace(answer, id=query.id)
                self.backbone.bus.publish(channels.gateway(query.reply_to), b"A" + messages.encode(answer))
        finally:
            await client.aclose()


async def after_head(stack: Stack, path: str) -> bytes:
    """Return what follows the headers of the response to ``HEAD path`` on its connection, where ``GET /ok`` is requested next."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.backbone.settings.port)
    try:
        writer.write(f"HEAD {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
        writer.write(b"GET /ok HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        return await reader.read()
    finally:
        writer.close()


async def make_thread(stack: Stack) -> str:
    _, thread = await stack.call("POST", "/threads", {})
    return str(thread["thread_id"])


async def read_events(answer: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any, str | None]]:
    """(event, data, id) as they come; comments are left out."""
    members: dict[str, str] = {}
    async for raw in answer.content:
        line = raw.decode()
        assert "\r" not in line
        if line == "\n":
            if members:
                yield members["event"], msgspec.json.decode(members["data"]), members.get("id")
                members = {}
        elif not line.startswith(":"):
            name, _, value = line.rstrip("\n").partition(": ")
            members[name] = value


MakeStack = Callable[..., contextlib.AbstractAsyncContextManager[Stack]]


@pytest.fixture
def make_stack(tmp_path: Path, postgres: EmbeddedPostgres, redis_server: EmbeddedRedis) -> MakeStack:
    def make(*, local: bool = True, **changes: Any) -> contextlib.AbstractAsyncContextManager[Stack]:
        servers = {"database_uri": postgres.uri, "redis_uri": redis_server.uri}
        settings = isolated(None, tmp_path, {**servers, **OF_STACKS, "port": free_port(), **changes})
        return opened(settings, local=local)

    return make


@pytest.fixture
def make_stack_on_both(make_settings: MakeSettings) -> MakeStack:
    """As `make_stack`, on both logs."""

    def make(**changes: Any) -> contextlib.AbstractAsyncContextManager[Stack]:
        return opened(make_settings(**{**OF_STACKS, "port": free_port(), **changes}))

    return make


OF_STACKS = {"lease_s": 3600.0, "no_project": True}
"""The worker that the test plays does not renew its lease; most tests need no project."""


@contextlib.asynccontextmanager
async def opened(settings: Settings, *, local: bool = True) -> AsyncIterator[Stack]:
    async with contextlib.AsyncExitStack() as stack:
        backbone = await stack.enter_async_context(open_backbone(settings, local=local))
        tasks = []
        gateway = GatewayService(backbone)
        for service in (ProjectorService(backbone), DeciderService(backbone), gateway):
            await service.start()
            stack.push_async_callback(service.stop)
            tasks.append(asyncio.create_task(service.serve()))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        made = Stack(backbone, gateway, f"http://127.0.0.1:{settings.port}", http)
        tasks += [asyncio.create_task(made.work()), asyncio.create_task(made.answer())]
        await register(backbone)
        try:
            yield made
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def stack(make_stack: MakeStack) -> AsyncIterator[Stack]:
    async with make_stack() as made:
        yield made


async def register(backbone: Backbone) -> None:
    """The graphs and their default assistants, and wait until they are known."""
    for position, name in enumerate(GRAPHS):
        event = ev.GraphRegistered(graph_id=name, position=position)
        await append(backbone, ev.GRAPH_EVENTS, event.key, event.TYPE, ev.encode(event), f"graph-{name}")
        command = cmd.CreateAssistant(
            assistant_id=default_assistant_id(name), graph_id=name, name=name, metadata={"created_by": "system"}
        )
        await append(backbone, cmd.TOPIC, command.key, command.TYPE, cmd.encode(command), f"assistant-{name}")
    known = asyncio.Event()
    backbone_bus = backbone.bus

    async def look() -> int:
        return int(
            await backbone.pool.fetchval(
                "SELECT (SELECT count(*) FROM graphs) + (SELECT count(*) FROM assistants) AS known"
            )
        )

    def projected(_: bytes) -> None:
        known.set()

    await backbone_bus.subscribe(channels.WATERMARK, projected)
    while await look() < 2 * len(GRAPHS):
        await asyncio.wait_for(known.wait(), 60)
        known.clear()
    await backbone_bus.unsubscribe(channels.WATERMARK, projected)
