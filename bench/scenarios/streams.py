"""Measures of streams: the first frame, the delay of frames on one, on many, and with many readers of one run."""

from __future__ import annotations

import asyncio
import json
import time

from bench.driver.load import Result, Server, open_connections
from bench.driver.processes import Meter


async def first_frame(server: Server) -> list[Result]:
    """Measure sequential streams: time of the first event, and of the graph's first event is."""
    body = json.dumps({"assistant_id": "echo", "input": {"text": "hello"}, "stream_mode": ["values"]}).encode()
    first: list[float] = []
    own: list[float] = []
    ends: list[float] = []
    [connection] = await open_connections(server, 1)
    meter = Meter(server.stack)
    deadline = time.perf_counter() + server.seconds
    while time.perf_counter() < deadline:
        start = time.monotonic_ns()
        seen: list[tuple[bytes, int]] = []
        await connection.post("/runs/stream", body, lambda name, _, now, seen=seen: seen.append((name, now)))  # type: ignore[misc]
        ends.append((time.monotonic_ns() - start) / 1e6)
        first.append((seen[0][1] - start) / 1e6)
        own.append((next(now for name, now in seen if name == b"values") - start) / 1e6)
    passed, cpu = meter.read()
    connection.close()
    return [
        Result("stream, first event (metadata)", len(first), "run", passed, first, cpu),
        Result("stream, first frame of the graph", len(own), "run", passed, own, {}),
        Result("stream, closed", len(ends), "run", passed, ends, {}),
    ]


class Delays:
    """Delays of custom events with the time of their emission."""

    def __init__(self) -> None:
        self.ms: list[float] = []

    def __call__(self, name: bytes, data: bytes, now: int) -> None:
        if name == b"custom":
            self.ms.append((now - int(data[data.index(b":") + 1 : -1])) / 1e6)


async def _streams(server: Server, name: str, streams: int, ticks: int, interval: float) -> Result:
    body = json.dumps(
        {"assistant_id": "ticker", "input": {"ticks": ticks, "interval": interval}, "stream_mode": ["custom"]}
    ).encode()
    delays = Delays()
    connections = await open_connections(server, streams)
    meter = Meter(server.stack)
    await asyncio.gather(*(connection.post("/runs/stream", body, delays) for connection in connections))
    passed, cpu = meter.read()
    for connection in connections:
        connection.close()
    missing = abs(streams * ticks - len(delays.ms))
    return Result(name, len(delays.ms), "frame", passed, delays.ms, cpu, missing)


async def frame_delay(server: Server) -> list[Result]:
    return [await _streams(server, "frame delivery, 1 stream at 100/s", 1, 400, 0.01)]


async def streams_64(server: Server) -> list[Result]:
    return [await _streams(server, "64 streams at 200/s each", 64, 800, 0.005)]


async def readers(server: Server) -> list[Result]:
    """Measure one run, joined by 50 clients before it emits anything; each frame to each of them is counted."""
    clients, ticks, interval = 50, 150, 0.02
    connections = await open_connections(server, clients + 1)
    thread = (await connections[0].post_json("/threads", {}))["thread_id"]
    body = {"assistant_id": "ticker", "input": {"ticks": ticks, "interval": interval, "delay": 1.0}}
    run = (await connections[0].post_json(f"/threads/{thread}/runs", body | {"stream_mode": ["custom"]}))["run_id"]
    delays = Delays()
    meter = Meter(server.stack)
    path = f"/threads/{thread}/runs/{run}/stream"
    await asyncio.gather(*(connection.get(path, delays) for connection in connections[1:]))
    passed, cpu = meter.read()
    for connection in connections:
        connection.close()
    missing = abs(clients * ticks - len(delays.ms))
    return [Result("one run read by 50 clients", len(delays.ms), "frame", passed, delays.ms, cpu, missing)]
