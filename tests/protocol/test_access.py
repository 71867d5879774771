"""Permissions to follow and command: the same gate as everywhere, on the server of the contract's authentication."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
import pytest_asyncio

from tests.contract.replay import HERE
from tests.protocol.following import Socket, Thread
from tests.stack.server import LiveServer

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    live = LiveServer(HERE / "graphs" / "langgraph.auth.json", tmp_path_factory.mktemp("protocol-auth"))
    with live.up():
        yield live


def session(name: str | None) -> aiohttp.ClientSession:
    headers = {} if name is None else {"authorization": f"Bearer {name}"}
    return aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=120))


@pytest_asyncio.fixture(loop_scope="module")
async def alice(server: LiveServer) -> AsyncIterator[Thread]:
    async with session("alice") as http:
        yield Thread(http, server.url, str(uuid.uuid4()))


@pytest_asyncio.fixture(loop_scope="module")
async def bob(server: LiveServer, alice: Thread) -> AsyncIterator[Thread]:
    """Another user, on the same thread."""
    async with session("bob") as http:
        yield Thread(http, server.url, alice.id)


async def test_nobody_gets_in_without_credentials(server: LiveServer) -> None:
    async with session(None) as http:
        thread = Thread(http, server.url, str(uuid.uuid4()))
        for path in ("/commands", "/stream/events"):
            async with http.post(thread.path + path, json={}) as answer:
                assert answer.status == 401
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(f"{thread.path}/stream/events")
        assert refused.value.status == 401


async def test_a_thread_is_there_for_its_owner_alone(alice: Thread, bob: Thread) -> None:
    await alice.start("echo", {"text": "a"})
    await alice.follow()
    assert [event async for event in bob.events()] == []
    answer = {"namespace": [], "interrupt_id": "x", "response": "b"}
    assert (await bob.command("input.respond", **answer))["error"] == "no_such_run"
    assert (await bob.command("run.start", assistant_id="echo", input={}))["error"] == "unknown_error"
    async with bob.http.ws_connect(f"{bob.path}/stream/events") as socket:
        assert (await socket.receive()).data == aiohttp.WSCloseCode.INTERNAL_ERROR


async def test_what_comes_of_a_thread_that_was_deleted_is_its_new_owners(alice: Thread, bob: Thread) -> None:
    await alice.start("echo", {"text": "a"})
    events = alice.events()
    while not (await anext(events)).root("completed"):
        pass
    async with alice.http.delete(alice.path) as answer:
        assert answer.status == 204
    first = asyncio.create_task(anext(events, None))
    await bob.start("echo", {"text": "b"})
    assert [event.seq for event in await bob.follow()] == [1, 2, 3, 4]
    assert await first is None


async def test_who_follows_a_thread_before_it_is_made_is_told_of_it_only_when_it_is_theirs(
    alice: Thread, bob: Thread
) -> None:
    mine, foreign = asyncio.create_task(alice.follow()), asyncio.create_task(anext(bob.events(), None))
    async with bob.http.ws_connect(f"{bob.path}/stream/events") as raw:
        socket = Socket(raw)
        assert (await socket.command("subscription.subscribe", channels=["values", "lifecycle"]))["type"] == "success"
        ended = asyncio.create_task(socket.receive())  # reading: a socket that does not answer the close is dropped
        await alice.start("echo", {"text": "a"})
        assert [event.seq for event in await mine] == [1, 2, 3, 4]
        assert await foreign is None
        assert await ended is None
        assert raw.close_code == aiohttp.WSCloseCode.INTERNAL_ERROR
        assert socket.events == []


async def test_commands_over_a_socket_are_the_callers_own(alice: Thread) -> None:
    async with alice.http.ws_connect(f"{alice.path}/stream/events") as raw:
        socket = Socket(raw)
        await socket.command("subscription.subscribe", channels=["lifecycle"])
        await socket.command("run.start", assistant_id="echo", input={"text": "a"})
        await socket.follow()
    assert (await alice.get())["metadata"]["owner"] == "alice"
