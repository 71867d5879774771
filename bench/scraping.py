"""``python -m bench.scraping``: cost of metrics, as CPU of a waited run with 32 callers: with scrapes and without, and, with
``--base PYTHON``, against the langlog of another environment. They take turns on servers that run side by side, so ratios hold on a noisy machine.

``--idle SECONDS``: CPU of one scrape, on a server that does nothing else, in turns without and with ten scrapes a second; a share of a core
at one scrape a second is what is left of a comparison whose noise is greater than what it looks for.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.__main__ import PROJECT
from bench.driver.connection import Connection
from bench.driver.load import Server, closed_loop, wait_run, warm_up
from bench.driver.processes import Stack
from tests.stack.server import LiveServer

CALLERS = 32
IDLE_EVERY_S = 0.1


@dataclass
class Scrapes:
    count: int = 0


@contextlib.asynccontextmanager
async def scraped(server: Server, every_s: float) -> AsyncIterator[Scrapes]:
    """Scrape the metrics every ``every_s`` seconds while the context lasts. 0: no scrapes."""
    scrapes = Scrapes()
    if not every_s:
        yield scrapes
        return

    async def scrape() -> None:
        connection = await Connection.open(server.host, server.port)
        while True:
            status, body = await connection.get("/metrics")
            assert status == 200 and b"langlog_info" in body, status
            scrapes.count += 1
            await asyncio.sleep(every_s)

    scraping = asyncio.create_task(scrape())
    try:
        yield scrapes
    finally:
        if scraping.done():
            scraping.result()
        scraping.cancel()


async def measure(own: Server, base: Server | None, args: argparse.Namespace) -> None:
    turns = [("now", own, 0.0), ("scraped", own, args.every)]
    if base is not None:
        turns.insert(0, ("base", base, 0.0))
    for server in (own, *([base] if base is not None else [])):
        await warm_up(server)
    spent: dict[str, list[float]] = {name: [] for name, _, _ in turns}
    for n in range(args.rounds):
        for name, server, every_s in turns[n % len(turns) :] + turns[: n % len(turns)]:
            async with scraped(server, every_s):
                result = await closed_loop(server, name, "run", CALLERS, wait_run, seconds=args.seconds)
            assert not result.errors
            spent[name].append(result.cpu_ms())
        print(json.dumps({name: round(of[-1], 3) for name, of in spent.items()}), flush=True)
    first = turns[0][0]
    for name, of in spent.items():
        ratios = [one / before for one, before in zip(of, spent[first], strict=True)]
        print(
            f"{name:8} {statistics.median(of):.3f} ms CPU a run; against {first}: median of ratios {statistics.median(ratios):.4f}, "
            f"ratio of sums {sum(of) / sum(spent[first]):.4f}"
        )


async def measure_idle(server: Server, seconds: float, rounds: int) -> None:
    await warm_up(server)
    costs: list[float] = []
    for _ in range(rounds):
        spent: list[float] = []
        for every_s in (0.0, IDLE_EVERY_S):
            async with scraped(server, every_s) as scrapes:
                before = sum(server.stack.cpu_s().values())
                await asyncio.sleep(seconds)
                spent.append(sum(server.stack.cpu_s().values()) - before)
        costs.append((spent[1] - spent[0]) / scrapes.count)
        print(
            json.dumps({"idle_s": round(spent[0], 2), "scraped_s": round(spent[1], 2), "scrapes": scrapes.count}),
            flush=True,
        )
    median = statistics.median(costs)
    print(f"a scrape takes {median * 1000:.2f} ms of CPU (median of {rounds}); at one a second {median:.2%} of a core")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="python of an environment with the langlog to compare with")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two scrapes")
    parser.add_argument("--idle", type=float, default=0.0, help="seconds of a turn on an idle server")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=4.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="langlog-scraping-") as folder, contextlib.ExitStack() as stack:
        servers = []
        for name, python in (("own", sys.executable), ("base", args.base)):
            if python is None:
                continue
            live = LiveServer(PROJECT, Path(folder) / name, name=name, python=python)
            stack.enter_context(live.up(verified=False))
            servers.append(Server("127.0.0.1", live.port, Stack(live.pid, live.data), args.seconds))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            if args.idle:
                runner.run(measure_idle(servers[0], args.idle, args.rounds))
                return
            runner.run(measure(servers[0], servers[1] if len(servers) > 1 else None, args))


if __name__ == "__main__":
    main()
