"""``python -m bench.filled``: a server that holds a million threads beside an empty one, in turns, with one caller.

The threads come from the log (`driver/history.py`): each has finished runs, as gateway, decider and worker would have written them. A langlog that
starts on that log folds them. It is stopped then and started again, which is the start that is measured. Each turn makes
the same calls on both servers; printed are the medians of the turns' ratios (filled / empty) of CPU and of the median latency, and
their range without the outer quarters.

``--log-gb`` lengthens the log to that size afterwards, by records of 64 kB that nothing compresses, as dead letters, which projectors read once; then waits and
creations are measured once more, with their tails. ``--folder`` keeps everything, and what is there already is not made again.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import uvloop
from langlog_backbone.embedded.servers import LOG_FILE
from langlog_backbone.log import NewRecord, started_log
from langlog_backbone.process.settings import Settings
from langlog_schemas import events

from bench.__main__ import PROJECT
from bench.driver.connection import Connection
from bench.driver.history import EVENTS_PER_RUN, fill
from bench.driver.load import ECHO, Call, Result, Server, closed_loop, joined, wait_run, warm_up
from bench.driver.processes import Stack
from bench.driver.stored_bytes import StoredBytes
from bench.scenarios.rebuilding import rebuild_once
from tests.stack.server import LiveServer

THREADS = 1_000_000
RUNS = 3
"""Runs of each thread."""
TURNS = 8
FOLDING_LIMIT_S = 7_200.0
LOOK_S = 1.0
OWN_RUNS = 12
"""Runs on the thread whose state, history and runs are read; of three checkpoints each."""
PADDING = 65_536
"""Bytes of a record that lengthens the log."""
AT_ONCE = 64
TAIL_S = 4.0
"""Seconds of a load whose tail is read."""


class Measure(NamedTuple):
    name: str
    calls: int
    """Number of calls of one turn."""
    call: Call


class Side:
    """One of the two servers, and the thread on it that is read."""

    def __init__(self, server: Server, thread: str) -> None:
        self.server = server
        self.thread = thread

    @classmethod
    async def prepared(cls, server: Server) -> Side:
        """Make the thread that is read, and its runs."""
        connection = await Connection.open(server.host, server.port)
        thread = (await connection.post_json("/threads", {"metadata": {"owner": "rare"}}))["thread_id"]
        for _ in range(OWN_RUNS):
            await connection.post_json(f"/threads/{thread}/runs/wait", {"assistant_id": "counter", "input": {}})
        connection.close()
        return cls(server, thread)

    def measures(self) -> list[Measure]:
        of_thread = f"/threads/{self.thread}"
        return [
            Measure("wait", 25, wait_run),
            Measure("create thread", 100, _posted("/threads", b"{}")),
            Measure("run on a thread", 25, _posted(f"{of_thread}/runs/wait", ECHO)),
            Measure("state", 100, _got(f"{of_thread}/state")),
            Measure("history of 10", 50, _posted(f"{of_thread}/history", b'{"limit":10}')),
            Measure("runs of a thread", 100, _got(f"{of_thread}/runs?limit=10")),
            Measure("a thread", 100, _got(of_thread)),
            Measure("search, newest", 100, _posted("/threads/search", b'{"limit":10}')),
            Measure("search, by created_at", 100, _posted("/threads/search", b'{"limit":10,"sort_by":"created_at"}')),
            Measure(
                "search, by state_updated_at",
                100,
                _posted("/threads/search", b'{"limit":10,"sort_by":"state_updated_at"}'),
            ),
            Measure("search, by status", 100, _posted("/threads/search", b'{"limit":10,"status":"idle"}')),
            Measure("search, by metadata", 100, _posted("/threads/search", b'{"metadata":{"owner":"rare"}}')),
            Measure("store put", 50, _stored),
        ]


def _posted(path: str, body: bytes) -> Call:
    async def call(connection: Connection) -> None:
        status, answer = await connection.post(path, body)
        if status != 200:
            raise RuntimeError(f"{path}: {status} {answer[:100]!r}")

    return call


def _got(path: str) -> Call:
    async def call(connection: Connection) -> None:
        status, answer = await connection.get(path)
        if status != 200:
            raise RuntimeError(f"{path}: {status} {answer[:100]!r}")

    return call


async def _stored(connection: Connection) -> None:
    status, answer = await connection.send("PUT", "/store/items", b'{"namespace":["bench"],"key":"k","value":{"n":1}}')
    if status != 204:
        raise RuntimeError(f"/store/items: {status} {answer[:100]!r}")


def live(folder: Path) -> LiveServer:
    return LiveServer(PROJECT, folder)


async def make_history(server: LiveServer, threads: int, runs: int) -> None:
    """Append the threads and their runs to a log that is not there yet."""
    if (server.data / LOG_FILE).exists():
        print("the log is there already")
        return
    server.data.mkdir(mode=0o700, parents=True)
    began = time.monotonic()
    appended = await fill(_settings(server), threads * runs * EVENTS_PER_RUN, runs_per_thread=runs)
    print(
        f"{threads:,} threads with {runs} runs each, {appended:,} events appended in {time.monotonic() - began:.0f} s"
    )


def _settings(server: LiveServer) -> Settings:
    return Settings(log_uri=f"sqlite://{server.data.absolute() / LOG_FILE}")


async def folded(server: Server, threads: int) -> None:
    """Wait until all threads are in the read model. Raises SystemExit after `FOLDING_LIMIT_S`."""
    connection = await Connection.open(server.host, server.port)
    began = time.monotonic()
    while (there := await connection.post_json("/threads/count", {})) < threads:
        if time.monotonic() - began > FOLDING_LIMIT_S:
            raise SystemExit(f"only {there:,} threads are there after {FOLDING_LIMIT_S:.0f} s")
        await asyncio.sleep(LOOK_S)  # the count is read from Postgres, which does not tell when it grows
    connection.close()
    print(f"{there:,} threads are in the read model {time.monotonic() - began:.0f} s after the first start")


async def compared(filled: Side, empty: Side, turns: int) -> None:
    """Print the ratios of each measure."""
    pairs = list(zip(filled.measures(), empty.measures(), strict=True))
    taken: dict[str, list[tuple[Result, Result]]] = {one.name: [] for one, _ in pairs}
    for turn in range(turns):
        for one, other in pairs:
            loads = [(filled, one), (empty, other)]
            of_side = {
                side: await closed_loop(side.server, measure.name, "call", 1, measure.call, total=measure.calls)
                for side, measure in (loads if turn % 2 else reversed(loads))
            }
            taken[one.name].append((of_side[filled], of_side[empty]))
    for name, results in taken.items():
        errors = sum(one.errors + other.errors for one, other in results)
        print(
            f"{name:<30} CPU {_ratio(results, Result.cpu_ms)}   p50 {_ratio(results, _p50)}"
            + (f"   ERRORS {errors}" if errors else "")
        )


def _p50(result: Result) -> float:
    return result.percentile(0.5)


def _ratio(results: list[tuple[Result, Result]], figure: Callable[[Result], float]) -> str:
    """Return the figure of both sides (medians), and the median and the middle half of the turns' ratios."""
    ratios = [figure(one) / max(figure(other), 1e-9) for one, other in results]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    sides = (statistics.median(figure(result[n]) for result in results) for n in (0, 1))
    return f"{middle:5.2f} ({low:.2f}-{high:.2f}) of " + " and ".join(f"{ms:.2f} ms" for ms in sides)


