"""``python -m bench.memory``: memory of each process after many waited runs, compared with that after few.

One server on a data folder of its own; 32 callers wait for one-node runs. The first mark comes when Redis holds as many stream events that no
client followed as it ever will at this rate: not before they have been dropped for the first time (`WINDOW_S`). At both marks the load pauses
for `--settle` seconds, after which Redis has dropped all of them; then the resident size of each process is read. Exit code 1: a process
has more than `--limit` times its memory at the first mark. No more than `--rate` runs a second are made: Redis keeps what some minutes of
runs have left, so that a load which grew between the marks would compare its own rates.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

import psutil
import uvloop
from langlog_backbone.process.settings import Settings

from bench.__main__ import PROJECT
from bench.driver.load import Server, closed_loop, wait_run, warm_up
from bench.driver.processes import Stack
from tests.stack.server import LiveServer

CALLERS = 32
PORTION = 1_000
"""Runs after which the load pauses until they are due, at the given rate."""
SHOWN = 10_000
"""Runs between two lines of output."""
WINDOW_S = Settings().frames_unfollowed_s + 10.0
"""Seconds for which Redis keeps what it holds of a run, and a few more."""


def sizes(stack: Stack) -> dict[str, float]:
    """Return the resident megabytes by process. Postgres' processes, which share most of their memory, count as one, proportionally."""
    held: dict[str, float] = {}
    for part, process in stack.processes().values():
        try:
            name = _name(part, process)
            info = process.memory_full_info()
        except psutil.Error:
            continue
        held[name] = held.get(name, 0.0) + (info.pss if part == "postgres" else info.rss) / 1e6
    return held


def _name(part: str, process: psutil.Process) -> str:
    if part != "langlog":
        return part
    return "worker" if any("worker.process" in word for word in process.cmdline()) else "langlog dev"


async def load(server: Server, runs: int) -> None:
    """Make ``runs`` waited runs. Raises RuntimeError if one fails."""
    result = await closed_loop(server, "wait", "run", CALLERS, wait_run, total=runs)
    if result.errors:
        raise RuntimeError(f"{result.errors} of {runs} runs failed")


async def measure(server: Server, early: int, late: int, settle_s: float, rate: float) -> dict[str, dict[str, float]]:
    """Return the sizes at both marks, directly after the load and after the pause."""
    measured: dict[str, dict[str, float]] = {}
    done = 0
    await warm_up(server)
    full = time.monotonic() + WINDOW_S
    for mark in (early, late):
        due = time.monotonic()
        while done < mark or time.monotonic() < full:
            await load(server, PORTION)
            done += PORTION
            due = max(due + PORTION / rate, time.monotonic())
            await asyncio.sleep(due - time.monotonic())  # the pace of the load
            if done % SHOWN == 0:
                shown = {name: round(size, 1) for name, size in sorted(sizes(server.stack).items())}
                print(json.dumps({"runs": done, "mb": shown}), flush=True)
        measured[f"{mark} at once"] = sizes(server.stack)
        await asyncio.sleep(settle_s)
        measured[f"{mark} settled"] = sizes(server.stack)
        print(json.dumps({"settled after": mark, "mb": {k: round(v, 1) for k, v in sizes(server.stack).items()}}))
    return measured


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--early", type=int, default=20_000)
    parser.add_argument("--late", type=int, default=200_000)
    parser.add_argument("--settle", type=float, default=150.0, help="seconds")
    parser.add_argument("--limit", type=float, default=1.1)
    parser.add_argument("--rate", type=float, default=100.0, help="runs a second, at most")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="langlog-memory-") as folder:
        live = LiveServer(PROJECT, Path(folder))
        with live.up(verified=False):
            server = Server("127.0.0.1", live.port, Stack(live.pid, live.data), 0)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                measured = runner.run(measure(server, args.early, args.late, args.settle, args.rate))
    before, after = measured[f"{args.early} settled"], measured[f"{args.late} settled"]
    grown = False
    for name, size in sorted(after.items()):
        ratio = size / before[name] if before.get(name) else float("inf")
        grown |= ratio > args.limit
        print(
            f"{name:12} {before.get(name, 0):8.1f} MB after {args.early}, {size:8.1f} MB after {args.late}: {ratio:.3f}"
        )
    return int(grown)


if __name__ == "__main__":
    sys.exit(main())
