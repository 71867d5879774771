"""``python -m bench.host_hops``: where the time of a waited one-node run goes, in TypeScript and in Python, hop by hop.

One caller waits for runs of either graph in turns. Worker and Node note the monotonic clock, which they share, at each hop
(`bench/wrapping`, ``host.mjs``); a hop's figure is the time since the hop before it. Beside them the floor: the same graph in Node by
the library alone, with its saver in memory (``floor.mjs``), at once and with a pause before each run, as a server has it. Notes cost
some ten microseconds a run.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.driver.connection import Connection
from tests.js.host import stack
from tests.stack.server import LiveServer

HERE = Path(__file__).parent
WRAPPING = HERE.parent / "wrapping"
WARM_UP_RUNS = 300
HOPS = {
    "python": [
        "caller: request",
        "worker: task taken",
        "worker: graph submitted",
        "graph loop: begun",
        "graph loop: ended",
        "worker: end seen",
        "worker: report in the log",
        "caller: answer",
    ],
    "quiet": [
        "caller: request",
        "worker: task taken",
        "worker: graph submitted",
        "worker: attempt begun",
        "worker: run sent",
        "node: bytes received",
        "node: graph begun",
        "node: graph ended",
        "node: last write begun",
        "node: last written",
        "worker: last bytes received",
        "worker: end decoded",
        "worker: attempt ended",
        "worker: end seen",
        "worker: report in the log",
        "caller: answer",
    ],
}
Notes = list[tuple[int, str]]
Times = dict[str, list[tuple[int, int]]]
"""Graph -> when each run was requested, and when it was answered, in nanoseconds."""


async def one_turn(server: LiveServer, graph: str, runs: int) -> list[tuple[int, int]]:
    """Return when each run was requested, and when it was answered, in nanoseconds."""
    body = json.dumps({"assistant_id": graph, "input": {"text": "hello"}}).encode()
    connection = await Connection.open("127.0.0.1", server.port)
    times = []
    for _ in range(runs):
        began = time.monotonic_ns()
        status, answer = await connection.post("/runs/wait", body)
        if status != 200 or b"said hello" not in answer:
            raise RuntimeError(f"{status} {answer[:100]!r}")
        times.append((began, time.monotonic_ns()))
    connection.close()
    return times


def noted(folder: Path) -> Notes:
    notes = []
    for file in folder.glob("*.times"):
        for line in file.read_text().splitlines():
            at, _, name = line.partition(" ")
            notes.append((int(at), name))
    return sorted(notes)


def hops_of(graph: str, notes: Notes, run: tuple[int, int]) -> list[float] | None:
    """Return the milliseconds of each hop; None for a run of which a note is missing."""
    at = {"caller: request": run[0], "caller: answer": run[1]}
    for when, name in notes:
        if run[0] <= when <= run[1]:
            at.setdefault(name, when)
            place, _, what = name.partition(": ")
            if "worker: end seen" not in at and (name.startswith("node: writ") or name == "worker: bytes received"):
                at[f"{place}: last {what}"] = when
    if any(hop not in at for hop in HOPS[graph]):
        return None
    whens = [at[hop] for hop in HOPS[graph]]
    return [(after - before) / 1e6 for before, after in itertools.pairwise(whens)]


def show(graph: str, runs: Sequence[list[float]], last: float) -> None:
    print(f"{graph}: {len(runs)} runs, p50 {last:.2f} ms; milliseconds since the hop before (p50, p10)")
    for hop, each in zip(HOPS[graph][1:], zip(*runs, strict=True), strict=True):
        print(f"  {hop:28} {statistics.median(each):6.3f}  {sorted(each)[len(each) // 10]:6.3f}")


def floor(project: Path, node: Path) -> None:
    """Print what the library takes by itself."""
    program = project / "floor.mjs"
    program.write_bytes((HERE / "floor.mjs").read_bytes())  # it imports the project's packages
    subprocess.run([node, program], cwd=project, check=True)


def measure(server: LiveServer, turns: int, runs: int) -> Times:
    times: Times = {"python": [], "quiet": []}
    for graph in times:
        asyncio.run(one_turn(server, graph, WARM_UP_RUNS))
    for turn in range(turns):
        for graph in ("python", "quiet") if turn % 2 else ("quiet", "python"):
            times[graph] += asyncio.run(one_turn(server, graph, runs))
    return times


def report(times: Times, notes: Notes) -> None:
    for graph, each in times.items():
        complete = []
        begun = 0
        for run in each:
            while begun < len(notes) and notes[begun][0] < run[0]:
                begun += 1
            end = begun
            while end < len(notes) and notes[end][0] <= run[1]:
                end += 1
            if (hops := hops_of(graph, notes[begun:end], run)) is not None:
                complete.append(hops)
        show(graph, complete, statistics.median((after - before) / 1e6 for before, after in each))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.host_hops", description=__doc__)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--runs", type=int, default=200, help="of a turn")
    programs = stack.node_programs()
    parser.add_argument("--node", choices=list(programs), default="path", help="that of the path, or of the wheel")
    options = parser.parse_args()
    node = programs[options.node]
    stack.built_host()
    with tempfile.TemporaryDirectory(prefix="langlog-host-hops-") as temporary:
        folder = Path(temporary)
        project = stack.copied_project(folder / "project")
        floor(project, node)
        times = folder / "times"
        times.mkdir()
        env = {
            "LANGLOG_WORKERS": "1",
            "LANGLOG_NODE": str(node),
            "LANGLOG_TIMES": str(times),
            "NODE_OPTIONS": f"--import {HERE / 'host.mjs'}",
            "PYTHONPATH": os.pathsep.join((str(WRAPPING), os.environ.get("PYTHONPATH", ""))),
        }
        with LiveServer(project / "langgraph.json", folder / "server", env).up(verified=False) as server:
            measured = measure(server, options.turns, options.runs)
        report(measured, noted(times))  # the processes have ended, and written all their notes
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
