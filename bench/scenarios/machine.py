"""Measures of the processes alone: CPU use when idle, and memory."""

from __future__ import annotations

import asyncio
import json
import uuid

from bench.driver.load import Result, Server, open_connections
from bench.driver.processes import Meter

SETTLING_S = 3
IDLE_S = 10
CONSOLES, CONSOLES_S = 50, 20
OPEN_LIMIT_S = 30.0
"""Maximum seconds until the next stream of a console is open."""


async def idle(server: Server) -> list[Result]:
    """Measure ten idle seconds."""
    await asyncio.sleep(SETTLING_S)
    meter = Meter(server.stack)
    await asyncio.sleep(IDLE_S)
    passed, cpu = meter.read()
    own = {part: used for part, used in cpu.items() if part != "kafka"}
    shares = ", ".join(f"{part} {used / passed:.2%}" for part, used in sorted(own.items()))
    share = sum(own.values()) / passed
    note = f"{share:.2%} of a core ({shares})"
    return [Result("idle", 0, "", passed, [], cpu, note=note, more={"core_percent": 100 * share})]


async def consoles(server: Server) -> list[Result]:
    """Measure the cost of open consoles on an idle server: one stream of list changes each."""
    alone = (await idle(server))[0].more["core_percent"]
    connections = await open_connections(server, CONSOLES)
    opened = asyncio.Semaphore(0)

    def received(name: bytes, _data: bytes, _now: int) -> None:
        if name == b"open":
            opened.release()

    streams = [asyncio.ensure_future(connection.get("/changes", received)) for connection in connections]
    try:
        for _ in range(CONSOLES):
            async with asyncio.timeout(OPEN_LIMIT_S):
                await opened.acquire()
        await asyncio.sleep(SETTLING_S)
        meter = Meter(server.stack)
        await asyncio.sleep(CONSOLES_S)
        passed, cpu = meter.read()
    finally:
        for connection in connections:
            connection.close()
        ended = await asyncio.gather(*streams, return_exceptions=True)
    errors = sum(not isinstance(one, ConnectionError) for one in ended)
    own = {part: used for part, used in cpu.items() if part != "kafka"}
    share = 100 * sum(own.values()) / passed
    note = f"{share:.2f}% of a core, {share - alone:.2f}% more than with none; langlog alone {cpu.get('langlog', 0) / passed:.2%}"
    more = {"core_percent": share, "added_percent": share - alone}
    return [Result(f"{CONSOLES} idle consoles", 0, "", passed, [], cpu, errors, note=note, more=more)]


async def memory(server: Server) -> list[Result]:
    """Measure resident memory after a first run on the example project."""
    [connection] = await open_connections(server, 1)
    assistants = await connection.post_json("/assistants/search", {"limit": 1})
    body = {
        "assistant_id": assistants[0]["assistant_id"],
        "input": {"messages": [{"role": "user", "content": "hello"}]},
        "if_not_exists": "create",
    }
    await connection.post(f"/threads/{uuid.uuid4()}/runs/wait", json.dumps(body).encode())
    connection.close()
    sizes = server.stack.memory_mb()
    note = ", ".join(f"{part} {rss:.0f} MB ({pss:.0f} proportional)" for part, (rss, pss) in sorted(sizes.items()))
    more = {f"{part}_mb": rss for part, (rss, _) in sizes.items()}
    return [Result("resident memory, example project", 0, "", 0, [], {}, note=note, more=more)]
