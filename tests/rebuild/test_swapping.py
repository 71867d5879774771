"""Models change places while clients are at work: no data is lost, and no client is refused."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import asyncpg

from tests.rebuild.conftest import LIVE, Scene

CLIENTS = 4


class Client:
    """Goes through the life of one thread after another, and remembers what it was answered."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http
        self.statuses: Counter[int] = Counter()
        self.refused: list[str] = []
        self.threads: dict[str, int] = {}
        """Id -> expected value in its metadata."""

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        async with self._http.request(method, path, json=body) as answer:
            self.statuses[answer.status] += 1
            text = await answer.text()
            if answer.status >= 400:
                self.refused.append(f"{method} {path}: {answer.status} {text}")
                return None
            return await answer.json() if text else None

    async def work(self, enough: asyncio.Event) -> None:
        while not enough.is_set():
            made = await self.ask("POST", "/threads", {"metadata": {"n": 0}})
            thread = made["thread_id"]
            for n in (1, 2):
                await self.ask("PATCH", f"/threads/{thread}", {"metadata": {"n": n}})
                assert (await self.ask("GET", f"/threads/{thread}"))["metadata"]["n"] == n
                self.threads[thread] = n
            values = await self.ask(
                "POST", f"/threads/{thread}/runs/wait", {"assistant_id": "echo", "input": {"text": "x"}}
            )
            state = await self.ask("GET", f"/threads/{thread}/state")
            assert state["values"] == values
            await self.ask("POST", "/threads/search", {"metadata": {"n": 2}, "limit": 5})


@contextlib.asynccontextmanager
async def busy(scene: Scene) -> AsyncIterator[list[Client]]:
    """Clients at work for the length of a block, every one of which has gone round at least once after it."""
    timeout = aiohttp.ClientTimeout(240)
    async with aiohttp.ClientSession(scene.server.url, timeout=timeout) as http:
        clients = [Client(http) for _ in range(CLIENTS)]
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.work(enough))
            yield clients
            enough.set()


async def oid(postgres: asyncpg.Connection, schema: str) -> int | None:
    value: int | None = await postgres.fetchval("SELECT oid FROM pg_namespace WHERE nspname = $1", schema)
    return value


async def test_clients_notice_nothing_of_swaps_there_and_back(scene: Scene, postgres_of: asyncpg.Connection) -> None:
    first = await oid(postgres_of, LIVE)
    async with busy(scene) as clients:
        done = await scene.alongside("rebuild")
        assert done.code == 0 and "No differences." in done.out and "Swapped" in done.out, done
        second = await oid(postgres_of, LIVE)
        assert second != first and await oid(postgres_of, f"{LIVE}_old") == first
        back = await scene.alongside("rebuild", "--rollback")
        assert back.code == 0 and "Swapped" in back.out, back
        assert await oid(postgres_of, LIVE) == first and await oid(postgres_of, f"{LIVE}_old") == second
    refused = [words for client in clients for words in client.refused]
    assert not refused
    assert sum(client.statuses.total() for client in clients) > 8 * CLIENTS
    for client in clients:
        for thread, n in client.threads.items():
            assert scene.call("GET", f"/threads/{thread}")["metadata"]["n"] == n
    scene.verified()


async def test_what_was_kept_is_let_go_and_then_there_is_no_way_back(
    scene: Scene, postgres_of: asyncpg.Connection
) -> None:
    assert scene.langlog("rebuild").code == 0
    live = await oid(postgres_of, LIVE)
    done = scene.langlog("rebuild", "--drop-old")
    assert (done.code, done.out) == (0, f"{LIVE}_old is dropped.\n")
    assert await oid(postgres_of, f"{LIVE}_old") is None
    assert scene.langlog("rebuild", "--drop-old").out == f"{LIVE}_old does not exist.\n"
    back = scene.langlog("rebuild", "--rollback")
    assert back.code == 1 and back.err.endswith(f"langlog: there is no schema {LIVE}_old\n")
    assert await oid(postgres_of, LIVE) == live
    scene.lived()


def test_ways_that_exclude_one_another_are_a_mistake(scene: Scene) -> None:
    for words in (("--rollback", "--drop-old"), ("--rollback", "--fresh"), ("--drop-old", "--accept-differences")):
        done = scene.langlog("rebuild", *words)
        assert done.code == 2 and "go alone" in done.err
