"""Measure of a mixed load: what users of an agent send between them."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

from bench.driver.connection import Connection
from bench.driver.load import ECHO, Result, Server, closed_loop

COUNTER = json.dumps({"assistant_id": "counter", "input": {}}).encode()
TEN = json.dumps({"limit": 10}).encode()
RUNS = 4
"""Runs of one visit: two on its thread, one stateless one, one in the background."""


async def mixed(server: Server) -> list[Result]:
    """Measure visits: a thread is created, run on, streamed to, looked at and listed, beside items of the store, a stateless run
    and one in the background. Twelve requests, of which four create runs; counted are the runs."""
    numbers = itertools.count()

    async def visit(connection: Connection) -> None:
        number = next(numbers)
        owner = f"user-{number % 50}"
        thread = (await connection.post_json("/threads", {"metadata": {"owner": owner}}))["thread_id"]
        of_thread = f"/threads/{thread}"
        item = {"namespace": ["visits", owner], "key": f"k{number}", "value": {"number": number}}
        search = {"metadata": {"owner": owner}, "limit": 10}
        answers = [
            await connection.post(f"{of_thread}/runs/wait", COUNTER),
            await connection.get(f"{of_thread}/state"),
            await connection.send("PUT", "/store/items", json.dumps(item).encode()),
            await connection.post(f"{of_thread}/runs/stream", COUNTER),
            await connection.get(f"/store/items?namespace=visits.{owner}&key=k{number}"),
            await connection.post("/runs", ECHO),
            await connection.post(f"{of_thread}/history", TEN),
            await connection.post("/runs/wait", ECHO),
            await connection.get(of_thread),
            await connection.get(f"{of_thread}/runs"),
            await connection.post("/threads/search", json.dumps(search).encode()),
        ]
        for status, body in answers:
            if status not in (200, 204) or b"__error__" in body:
                raise RuntimeError(f"{status} {body[:100]!r}")
        if (values := json.loads(answers[8][1])["values"]) != {"total": 2}:
            raise RuntimeError(f"not two runs on the thread: {values}")

    visits = await closed_loop(server, "mixed load, 16 callers", "run", 16, visit)
    return [replace(visits, count=visits.count * RUNS)]
