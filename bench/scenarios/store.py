"""Measures of the store: items put, read and found."""

from __future__ import annotations

import itertools
import json

from bench.driver.connection import Connection
from bench.driver.load import Result, Server, callers_of, closed_loop, open_connections

ITEMS = 1_000
SPACES = 50


async def store(server: Server) -> list[Result]:
    """Measure durable puts, gets and searches, with a thousand items in fifty namespaces."""
    numbers = itertools.count()

    async def put(connection: Connection) -> None:
        number = next(numbers)
        body = {
            "namespace": ["users", f"u{number % SPACES}"],
            "key": f"k{number}",
            "value": {"text": f"likes item {number}", "kind": ("food", "drink")[number % 2], "number": number},
        }
        status, answer = await connection.send("PUT", "/store/items", json.dumps(body).encode())
        if status not in (200, 204):
            raise RuntimeError(f"{status} {answer[:100]!r}")

    async def get(connection: Connection) -> None:
        number = next(numbers) % ITEMS
        status, answer = await connection.get(f"/store/items?namespace=users.u{number % SPACES}&key=k{number}")
        if status != 200 or b'"value"' not in answer:
            raise RuntimeError(f"{status} {answer[:100]!r}")

    async def search(connection: Connection) -> None:
        number = next(numbers)
        body = {"namespace_prefix": ["users", f"u{number % SPACES}"], "filter": {"kind": "food"}, "limit": 10}
        status, answer = await connection.post("/store/items/search", json.dumps(body).encode())
        if status != 200 or b'"items"' not in answer:
            raise RuntimeError(f"{status} {answer[:100]!r}")

    filled = await closed_loop(server, "filling", "item", 8, put, total=ITEMS)
    if filled.errors:
        raise RuntimeError(f"{filled.errors} items could not be put")
    [connection] = await open_connections(server, 1)
    connection.close()
    return [
        await closed_loop(server, f"store {what}, {callers_of(n)}", "call", n, call, seconds=server.seconds / 2)
        for what, call in (("put", put), ("get", get), ("search", search))
        for n in (1, 8)
    ]
