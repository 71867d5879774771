"""Measures of the store's search by meaning: 10,000 items with vectors of 384 numbers, all under one prefix."""

from __future__ import annotations

import itertools
import json

from bench.driver.connection import Connection
from bench.driver.load import Call, Result, Server, callers_of, closed_loop, open_connections

ITEMS = 10_000
SPACES = 100
FILLERS = 16


async def vectors(server: Server) -> list[Result]:
    """Measure puts and searches; the embedding function is called for each, and costs little."""
    numbers = itertools.count()

    async def put(connection: Connection) -> None:
        number = next(numbers)
        value = {"text": f"remembers thing number {number}", "kind": ("food", "drink")[number % 2], "number": number}
        body = {"namespace": ["memories", f"u{number % SPACES}"], "key": f"k{number}", "value": value}
        status, answer = await connection.send("PUT", "/store/items", json.dumps(body).encode())
        if status not in (200, 204):
            raise RuntimeError(f"{status} {answer[:100]!r}")

    def search(**more: object) -> Call:
        async def call(connection: Connection) -> None:
            body = {"namespace_prefix": ["memories"], "query": f"what of {next(numbers)}?", "limit": 10, **more}
            status, answer = await connection.post("/store/items/search", json.dumps(body).encode())
            if status != 200 or answer.count(b'"score":0.') != 10:
                raise RuntimeError(f"{status} {answer[:100]!r}")

        return call

    filled = await closed_loop(server, f"vector put, {callers_of(FILLERS)}", "item", FILLERS, put, total=ITEMS)
    if filled.errors:
        raise RuntimeError(f"{filled.errors} items could not be put")
    [connection] = await open_connections(server, 1)
    status, _ = await connection.get("/store/items?namespace=memories.u1&key=k1")
    connection.close()
    assert status == 200
    of_one = search(namespace_prefix=["memories", "u7"])
    return [
        filled,
        await closed_loop(server, "vector search of 10,000, 1 caller", "call", 1, search(), seconds=server.seconds),
        await closed_loop(server, "vector search of 10,000, 8 callers", "call", 8, search(), seconds=server.seconds),
        await closed_loop(
            server, "vector search of 10,000, filtered, 1 caller", "call", 1, search(filter={"kind": "food"})
        ),
        await closed_loop(server, "vector search of 100, 1 caller", "call", 1, of_one),
    ]
