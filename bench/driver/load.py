"""Tools of a measure: a server, loads on it, and results.

Loads are closed loops: a number of callers, each sending its next request after the response to the last one.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.driver.connection import Connection
from bench.driver.processes import Meter, Stack

ECHO = json.dumps({"assistant_id": "echo", "input": {"text": "hello"}}).encode()
DRAIN_LIMIT_S = 120.0

Call = Callable[[Connection], Awaitable[None]]


class Server(NamedTuple):
    host: str
    port: int
    stack: Stack
    seconds: float
    """Duration of one load, in seconds."""
    env: Mapping[str, str] = {}
    """Environment for tools beside the server."""


@dataclass(frozen=True)
class Result:
    name: str
    count: int
    unit: str
    """Counted unit: run, thread, frame …"""
    seconds: float
    latencies_ms: list[float]
    cpu_s: Mapping[str, float]
    """CPU seconds by part of the stack; empty: not measured."""
    errors: int = 0
    note: str = ""
    more: Mapping[str, float] = field(default_factory=dict)
    """Further figures of this measure."""

    @property
    def rate(self) -> float:
        return self.count / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """Return a percentile in milliseconds; 0 without samples."""
        if not self.latencies_ms:
            return 0.0
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def cpu_ms(self, *, without: tuple[str, ...] = ()) -> float:
        """Return the CPU milliseconds of one unit over all parts."""
        spent = sum(used for part, used in self.cpu_s.items() if part not in without)
        return spent * 1000 / self.count if self.count else 0.0

    def figures(self) -> dict[str, float]:
        """Return the figures by their names in `bars`."""
        figures = dict(self.more)
        if self.seconds and self.count:
            figures["per_s"] = self.rate
        if self.latencies_ms:
            for share in (0.5, 0.95, 0.99):
                figures[f"p{round(100 * share)}_ms"] = self.percentile(share)
            figures["p99_over_p50"] = figures["p99_ms"] / max(figures["p50_ms"], 1e-9)
        if self.cpu_s and self.count:
            figures["cpu_ms"] = self.cpu_ms()
        return figures


async def open_connections(server: Server, count: int) -> list[Connection]:
    return await asyncio.gather(*(Connection.open(server.host, server.port) for _ in range(count)))


async def closed_loop(
    server: Server, name: str, unit: str, callers: int, call: Call, *, seconds: float = 0, total: int = 0
) -> Result:
    """Run callers for a time, or until there were ``total`` calls. A call that raises RuntimeError is an error."""
    connections = await open_connections(server, callers)
    latencies: list[float] = []
    errors = 0
    meter = Meter(server.stack)
    deadline = time.perf_counter() + (float("inf") if total else seconds or server.seconds)
    left = total or -1

    async def caller(connection: Connection) -> None:
        nonlocal errors, left
        while left and (start := time.perf_counter()) < deadline:
            left -= 1
            try:
                await call(connection)
            except RuntimeError:
                errors += 1
            latencies.append((time.perf_counter() - start) * 1000)

    await asyncio.gather(*(caller(connection) for connection in connections))
    passed, cpu = meter.read()
    for connection in connections:
        connection.close()
    return Result(name, len(latencies), unit, passed, latencies, cpu, errors)


def joined(name: str, results: Sequence[Result], **more: float) -> Result:
    """Return loads of the same kind as one."""
    parts = {part for one in results for part in one.cpu_s}
    return Result(
        name,
        sum(one.count for one in results),
        results[0].unit,
        sum(one.seconds for one in results),
        [ms for one in results for ms in one.latencies_ms],
        {part: sum(one.cpu_s.get(part, 0.0) for one in results) for part in parts},
        sum(one.errors for one in results),
        more=more,
    )


async def wait_run(connection: Connection) -> None:
    """Wait for one stateless run of the one-node graph."""
    status, body = await connection.post("/runs/wait", ECHO)
    if status != 200 or b"HELLO" not in body:
        raise RuntimeError(f"{status} {body[:100]!r}")


async def until_idle(connection: Connection) -> None:
    """Wait until no thread is busy."""
    deadline = time.perf_counter() + DRAIN_LIMIT_S
    while time.perf_counter() < deadline:
        busy = await connection.post_json("/threads/search", {"status": "busy", "limit": 1, "select": ["thread_id"]})
        if not busy:
            return
        await asyncio.sleep(0.02)
    raise RuntimeError(f"not drained after {DRAIN_LIMIT_S} s")


async def warm_up(server: Server, seconds: float = 4.0) -> None:
    """Warm up connections, statements, imports, and a broker's partitions."""
    await closed_loop(server, "warm-up", "run", 32, wait_run, seconds=seconds)


def callers_of(count: int) -> str:
    return f"{count} caller{'s' * (count > 1)}"
