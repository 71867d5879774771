"""The measures: each loads the server in one way and says how long that took and what it cost.

Loads are closed loops: so many callers, each sending its next request when the last one is answered.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from bench.connection import Connection
from bench.processes import Meter, Stack

ECHO = json.dumps({"assistant_id": "echo", "input": {"text": "hello"}}).encode()
DRAIN_LIMIT_S = 60.0

Call = Callable[[Connection], Awaitable[None]]


class Server(NamedTuple):
    host: str
    port: int
    stack: Stack
    seconds: float
    """How long one load lasts."""


@dataclass(frozen=True)
class Result:
    name: str
    count: int
    unit: str
    """What is counted: run, thread, frame …"""
    seconds: float
    latencies_ms: list[float]
    cpu_s: dict[str, float]
    errors: int = 0
    note: str = ""

    @property
    def rate(self) -> float:
        return self.count / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """Milliseconds; 0 when nothing was timed."""
        if not self.latencies_ms:
            return 0.0
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def cpu_ms(self, *, without: tuple[str, ...] = ()) -> float:
        """CPU milliseconds of one unit over all parts."""
        spent = sum(used for part, used in self.cpu_s.items() if part not in without)
        return spent * 1000 / self.count if self.count else 0.0


async def _open(server: Server, count: int) -> list[Connection]:
    return await asyncio.gather(*(Connection.open(server.host, server.port) for _ in range(count)))


async def closed_loop(server: Server, name: str, unit: str, callers: int, call: Call, seconds: float = 0) -> Result:
    """So many callers, for so long."""
    connections = await _open(server, callers)
    latencies: list[float] = []
    errors = 0
    meter = Meter(server.stack)
    deadline = time.perf_counter() + (seconds or server.seconds)

    async def caller(connection: Connection) -> None:
        nonlocal errors
        while (start := time.perf_counter()) < deadline:
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


async def _wait(connection: Connection) -> None:
    status, body = await connection.post("/runs/wait", ECHO)
    if status != 200 or b"HELLO" not in body:
        raise RuntimeError(f"{status} {body[:100]!r}")


async def _create_thread(connection: Connection) -> None:
    status, _ = await connection.post("/threads", b"{}")
    if status != 200:
        raise RuntimeError(str(status))


async def _thread_and_run(connection: Connection) -> None:
    thread = await connection.post_json("/threads", {})
    status, body = await connection.post(f"/threads/{thread['thread_id']}/runs/wait", ECHO)
    if status != 200 or b"HELLO" not in body:
        raise RuntimeError(f"{status} {body[:100]!r}")


async def warm_up(server: Server) -> list[Result]:
    """Connections, statements, imports, and a broker's first writes to its partitions."""
    await closed_loop(server, "warm-up", "run", 32, _wait, 4.0)
    return []


async def create_thread(server: Server) -> list[Result]:
    return [
        await closed_loop(server, f"create thread, {n} caller{'s' * (n > 1)}", "thread", n, _create_thread)
        for n in (1, 8)
    ]


async def wait_stateless(server: Server) -> list[Result]:
    return [await closed_loop(server, f"wait, {n} caller{'s' * (n > 1)}", "run", n, _wait) for n in (1, 32, 128)]


async def thread_and_run(server: Server) -> list[Result]:
    return [await closed_loop(server, "thread and run, 32 callers", "run", 32, _thread_and_run)]


async def waiting_runs(server: Server) -> list[Result]:
    body = json.dumps({"assistant_id": "waiting", "input": {"seconds": 0.2}}).encode()

    async def call(connection: Connection) -> None:
        status, answer = await connection.post("/runs/wait", body)
        if status != 200 or b"__error__" in answer:
            raise RuntimeError(f"{status} {answer[:100]!r}")

    return [await closed_loop(server, "runs that wait 200 ms, 256 callers", "run", 256, call)]


async def first_frame(server: Server) -> list[Result]:
    """Streams one after the other: when the first event is there, and when the graph's first event is."""
    body = json.dumps({"assistant_id": "echo", "input": {"text": "hello"}, "stream_mode": ["values"]}).encode()
    first: list[float] = []
    own: list[float] = []
    ends: list[float] = []
    [connection] = await _open(server, 1)
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


async def _streams(server: Server, name: str, streams: int, ticks: int, interval: float) -> Result:
    body = json.dumps(
        {"assistant_id": "ticker", "input": {"ticks": ticks, "interval": interval}, "stream_mode": ["custom"]}
    ).encode()
    delays: list[float] = []

    def on_event(name: bytes, data: bytes, now: int) -> None:
        if name == b"custom":
            delays.append((now - int(data[data.index(b":") + 1 : -1])) / 1e6)

    connections = await _open(server, streams)
    meter = Meter(server.stack)
    await asyncio.gather(*(connection.post("/runs/stream", body, on_event) for connection in connections))
    passed, cpu = meter.read()
    for connection in connections:
        connection.close()
    missing = streams * ticks - len(delays)
    return Result(name, len(delays), "frame", passed, delays, cpu, missing)


