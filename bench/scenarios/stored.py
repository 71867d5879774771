"""Measures of stored data: search among 2,000 and 20,000 threads, and their cost for runs.

Two servers: one is filled, the other stays empty. They are loaded in turns of a second or two, so that whatever else the
machine does meets both.
"""

from __future__ import annotations

from bench.driver.load import Result, Server, closed_loop, joined, wait_run, warm_up
from bench.scenarios.threads import FEW, MANY, Filling, search

TURNS = 5


async def thread_search(filling: Filling, filled: Server, empty: Server) -> list[Result]:
    results = []
    for count in (FEW, MANY):
        await filling.up_to(count)
        results += await search(filled, count)
    return results


async def holding(filling: Filling, filled: Server, empty: Server) -> list[Result]:
    """Measure the throughput of waited runs with 20,000 threads and runs stored, against an empty server."""
    await filling.up_to(MANY)
    await warm_up(empty)
    await warm_up(filled, 1.0)
    turns: dict[str, list[Result]] = {"empty": [], "filled": []}
    for turn in range(TURNS):
        order = (("empty", empty), ("filled", filled))
        for name, server in order if turn % 2 else reversed(order):
            result = await closed_loop(server, name, "run", 32, wait_run, seconds=server.seconds / 3)
            turns[name].append(result)
    empty_one = joined("wait, 32 callers, empty", turns["empty"], of_empty=1.0)
    rate = joined("", turns["filled"]).rate
    return [
        empty_one,
        joined("wait, 32 callers, 20,000 threads stored", turns["filled"], of_empty=rate / empty_one.rate),
    ]
