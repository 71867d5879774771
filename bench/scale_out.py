"""``python -m bench.scale_out``: CPU of a waited run on Kafka by the number of executors, gateways and partitions.

Each layout has topics, a schema and processes of its own, beside one broker, Postgres and Redis. Callers wait for stateless one-node
runs, at the gateways in turn; some layouts have more callers, as a deployment that needs more processes has. The layouts are measured forwards and backwards: the first and the last pass of a layout show how much the
machine itself has changed meanwhile. CPU is that of all processes but the driver, the broker counted in.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil
from langlog_backbone.embedded.servers import EmbeddedPostgres, EmbeddedRedis

from bench.__main__ import PROJECT, broker
from bench.driver.connection import Connection
from bench.driver.load import wait_run
from bench.driver.processes import Stack
from tests.stack.server import Process, free_port

WARM_UP_S = 5.0
PASSES = 3
"""Loads of a layout, one after the other; the one with the median CPU counts."""


class Layout(NamedTuple):
    executors: int
    gateways: int
    partitions: int
    callers: int = 32

    def __str__(self) -> str:
        return f"{self.executors} executors, {self.gateways} gateways, {self.partitions} partitions, {self.callers} callers"

    @classmethod
    def read(cls, text: str) -> Layout:
        """Return the layout of ``executors,gateways,partitions[,callers]``. Raises ValueError."""
        numbers = [int(number) for number in text.split(",")]
        if not 3 <= len(numbers) <= 4 or min(numbers) < 1:
            raise ValueError(f"a layout is executors,gateways,partitions[,callers], each at least 1, not {text!r}")
        return cls(*numbers)


LAYOUTS: tuple[Layout, ...] = (
    Layout(1, 1, 16),
    Layout(2, 1, 16),
    Layout(4, 1, 16),
    Layout(1, 2, 16),
    Layout(2, 2, 16),
    Layout(1, 1, 16, callers=64),
    Layout(2, 1, 16, callers=64),
    Layout(4, 1, 16, callers=128),
    Layout(1, 1, 4),
    Layout(1, 1, 32),
    Layout(1, 1, 64),
    Layout(1, 1, 128),
)


class Figures(NamedTuple):
    per_s: float
    p50_ms: float
    cpu_ms: float
    by_part: dict[str, float]
    """CPU of a run in milliseconds by service and server; a worker is part of its executor."""


class Servers(NamedTuple):
    stack: Stack
    services: dict[int, str]
    """Process id -> service."""

    def cpu_s(self) -> dict[str, float]:
        """Return CPU seconds so far by service and server."""
        spent: dict[str, float] = defaultdict(float)
        left = dict(self.stack.processes())
        for pid, service in self.services.items():
            root = psutil.Process(pid)
            for process in (root, *root.children(recursive=True)):
                left.pop(process.pid, None)
                times = process.cpu_times()
                spent[service] += times.user + times.system
        for part, process in left.values():
            times = process.cpu_times()
            spent[part] += times.user + times.system
        return spent


@contextlib.asynccontextmanager
async def running(layout: Layout, bootstrap: str, folder: Path) -> AsyncIterator[tuple[Servers, list[int]]]:
    """Start the services of a layout. Yields their processes, and the ports of the gateways."""
    async with contextlib.AsyncExitStack() as stack:
        postgres, redis = EmbeddedPostgres(folder), EmbeddedRedis(folder)
        for server in (postgres, redis):
            stack.push_async_callback(server.stop)
        await asyncio.gather(postgres.start(), redis.start())
        env = {
            "LOG_URI": f"kafka://{bootstrap}",
            "DATABASE_URI": postgres.uri,
            "REDIS_URI": redis.uri,
            "LANGLOG_PARTITIONS": str(layout.partitions),
            "LANGLOG_TOPIC_PREFIX": f"scale{uuid.uuid4().hex[:8]}.",
            "LANGLOG_PROJECT": str(PROJECT),
            "LANGLOG_WORKERS": "1",
        }
        ports = [free_port() for _ in range(layout.gateways)]
        processes = [Process(name, [name], folder, env) for name in ("projector", "scheduler")]
        processes += [Process(f"executor-{n}", ["executor"], folder, env) for n in range(layout.executors)]
        processes += [Process(f"gateway-{port}", ["gateway"], folder, {**env, "PORT": str(port)}) for port in ports]
        for process in processes:
            stack.callback(lambda process=process: process.stop() if process.alive else None)
        await asyncio.gather(*(asyncio.to_thread(process.start) for process in processes))
        stack_of = Stack(processes[0].pid, folder, int(bootstrap.rpartition(":")[2]), [p.pid for p in processes[1:]])
        yield Servers(stack_of, {process.pid: process.name.partition("-")[0] for process in processes}), ports


async def load(ports: list[int], callers: int, seconds: float) -> list[float]:
    """Run the callers for a time. Returns how long each of their runs took, in milliseconds."""
    latencies: list[float] = []
    deadline = time.perf_counter() + seconds

    async def caller(number: int) -> None:
        connection = await Connection.open("127.0.0.1", ports[number % len(ports)])
        while (began := time.perf_counter()) < deadline:
            await wait_run(connection)
            latencies.append((time.perf_counter() - began) * 1000)
        connection.close()

    await asyncio.gather(*(caller(n) for n in range(callers)))
    return latencies


async def measured(layout: Layout, bootstrap: str, folder: Path, seconds: float) -> Figures:
    async with running(layout, bootstrap, folder) as (servers, ports):
        await load(ports, layout.callers, WARM_UP_S)
        passes = []
        for _ in range(PASSES):
            before, began = servers.cpu_s(), time.perf_counter()
            latencies = await load(ports, layout.callers, seconds)
            passed, after = time.perf_counter() - began, servers.cpu_s()
            by_part = {part: (after[part] - before.get(part, 0.0)) * 1000 / len(latencies) for part in after}
            passes.append(
                Figures(len(latencies) / passed, statistics.median(latencies), sum(by_part.values()), by_part)
            )
    return sorted(passes, key=lambda figures: figures.cpu_ms)[PASSES // 2]


async def compared(bootstrap: str, layouts: Sequence[Layout], seconds: float) -> None:
    by_layout: dict[Layout, list[Figures]] = defaultdict(list)
    for layout in (*layouts, *reversed(layouts)):
        with tempfile.TemporaryDirectory(prefix="langlog-scale-") as folder:
            figures = await measured(layout, bootstrap, Path(folder), seconds)
        by_layout[layout].append(figures)
        rounded = {
            "per_s": round(figures.per_s),
            "p50_ms": round(figures.p50_ms, 1),
            "cpu_ms": round(figures.cpu_ms, 2),
        }
        by_part = {part: round(ms, 2) for part, ms in sorted(figures.by_part.items())}
        print(json.dumps({"layout": str(layout), **rounded, **by_part}), flush=True)
    base = statistics.mean(figures.cpu_ms for figures in by_layout[layouts[0]])
    for layout, passes in by_layout.items():
        cpu = statistics.mean(figures.cpu_ms for figures in passes)
        spread = max(f.cpu_ms for f in passes) / min(f.cpu_ms for f in passes)
        rate = statistics.mean(figures.per_s for figures in passes)
        print(
            f"{layout}: {rate:.0f}/s, {cpu:.2f} ms, {cpu / base:.2f} of the first layout (passes differ by {spread:.2f})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scale_out", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--layouts",
        type=Layout.read,
        nargs="+",
        default=LAYOUTS,
        metavar="EXECUTORS,GATEWAYS,PARTITIONS[,CALLERS]",
        help="default: those of the table in RESULTS.md; the others are compared with the first",
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="of each of the three loads of a layout")
    parser.add_argument("--kafka", help="host:port of a broker on this machine; one of its own without")
    args = parser.parse_args()
    args.log = "kafka"
    with broker(args) as bootstrap:
        assert bootstrap is not None
        asyncio.run(compared(bootstrap, args.layouts, args.seconds))


if __name__ == "__main__":
    main()
