"""``python -m bench.hops``: the hops of a waited one-node run, counted in every process of the server.

The server starts with `bench/wrapping` on its path, which counts calls where they are made; Redis counts its commands itself, and the
kernel how often each process was woken. Figures are of one run: those of ``--runs`` runs, less what the server does in the same time
without any.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import uvloop

from bench.__main__ import PROJECT, broker
from bench.driver.load import Server, closed_loop, wait_run
from bench.driver.processes import Stack
from tests.stack.server import LiveServer

WRAPPING = Path(__file__).parents[1] / "wrapping"
LEAST = 0.05
"""Minimum count per run; rarer hops are left out."""
WARM_RUNS = 300

Counts = Counter[tuple[str, str]]
"""(process, name) -> count."""


def _role(process: psutil.Process) -> str:
    words = process.cmdline()
    if any("worker.process" in word for word in words):
        return "worker"
    return "main" if "dev" in words else process.name().partition(":")[0]


def _counted(folder: Path, roles: dict[int, str]) -> Counts:
    counts: Counts = Counter()
    for names in folder.glob("*.names"):
        role = roles.get(int(names.stem))
        if role is None:
            continue
        figures = names.with_suffix(".figures").read_bytes()
        for slot, name in enumerate(names.read_text().splitlines()):
            counts[role, name] += struct.unpack_from("<q", figures, 8 * slot)[0]
    return counts


def _woken(stack: Stack) -> Counts:
    """Return how often threads of each process slept and were woken."""
    counts: Counts = Counter()
    for _, process in stack.processes().values():
        with contextlib.suppress(psutil.NoSuchProcess, OSError):
            for task in Path(f"/proc/{process.pid}/task").iterdir():
                for line in (task / "status").read_text().splitlines():
                    if line.startswith("voluntary_ctxt_switches"):
                        counts[_role(process), "threads woken"] += int(line.split()[1])
    return counts


def _now(stack: Stack, folder: Path) -> Counts:
    roles = {pid: _role(process) for pid, (_, process) in stack.processes().items()}
    return _counted(folder, roles) + _woken(stack)


async def measure(server: Server, folder: Path, callers: int, runs: int) -> dict[tuple[str, str], float]:
    await closed_loop(server, "", "run", callers, wait_run, total=WARM_RUNS)
    before, began = _now(server.stack, folder), time.perf_counter()
    load = await closed_loop(server, "", "run", callers, wait_run, total=runs)
    if load.errors:
        raise RuntimeError(f"{load.errors} runs failed")
    after, took = _now(server.stack, folder), time.perf_counter() - began
    quiet = _now(server.stack, folder)
    await asyncio.sleep(took)
    idle = _now(server.stack, folder)
    return {
        name: (after[name] - before[name] - (idle[name] - quiet[name])) / runs
        for name in sorted(after.keys() | idle.keys())
    }


@contextlib.contextmanager
def _up(kafka: str | None, folder: Path) -> Iterator[Server]:
    counts = folder / "hops"
    counts.mkdir()
    env = {
        "LANGLOG_HOPS": str(counts),
        "PYTHONPATH": os.pathsep.join((str(WRAPPING), os.environ.get("PYTHONPATH", ""))),
    }
    if kafka:
        env |= {"LOG_URI": f"kafka://{kafka}", "LANGLOG_TOPIC_PREFIX": f"hops-{os.getpid()}."}
    live = LiveServer(PROJECT, folder / "server", env, "--workers", "1")
    port = int(kafka.rpartition(":")[2]) if kafka else None
    with live.up(verified=False):
        yield Server("127.0.0.1", live.port, Stack(live.pid, live.data, port), 0, live.env)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.hops", description=__doc__)
    parser.add_argument("--log", choices=["sqlite", "kafka"], default="sqlite")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="a broker on this machine; default: start one")
    parser.add_argument("--callers", type=int, default=1)
    parser.add_argument("--runs", type=int, default=300)
    args = parser.parse_args()
    with broker(args) as kafka, tempfile.TemporaryDirectory(prefix="langlog-hops-") as temporary:
        folder = Path(temporary)
        with _up(kafka, folder) as server, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            figures = runner.run(measure(server, folder / "hops", args.callers, args.runs))
    print(f"{args.log}, {args.callers} caller(s), of one run:")
    for (process, name), each in figures.items():
        if each >= LEAST:
            print(f"{process:10} {each:8.2f}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