async def tails(filled: Server, empty: Server, turns: int) -> None:
    """Print median and tail of waits and creations on both."""
    loads: list[tuple[str, Call, int]] = [
        ("wait, 1 caller", wait_run, 1),
        ("wait, 8 callers", wait_run, 8),
        ("create thread, 1 caller", _posted("/threads", b"{}"), 1),
    ]
    for name, call, callers in loads:
        taken: dict[str, list[Result]] = {"filled": [], "empty": []}
        for turn in range(turns):
            order = [("filled", filled), ("empty", empty)]
            for side, server in order if turn % 2 else reversed(order):
                taken[side].append(await closed_loop(server, side, "call", callers, call, seconds=TAIL_S))
        for side, results in taken.items():
            one = joined(side, results)
            shares = " ".join(f"p{100 * q:g} {one.percentile(q):.2f}" for q in (0.5, 0.95, 0.99, 0.999))
            print(f"{name:<24} {side:<7} {one.count:>6} {shares} max {max(one.latencies_ms):.1f} ms")


async def lengthen(server: LiveServer, size: float) -> None:
    """Append records that nothing compresses until the log's file has this many bytes. The server must not run."""
    path, began = server.data / LOG_FILE, time.monotonic()
    async with started_log(_settings(server)) as log:
        while path.stat().st_size < size:
            await log.append(
                [
                    NewRecord(events.DEAD_LETTERS, os.urandom(8).hex(), os.urandom(PADDING), {"ce_source": "/bench"})
                    for _ in range(AT_ONCE)
                ]
            )
    print(f"the log has {path.stat().st_size / 1e9:.1f} GB, lengthened in {time.monotonic() - began:.0f} s")


