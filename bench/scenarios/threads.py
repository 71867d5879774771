"""Measures of threads: creation, state and history, and search among many."""

from __future__ import annotations

import json
import random
import uuid
from typing import Any

from bench.driver.connection import Connection
from bench.driver.load import Result, Server, callers_of, closed_loop, open_connections, until_idle

CHECKPOINTS = 300
OWNERS = 200
"""Number of different values of the searched metadata."""
FEW, MANY = 2_000, 20_000


async def create_thread(server: Server) -> list[Result]:
    async def call(connection: Connection) -> None:
        status, _ = await connection.post("/threads", b"{}")
        if status != 200:
            raise RuntimeError(str(status))

    return [await closed_loop(server, f"create thread, {callers_of(n)}", "thread", n, call) for n in (1, 8)]


async def state_and_history(server: Server) -> list[Result]:
    """Measure state and history of a thread with 100 runs and 300 checkpoints."""
    [connection] = await open_connections(server, 1)
    thread = (await connection.post_json("/threads", {}))["thread_id"]
    for _ in range(CHECKPOINTS // 3):
        await connection.post_json(f"/threads/{thread}/runs/wait", {"assistant_id": "counter", "input": {}})
    body = json.dumps({"limit": CHECKPOINTS + 10}).encode()
    _, answer = await connection.post(f"/threads/{thread}/history", body)
    connection.close()
    if (count := len(json.loads(answer))) != CHECKPOINTS:
        raise RuntimeError(f"{count} checkpoints instead of {CHECKPOINTS}")
    ten = json.dumps({"limit": 10}).encode()

    async def state(connection: Connection) -> None:
        status, answer = await connection.get(f"/threads/{thread}/state")
        if status != 200 or b'"total":100' not in answer:
            raise RuntimeError(f"{status} {answer[:100]!r}")

    async def history(connection: Connection) -> None:
        status, answer = await connection.post(f"/threads/{thread}/history", ten)
        if status != 200 or answer.count(b'"parent_checkpoint":') != 10:
            raise RuntimeError(f"{status} {answer[:100]!r}")

    seconds = server.seconds / 2
    return [
        await closed_loop(server, f"{what}, {callers_of(n)}", "call", n, call, seconds=seconds)
        for what, call in (("state", state), ("history of 10", history))
        for n in (1, 8)
    ]


class Filling:
    """Creates threads with searchable metadata and a run on each."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.stored = 0

    async def up_to(self, count: int) -> None:
        random.seed(count)

        async def call(connection: Connection) -> None:
            self.stored += 1
            thread = str(uuid.uuid4())
            metadata = {
                "owner": f"user-{random.randrange(OWNERS)}",
                "kind": random.choice(("chat", "batch")),
                "title": f"About the {self.stored}th matter",
            }
            await connection.post_json("/threads", {"thread_id": thread, "metadata": metadata})
            body = {"assistant_id": "echo", "input": {"text": f"hello {self.stored}"}}
            await connection.post_json(f"/threads/{thread}/runs", body)

        if count > self.stored:
            filled = await closed_loop(self._server, "filling", "thread", 32, call, total=count - self.stored)
            if filled.errors:
                raise RuntimeError(f"{filled.errors} threads could not be made")
            [connection] = await open_connections(self._server, 1)
            await until_idle(connection)
            connection.close()


SEARCHES: dict[str, dict[str, Any]] = {
    "all": {},
    "by metadata": {"metadata": {"owner": "user-7"}},
    "by updated_at": {"sort_by": "updated_at", "sort_order": "desc"},
    "by metadata, by updated_at": {"metadata": {"owner": "user-7"}, "sort_by": "updated_at", "sort_order": "desc"},
    "half of them, by updated_at": {"metadata": {"kind": "chat"}, "sort_by": "updated_at", "sort_order": "desc"},
    "idle ones, by updated_at": {"status": "idle", "sort_by": "updated_at", "sort_order": "asc"},
}
"""Name -> body of a search, for ten threads each."""


async def search(server: Server, stored: int) -> list[Result]:
    results = []
    for what, query in SEARCHES.items():
        body = json.dumps({"limit": 10} | query).encode()

        async def call(connection: Connection, body: bytes = body) -> None:
            status, answer = await connection.post("/threads/search", body)
            if status != 200 or answer.count(b'"thread_id"') < 5:
                raise RuntimeError(f"{status} {answer[:100]!r}")

        name = f"search of {stored:,} threads, {what}"
        results.append(await closed_loop(server, name, "call", 1, call, seconds=server.seconds / 4))
    return results