async def frame_delay(server: Server) -> list[Result]:
    return [await _streams(server, "frame delivery, 1 stream at 100/s", 1, 500, 0.01)]


async def streams_64(server: Server) -> list[Result]:
    return [await _streams(server, "64 streams at 200/s each", 64, 800, 0.005)]


async def _until_idle(connection: Connection) -> None:
    """Return when no thread is busy."""
    deadline = time.perf_counter() + DRAIN_LIMIT_S
    while time.perf_counter() < deadline:
        busy = await connection.post_json("/threads/search", {"status": "busy", "limit": 1, "select": ["thread_id"]})
        if not busy:
            return
        await asyncio.sleep(0.02)
    raise RuntimeError(f"not drained after {DRAIN_LIMIT_S} s")


async def background(server: Server) -> list[Result]:
    """500 stateless background runs from 32 callers: how fast they are taken, and when all are over."""
    total, callers = 500, 32
    connections = await _open(server, callers)
    numbers = iter(range(total))
    latencies: list[float] = []

    async def caller(connection: Connection) -> None:
        for _ in numbers:
            start = time.perf_counter()
            status, body = await connection.post("/runs", ECHO)
            assert status == 200, body
            latencies.append((time.perf_counter() - start) * 1000)

    meter = Meter(server.stack)
    await asyncio.gather(*(caller(connection) for connection in connections))
    enqueued_s, _ = meter.read()
    await _until_idle(connections[0])
    drained_s, cpu = meter.read()
    for connection in connections:
        connection.close()
    return [
        Result("500 background runs, enqueued", total, "run", enqueued_s, latencies, {}),
        Result("500 background runs, drained", total, "run", drained_s, [], cpu, note=f"{drained_s:.2f} s in all"),
    ]


async def one_thread(server: Server) -> list[Result]:
    """90 runs enqueued on one thread at once: all of them count."""
    total = 90
    connections = await _open(server, 16)
    thread = (await connections[0].post_json("/threads", {}))["thread_id"]
    body: dict[str, Any] = {"assistant_id": "counter", "input": {}}
    numbers = iter(range(total))
    meter = Meter(server.stack)

    async def caller(connection: Connection) -> None:
        for _ in numbers:
            await connection.post_json(f"/threads/{thread}/runs", body)

    await asyncio.gather(*(caller(connection) for connection in connections))
    await _until_idle(connections[0])
    passed, cpu = meter.read()
    _, answer = await connections[0].get(f"/threads/{thread}")
    counted = json.loads(answer)["values"]["total"]
    for connection in connections:
        connection.close()
    return [Result("90 runs enqueued on one thread", total, "run", passed, [], cpu, abs(total - counted))]


async def supersteps(server: Server) -> list[Result]:
    """300 supersteps in one run, durable."""
    steps, runs = 300, 5
    [connection] = await _open(server, 1)
    body = {"assistant_id": "steps", "input": {"left": steps}, "config": {"recursion_limit": steps + 10}}
    await connection.post_json("/runs/wait", body)
    meter = Meter(server.stack)
    for _ in range(runs):
        await connection.post_json("/runs/wait", body)
    passed, cpu = meter.read()
    connection.close()
    return [Result("superstep, 300 in one run", steps * runs, "step", passed, [], cpu)]


async def idle(server: Server) -> list[Result]:
    """Ten seconds of nothing."""
    await asyncio.sleep(3)
    meter = Meter(server.stack)
    await asyncio.sleep(10)
    passed, cpu = meter.read()
    own = {part: used for part, used in cpu.items() if part != "kafka"}
    shares = ", ".join(f"{part} {used / passed:.2%}" for part, used in sorted(own.items()))
    return [Result("idle", 0, "", passed, [], cpu, note=f"{sum(own.values()) / passed:.2%} of a core ({shares})")]


async def memory(server: Server) -> list[Result]:
    """Resident memory after a first run on the example project."""
    [connection] = await _open(server, 1)
    found = await connection.post_json("/assistants/search", {"limit": 1})
    thread = str(uuid.uuid4())
    messages = [{"role": "user", "content": "hello"}]
    await connection.post(
        f"/threads/{thread}/runs/wait",
        json.dumps(
            {
                "assistant_id": found[0]["assistant_id"],
                "input": {"messages": messages},
                "if_not_exists": "create",
            }
        ).encode(),
    )
    connection.close()
    sizes = server.stack.memory_mb()
    note = ", ".join(f"{part} {rss:.0f} MB ({pss:.0f} proportional)" for part, (rss, pss) in sorted(sizes.items()))
    return [Result("resident memory, example project", 0, "", 0, [], {}, note=note)]


MEASURES: dict[str, Callable[[Server], Awaitable[list[Result]]]] = {
    "create-thread": create_thread,
    "wait": wait_stateless,
    "thread-and-run": thread_and_run,
    "waiting-runs": waiting_runs,
    "first-frame": first_frame,
    "frame-delay": frame_delay,
    "streams": streams_64,
    "background": background,
    "one-thread": one_thread,
    "supersteps": supersteps,
    "idle": idle,
    "memory": memory,
}
