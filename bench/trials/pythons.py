"""``python -m bench.trials.pythons PYTHON…``: measures on servers of several Pythons, side by side and in turns, so that ratios hold on a noisy machine.

Each PYTHON is that of an environment with this langlog and the same versions of what it needs (`uv pip install -c constraints.txt -e '.[dev]'`
in a clone); the first is what the others are compared with. The load comes from the Python that runs this module, for all of them. Floors and
starts come first, each in a process by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from bench.__main__ import PROJECT
from bench.driver.load import Result, Server, warm_up
from bench.driver.processes import Stack
from bench.scenarios.measures import ON_ONE
from tests.stack.server import LiveServer

MEASURES = ("wait", "create-thread", "first-frame", "state", "store")
VERSION = "import platform; print(platform.python_version())"


def version(python: str) -> str:
    return subprocess.run([python, "-c", VERSION], check=True, capture_output=True, text=True).stdout.strip()


def floor(python: str) -> dict[str, float]:
    output = subprocess.run([python, "-m", "bench.floor"], check=True, capture_output=True, text=True).stdout
    figures: dict[str, float] = json.loads(output)
    return figures


def start(python: str, folder: Path) -> dict[str, float]:
    """Return the seconds from the start of `langlog dev` to its first answer, and the CPU seconds of all processes until then."""
    live = LiveServer(PROJECT, folder, name="start", python=python)
    began = time.perf_counter()
    with live.up(verified=False):
        took = time.perf_counter() - began
        return {"wall_s": took, "cpu_s": sum(Stack(live.pid, live.data).cpu_s().values())}


def ratios(name: str, each: dict[str, list[float]], unit: str) -> None:
    """Print medians, and of every turn the ratio to the first Python."""
    first, *others = each
    line = f"{name:36} {first} {statistics.median(each[first]):8.3f} {unit}"
    for other in others:
        by_turn = sorted(one / before for one, before in zip(each[other], each[first], strict=True))
        line += (
            f"   {other} {statistics.median(each[other]):8.3f}: {statistics.median(by_turn):.2f} "
            f"({by_turn[0]:.2f} to {by_turn[-1]:.2f})"
        )
    print(line, flush=True)


def alone(pythons: dict[str, str], turns: int, folder: Path) -> None:
    """Floors and starts."""
    figures: dict[str, dict[str, list[float]]] = {}
    for turn in range(turns + 1):
        for name, python in pythons.items() if turn % 2 else reversed(pythons.items()):
            measured = {f"floor, {key}": value for key, value in floor(python).items()}
            measured |= {f"start, {key}": value for key, value in start(python, folder / f"{name}-{turn}").items()}
            if turn:  # the first one compiles
                for key, value in measured.items():
                    figures.setdefault(key, {each: [] for each in pythons})[name].append(value)
    for key, each in figures.items():
        ratios(key, each, "")


async def measure(servers: dict[str, Server], names: list[str], turns: int) -> None:
    for server in servers.values():
        await warm_up(server)
    figures: dict[tuple[str, str], dict[str, list[float]]] = {}
    for turn in range(turns):
        for python, server in servers.items() if turn % 2 else reversed(servers.items()):
            results: list[Result] = [result for name in names for result in await ON_ONE[name](server)]
            for result in results:
                if result.errors:
                    raise RuntimeError(f"{result.errors} errors in {result.name}")
                measured = [("CPU", result.cpu_ms())] if result.cpu_s else []
                measured += [("p50", result.percentile(0.5))] if result.latencies_ms else []
                for kind, value in measured:
                    figures.setdefault((result.name, kind), {each: [] for each in servers})[python].append(value)
        print(f"turn {turn + 1} of {turns}, load {os.getloadavg()[0]:.1f}", flush=True)
    for (name, kind), each in figures.items():
        ratios(f"{name}: {kind}", each, "ms")
    held = {
        python: {part: [mb] for part, (mb, _) in server.stack.memory_mb().items()} for python, server in servers.items()
    }
    ratios("resident, langlog", {python: parts["langlog"] for python, parts in held.items()}, "MB")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.trials.pythons", description=__doc__)
    parser.add_argument("pythons", nargs="+", metavar="PYTHON")
    parser.add_argument("--only", default=",".join(MEASURES), help=f"comma separated, of: {', '.join(ON_ONE)}")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of one load")
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--starts", type=int, default=3, help="turns of floors and starts; 0: none")
    args = parser.parse_args()
    pythons = {version(python): python for python in args.pythons}
    with tempfile.TemporaryDirectory(prefix="langlog-pythons-") as folder, contextlib.ExitStack() as stack:
        if args.starts:
            alone(pythons, args.starts, Path(folder))
        servers: dict[str, Server] = {}
        for name, python in pythons.items():
            live = LiveServer(PROJECT, Path(folder) / name, name=name, python=python)
            stack.enter_context(live.up(verified=False))
            servers[name] = Server("127.0.0.1", live.port, Stack(live.pid, live.data), args.seconds)
        if args.turns:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(measure(servers, args.only.split(","), args.turns))
    return 0


if __name__ == "__main__":
    sys.exit(main())