def _pages(path: Path) -> int:
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return int(db.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()[0])
    finally:
        db.close()


def started(stack: ExitStack, server: LiveServer, name: str) -> Server:
    """Start a server for as long as ``stack`` lasts, and print how long that took."""
    began = time.monotonic()
    stack.callback(server.stop)
    server.start(FOLDING_LIMIT_S)
    print(f"{name} is ready {time.monotonic() - began:.1f} s after its start")
    return Server("127.0.0.1", server.port, Stack(server.pid, server.data), TAIL_S, server.env)


def measured(options: argparse.Namespace, folder: Path, runner: asyncio.Runner) -> None:
    filled, empty = live(folder / "filled"), live(folder / "empty")
    runner.run(make_history(filled, options.threads, options.runs))
    for data in (filled.data, empty.data):
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as first:
        server = started(first, filled, "filled, before it has folded its log,")
        runner.run(folded(server, options.threads))
        stored = runner.run(StoredBytes.now(filled.data))
        print(
            f"a thread takes {_pages(filled.data / LOG_FILE) / options.threads:,.0f} bytes of the log"
            f" and {stored.postgres / options.threads:,.0f} of Postgres"
        )
    with ExitStack() as both:
        sides = started(both, filled, "filled"), started(both, empty, "empty")
        if options.turns:
            for server in sides:
                runner.run(warm_up(server))
            prepared = [runner.run(Side.prepared(server)) for server in sides]
            runner.run(compared(prepared[0], prepared[1], options.turns))
        if options.rebuild:
            done = runner.run(rebuild_once(sides[0], "rebuild"))
            print(f"rebuild: {done.count:,} events at {done.rate:,.0f}/s, {done.more['total_s']:.0f} s in all")
    if options.log_gb:
        runner.run(lengthen(filled, options.log_gb * 1e9))
        with ExitStack() as both:
            sides = started(both, filled, "filled"), started(both, empty, "empty")
            for server in sides:
                runner.run(warm_up(server))
            runner.run(tails(*sides, options.turns or TURNS))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.filled", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--runs", type=int, default=RUNS, help="runs of each thread")
    parser.add_argument("--turns", type=int, default=TURNS, help="0: only prepare the data")
    parser.add_argument("--rebuild", action="store_true", help="rebuild the read model as well")
    parser.add_argument("--log-gb", type=float, default=0.0, help="lengthen the log to this size at the end")
    parser.add_argument("--folder", type=Path, help="keep the data here; default: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="langlog-filled-") as temporary:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            measured(options, options.folder or Path(temporary), runner)


if __name__ == "__main__":
    main()
