"""``python -m bench.graph_host``: what a one-node run costs in TypeScript, against the same graph in Python on the same server.

One caller, and eight, wait for stateless runs of either graph in turns. CPU is that of langlog's own processes with Postgres and Redis; what
Node uses stands apart, since a graph in Python runs in langlog's process and one in TypeScript does not. ``--node`` names the releases of
Node that are measured, one after the other: that of the path, and that of the wheel (``langlog[js]``). Needs node and npm, and what
the project of `tests/js/host` names.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from bench.driver.connection import Connection
from bench.driver.processes import Stack
from tests.js.host import stack
from tests.stack.server import LiveServer

TURNS = 6
AIM_P50_MS = 2.0
AIM_CPU_MS = 1.0
WARM_UP_RUNS = 300
"""For the engine of Node to have compiled what runs often."""
NODE = "node"


class Turn(NamedTuple):
    """``own_ms``, ``node_ms``: CPU of a run."""

    p50_ms: float
    own_ms: float
    node_ms: float


def cpu_s(server: LiveServer) -> tuple[float, float]:
    """CPU seconds so far: of langlog with its servers, and of Node."""
    own = node = 0.0
    for _, process in Stack(server.pid, server.data).processes().values():
        try:
            times = process.cpu_times()
            used = times.user + times.system
            if Path(process.exe()).name == NODE:
                node += used
            else:
                own += used
        except psutil.Error:
            continue
    return own, node


async def one_turn(server: LiveServer, graph: str, callers: int, runs: int) -> Turn:
    body = json.dumps({"assistant_id": graph, "input": {"text": "hello"}}).encode()
    connections = [await Connection.open("127.0.0.1", server.port) for _ in range(callers)]
    latencies: list[float] = []

    async def caller(connection: Connection) -> None:
        for _ in range(runs // callers):
            began = time.perf_counter()
            status, answer = await connection.post("/runs/wait", body)
            if status != 200 or b"said hello" not in answer:
                raise RuntimeError(f"{status} {answer[:100]!r}")
            latencies.append((time.perf_counter() - began) * 1000)

    own, node = cpu_s(server)
    await asyncio.gather(*(caller(connection) for connection in connections))
    own_after, node_after = cpu_s(server)
    for connection in connections:
        connection.close()
    count = len(latencies)
    return Turn(statistics.median(latencies), (own_after - own) * 1000 / count, (node_after - node) * 1000 / count)


async def compared(server: LiveServer, callers: int, runs: int) -> tuple[float, float]:
    """Prints the turns' medians; how much more a run in TypeScript takes: p50, and CPU of langlog's own processes."""
    turns: dict[str, list[Turn]] = {"python": [], "quiet": []}
    for turn in range(TURNS):
        for graph in ("python", "quiet") if turn % 2 else ("quiet", "python"):
            turns[graph].append(await one_turn(server, graph, callers, runs))
    middle = {graph: Turn(*map(statistics.median, zip(*each, strict=True))) for graph, each in turns.items()}
    for graph, name in (("python", "Python"), ("quiet", "TypeScript")):
        p50, own, node = middle[graph]
        print(f"  {name:<10} p50 {p50:6.2f} ms   CPU of langlog {own:5.2f} ms   of Node {node:5.2f} ms")
    p50, own = (middle["quiet"][n] - middle["python"][n] for n in (0, 1))
    print(f"  difference p50 {p50:+6.2f} ms   CPU of langlog {own:+5.2f} ms", flush=True)
    return p50, own


async def measure(server: LiveServer, runs: int) -> bool:
    for graph in ("python", "quiet"):
        await one_turn(server, graph, 4, WARM_UP_RUNS)
    missed = False
    for callers in (1, 8):
        print(f"{callers} caller{'s' * (callers > 1)}, {TURNS} turns of {runs} runs each:")
        p50, own = await compared(server, callers, runs)
        if callers == 1:
            missed = p50 > AIM_P50_MS or own > AIM_CPU_MS
            print(f"  aim p50 {AIM_P50_MS:g} ms, CPU {AIM_CPU_MS:g} ms: {'MISSED' if missed else 'met'}")
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.graph_host", description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="of a turn")
    programs = stack.node_programs()
    parser.add_argument("--node", choices=list(programs), nargs="+", default=list(programs))
    options = parser.parse_args()
    stack.built_host()
    missed = False
    for name in options.node:
        version = subprocess.run([programs[name], "--version"], capture_output=True, text=True, check=True).stdout
        print(f"Node {version.strip()} ({name})", flush=True)
        with tempfile.TemporaryDirectory(prefix="langlog-graph-host-") as folder:
            project = stack.copied_project(Path(folder) / "project")
            env = {"LANGLOG_WORKERS": "1", "LANGLOG_NODE": str(programs[name])}
            with LiveServer(project / "langgraph.json", Path(folder), env).up(verified=False) as server:
                missed = asyncio.run(measure(server, options.runs)) or missed
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main())
