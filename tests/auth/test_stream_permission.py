"""Streams of every kind end when their caller may no longer read the thread; nothing that happens afterwards is sent. On both
logs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from langlog_gateway.auth.access import GATE
from langlog_gateway.streams.permission import expiry

from tests.gateway.conftest import Attempt, MakeStack, Stack

PROJECT = Path(__file__).parent / "sharing" / "langgraph.json"
LIMIT_S = 60.0
BEFORE, AFTER = "BEFORE-THE-CHANGE", "AFTER-THE-CHANGE"
Kind = str
KINDS = ("thread", "join stream", "join", "protocol", "socket", "events")
"""Ways of a reader to follow a thread or its run."""


class Scene:
    """Alice's thread with a run that has streamed something and waits, and bob, who may read it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.thread_id = self.run_id = ""
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    async def call(self, who: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return await self.stack.call(method, path, body, headers={"authorization": who})

    async def play(self, attempt: Attempt) -> None:
        await attempt.started()
        await attempt.emit(("metadata", {"run_id": attempt.task.run_id, "attempt": 1}), ("values", {"said": BEFORE}))
        self.begun.set()
        await self.go_on.wait()
        await attempt.emit(("values", {"said": AFTER}))
        await attempt.finish({"said": AFTER})

    async def prepare(self) -> None:
        self.stack.play = self.play
        _, thread = await self.call("alice", "POST", "/threads", {"metadata": {"readers": ["bob"]}})
        self.thread_id = thread["thread_id"]
        run = {"assistant_id": "echo", "input": {}, "stream_resumable": True}
        _, made = await self.call("alice", "POST", f"/threads/{self.thread_id}/runs", run)
        self.run_id = made["run_id"]
        await asyncio.wait_for(self.begun.wait(), LIMIT_S)

    async def follow(self, kind: Kind, who: str, opened: asyncio.Event) -> str:
        """All that is sent until the other side ends it."""
        thread, run = f"/threads/{self.thread_id}", f"/threads/{self.thread_id}/runs/{self.run_id}"
        path, method, body, headers = {
            "thread": (f"{thread}/stream", "GET", None, {}),
            "join stream": (f"{run}/stream", "GET", None, {"last-event-id": "-1"}),
            "join": (f"{run}/join", "GET", None, {}),
            "protocol": (f"{thread}/stream/events", "POST", {"channels": ["values", "lifecycle"]}, {}),
            "socket": (f"{thread}/stream/events", "GET", None, {}),
            "events": (f"{thread}/events", "GET", None, {"accept": "text/event-stream"}),
        }[kind]
        given = {"authorization": who, **headers}
        if kind == "socket":
            async with self.stack.http.ws_connect(self.stack.url + path, headers=given) as socket:
                filter = {"channels": ["values", "lifecycle"]}
                await socket.send_json({"id": 1, "method": "subscription.subscribe", "params": filter})
                opened.set()
                return "".join([str(message.data) async for message in socket])
        try:
            async with self.stack.http.request(method, self.stack.url + path, headers=given, json=body) as answer:
                opened.set()
                return await answer.text()
        except (aiohttp.ClientError, ConnectionError) as error:
            return repr(error)

    def banned(self) -> set[str]:
        """The callers whom the project's handlers refuse, from now on."""
        runner = self.stack.gateway._runner
        assert runner is not None and runner.app is not None
        handler = runner.app[GATE].current._auth._handlers["threads", "read"][0]  # type: ignore[attr-defined]
        banned: set[str] = handler.__globals__["banned"]
        return banned

    async def received_until_ended(
        self, kind: Kind, change: Callable[[], Awaitable[object]], who: str = "bob", *, goes_on: bool = True
    ) -> str:
        opened = asyncio.Event()
        following = asyncio.create_task(self.follow(kind, who, opened))
        if kind == "join":  # it answers nothing before it ends, or before its first newline
            await self.until_watched()
        else:
            await asyncio.wait_for(opened.wait(), LIMIT_S)
        await change()
        if goes_on:
            self.go_on.set()
        return await asyncio.wait_for(following, LIMIT_S)

    async def until_watched(self) -> None:
        held = self.stack.gateway._core.permissions._held
        async with asyncio.timeout(LIMIT_S):
            while self.thread_id not in held:
                await asyncio.sleep(0.01)  # nothing signals that a request waits


@pytest.fixture
async def scene(make_stack_on_both: MakeStack) -> AsyncIterator[Scene]:
    async with make_stack_on_both(project=PROJECT, stream_check_s=0.3) as stack:
        made = Scene(stack)
        await made.prepare()
        yield made
        made.go_on.set()


async def test_what_happens_after_a_share_was_taken_back_is_not_told(scene: Scene) -> None:
    """One thread and change after the other: a stack takes longer to start than all of this."""
    for kind in KINDS:
        readers = {"metadata": {"readers": ["alice"]}}
        path = f"/threads/{scene.thread_id}"
        received = await scene.received_until_ended(kind, lambda p=path, r=readers: scene.call("alice", "PATCH", p, r))  # type: ignore[misc]
        assert AFTER not in received, kind
        scene.begun, scene.go_on = asyncio.Event(), asyncio.Event()
        await scene.prepare()


async def test_streams_end_while_nothing_happens_when_the_handlers_refuse(scene: Scene) -> None:
    try:
        for kind in KINDS:

            async def ban() -> None:
                scene.banned().add("bob")

            received = await scene.received_until_ended(kind, ban, goes_on=False)
            assert AFTER not in received, kind
            scene.banned().clear()
    finally:
        scene.banned().clear()


async def test_streams_end_with_the_credentials(scene: Scene) -> None:
    for kind in KINDS:
        for seconds in (1.0, 6.0, 36.0):
            if await opened_in_time(scene, kind, seconds):
                break
        else:
            pytest.fail(f"{kind}: not opened within {seconds} s")


async def opened_in_time(scene: Scene, kind: Kind, seconds: float) -> bool:
    """Follow with credentials of so many seconds until the other side ends it. False: they were over before that had begun."""
    began, held = time.time(), scene.stack.gateway._core.permissions._held
    following = asyncio.create_task(scene.follow(kind, f"bob:{began + seconds}", asyncio.Event()))
    watched = asyncio.create_task(scene.until_watched())
    await asyncio.wait((following, watched), return_when=asyncio.FIRST_COMPLETED)
    in_time = watched.done()
    watched.cancel()
    await asyncio.wait((following,), timeout=LIMIT_S)
    assert following.done() and time.time() >= began + seconds, kind
    async with asyncio.timeout(LIMIT_S):
        while scene.thread_id in held:
            await asyncio.sleep(0.01)  # nothing signals that a request is over
    assert not in_time or following.exception() is None, kind
    return in_time


async def test_streams_of_those_who_may_go_on_do(scene: Scene) -> None:
    """Patches of metadata that change nothing about it, and many checks, are not noticed."""
    path = f"/threads/{scene.thread_id}"
    opened = asyncio.Event()
    following = asyncio.create_task(scene.follow("join stream", "bob", opened))
    await asyncio.wait_for(opened.wait(), LIMIT_S)
    for n in range(3):
        assert (await scene.call("alice", "PATCH", path, {"metadata": {"n": n}}))[0] == 200
    scene.go_on.set()
    received = await asyncio.wait_for(following, LIMIT_S)
    assert BEFORE in received and AFTER in received


async def test_the_stream_of_ones_own_run_ends_when_the_thread_is_given_away(scene: Scene) -> None:
    scene.go_on.set()
    _, thread = await scene.call("bob", "POST", "/threads", {})
    scene.begun, scene.go_on = asyncio.Event(), asyncio.Event()
    path = f"/threads/{thread['thread_id']}"
    for kind in ("stream", "wait"):
        body = {"assistant_id": "echo", "input": {}}
        url = f"{scene.stack.url}{path}/runs/{kind}"
        following = asyncio.create_task(read_all(scene.stack.http, url, body, "bob"))
        await asyncio.wait_for(scene.begun.wait(), LIMIT_S)
        given = {"metadata": {"owner": "alice", "readers": ["alice"]}}
        assert (await scene.call("bob", "PATCH", path, given))[0] == 200
        scene.go_on.set()
        assert AFTER not in await asyncio.wait_for(following, LIMIT_S)
        scene.begun, scene.go_on = asyncio.Event(), asyncio.Event()
        assert (await scene.call("alice", "PATCH", path, {"metadata": {"owner": "bob", "readers": ["bob"]}}))[0] == 200


async def read_all(http: aiohttp.ClientSession, url: str, body: Any, who: str) -> str:
    try:
        async with http.post(url, json=body, headers={"authorization": who}) as answer:
            return await answer.text()
    except (aiohttp.ClientError, ConnectionError) as error:
        return repr(error)


async def test_the_stream_of_a_thread_ends_when_it_is_deleted(scene: Scene) -> None:
    path = f"/threads/{scene.thread_id}"
    for kind in ("thread", "events"):
        await scene.received_until_ended(kind, lambda p=path: scene.call("alice", "DELETE", p))  # type: ignore[misc]
        again = {"thread_id": scene.thread_id, "metadata": {"readers": ["bob"]}}
        assert (await scene.call("alice", "POST", "/threads", again))[0] == 200


def test_the_expiry_of_credentials_is_read_in_the_usual_forms() -> None:
    assert expiry({"exp": 12}) == 12.0
    assert expiry({"expires_at": "1970-01-01T00:01:00+00:00"}) == expiry({"expires_at": "1970-01-01T00:01:00"}) == 60.0
    for nothing in ({}, {"exp": True}, {"exp": None}, {"exp": "soon"}):
        assert expiry(nothing) is None


async def test_a_reader_who_leaves_does_not_cancel_the_owners_run(scene: Scene) -> None:
    path = f"/threads/{scene.thread_id}/runs/{scene.run_id}"
    url = f"{scene.stack.url}{path}/stream?cancel_on_disconnect=true"
    async with scene.stack.http.get(url, headers={"authorization": "bob"}) as answer:
        assert answer.status == 200
        await scene.until_watched()
        answer.close()
    held = scene.stack.gateway._core.permissions._held
    async with asyncio.timeout(LIMIT_S):
        while scene.thread_id in held:
            await asyncio.sleep(0.01)  # nothing signals that a request is over
    scene.go_on.set()
    assert (await scene.call("alice", "GET", f"{path}/join"))[1] == {"said": AFTER}
