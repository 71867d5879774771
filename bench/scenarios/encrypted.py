"""Costs of LANGLOG_ENCRYPTION=on: the same loads on a server with it and one without, in turns."""

from __future__ import annotations

from bench.driver.connection import Connection
from bench.driver.load import Call, Result, Server, closed_loop, joined, wait_run, warm_up

TURNS = 5
ENV = {"LANGLOG_ENCRYPTION": "on", "LANGLOG_MASTER_KEY": "YSBrZXkgZm9yIG1lYXN1cmluZywgb2YgMzIgYnl0ZXM="}


async def encryption(plain: Server, sealed: Server) -> list[Result]:
    """Compare both. ``of_plain``: ratios of CPU per unit, and of the median, to those without encryption."""
    for server in (plain, sealed):
        await warm_up(server, 2.0)
    results = []
    for title, unit, callers, call in (
        ("create thread, 1 caller", "thread", 1, create),
        ("create thread, 8 callers", "thread", 8, create),
        ("wait, 1 caller", "run", 1, wait_run),
        ("wait, 32 callers", "run", 32, wait_run),
    ):
        results += await _compared(title, unit, callers, call, plain, sealed)
    return results


async def _compared(title: str, unit: str, callers: int, call: Call, plain: Server, sealed: Server) -> list[Result]:
    turns: dict[str, list[Result]] = {"plain": [], "sealed": []}
    for turn in range(TURNS):
        order = (("plain", plain), ("sealed", sealed))
        for name, server in order if turn % 2 else reversed(order):
            turns[name].append(await closed_loop(server, name, unit, callers, call, seconds=server.seconds / 3))
    without, sealing = (joined("", results) for results in turns.values())
    return [
        joined(f"{title}, not encrypted", turns["plain"]),
        joined(
            f"{title}, encrypted",
            turns["sealed"],
            cpu_of_plain=sealing.cpu_ms() / without.cpu_ms(),
            p50_of_plain=sealing.percentile(0.5) / without.percentile(0.5),
        ),
    ]


async def create(connection: Connection) -> None:
    status, _ = await connection.post("/threads", b"{}")
    if status != 200:
        raise RuntimeError(str(status))
