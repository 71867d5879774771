"""Measures of a rebuild: the rate of folding lifecycle events, and its effect on clients that are served meanwhile."""

from __future__ import annotations

import asyncio
import re
import resource

from bench.driver.command_line import langlog
from bench.driver.connection import Connection
from bench.driver.load import Result, Server, closed_loop, joined, wait_run, warm_up
from bench.driver.processes import Meter

EVENTS = 120_000
"""Number of events in the log before the server is started (`bench.driver.history`)."""
CAUGHT_UP = 512
"""Number of threads, in all partitions, whose creation shows that everything before is folded."""
SLICE_S = 0.5
FOLDED = re.compile(r"(\d+)/\d+ [^\r]*?([\d,]+)/s")
"""Number of folded records and their rate, in each state of the progress bar."""


async def rebuild(server: Server) -> list[Result]:
    """Measure two rebuilds: without load, and beside one caller; and that caller without a rebuild. ``total_s``: with the start of the
    process, the comparison of every row and the swap."""
    await closed_loop(server, "folding what was there", "thread", 8, create, total=CAUGHT_UP)
    await warm_up(server, 1.0)
    before = await closed_loop(server, "wait, 1 caller, no rebuild", "run", 1, wait_run)
    quiet = await rebuild_once(server, f"rebuild of {EVENTS:,} lifecycle events")
    work = asyncio.create_task(rebuild_once(server, "the same beside 1 caller"))
    slices = []
    while not work.done():
        slices.append(await closed_loop(server, "", "run", 1, wait_run, seconds=SLICE_S))
    during = joined("wait, 1 caller, while rebuilding", slices)
    ratios = {f"p{q}_of_before": during.percentile(q / 100) / before.percentile(q / 100) for q in (50, 99)}
    return [before, quiet, await work, joined(during.name, slices, **ratios)]


async def rebuild_once(server: Server, name: str) -> Result:
    used, meter = _children_cpu_s(), Meter(server.stack)
    done = await langlog(server, "rebuild", expected=b"Swapped")
    _, cpu = meter.read()
    spent = {"rebuild": _children_cpu_s() - used, "postgres": cpu.get("postgres", 0.0)}
    folded = [(_number(count), _number(rate)) for count, rate in FOLDED.findall(done.err)]
    count, rate = max(folded)
    return Result(name, count, "event", count / rate, [], spent, more={"total_s": done.seconds})


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _number(text: str) -> int:
    return int(text.replace(",", ""))


async def create(connection: Connection) -> None:
    await connection.post_json("/threads", {})
