"""Measures of runs: waited for, in the background, on one thread, of many steps, and late on a long thread."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from functools import partial
from typing import Any

from bench.driver.connection import Connection
from bench.driver.load import (
    ECHO,
    Call,
    Result,
    Server,
    callers_of,
    closed_loop,
    joined,
    open_connections,
    until_idle,
    wait_run,
)
from bench.driver.processes import Meter
from bench.driver.stored_bytes import StoredBytes


async def wait_stateless(server: Server) -> list[Result]:
    return [await closed_loop(server, f"wait, {callers_of(n)}", "run", n, wait_run) for n in (1, 32, 128)]


async def thread_and_run(server: Server) -> list[Result]:
    """Measure a new thread and a run on it, whose end or whose stream is waited for."""

    def of(way: str) -> Call:
        async def call(connection: Connection) -> None:
            thread = await connection.post_json("/threads", {})
            status, body = await connection.post(f"/threads/{thread['thread_id']}/runs/{way}", ECHO)
            if status != 200 or b"HELLO" not in body:
                raise RuntimeError(f"{status} {body[:100]!r}")

        return call

    return [
        await closed_loop(server, "thread and run, 32 callers", "run", 32, of("wait")),
        await closed_loop(server, "thread and streamed run, 32 callers", "run", 32, of("stream")),
    ]


async def waiting_runs(server: Server) -> list[Result]:
    body = json.dumps({"assistant_id": "waiting", "input": {"seconds": 0.2}}).encode()

    async def call(connection: Connection) -> None:
        status, answer = await connection.post("/runs/wait", body)
        if status != 200 or b"__error__" in answer:
            raise RuntimeError(f"{status} {answer[:100]!r}")

    return [await closed_loop(server, "runs that wait 200 ms, 256 callers", "run", 256, call)]


async def background(server: Server) -> list[Result]:
    """Measure 500 stateless background runs from 32 callers: rate of acceptance, and when all are over."""
    total, callers = 500, 32
    connections = await open_connections(server, callers)
    numbers = iter(range(total))
    latencies: list[float] = []

    async def caller(connection: Connection) -> None:
        for _ in numbers:
            start = time.perf_counter()
            status, body = await connection.post("/runs", ECHO)
            assert status == 200, body
            latencies.append((time.perf_counter() - start) * 1000)

    meter = Meter(server.stack)
    await asyncio.gather(*(caller(connection) for connection in connections))
    enqueued_s, _ = meter.read()
    await until_idle(connections[0])
    drained_s, cpu = meter.read()
    for connection in connections:
        connection.close()
    return [
        Result("500 background runs, enqueued", total, "run", enqueued_s, latencies, {}),
        Result("500 background runs, drained", total, "run", drained_s, [], cpu, more={"drained_s": drained_s}),
    ]


async def one_thread(server: Server) -> list[Result]:
    """Measure 90 runs enqueued on one thread at once, and check that all are counted."""
    total = 90
    connections = await open_connections(server, 16)
    thread = (await connections[0].post_json("/threads", {}))["thread_id"]
    body: dict[str, Any] = {"assistant_id": "counter", "input": {}}
    numbers = iter(range(total))
    meter = Meter(server.stack)

    async def caller(connection: Connection) -> None:
        for _ in numbers:
            await connection.post_json(f"/threads/{thread}/runs", body)

    await asyncio.gather(*(caller(connection) for connection in connections))
    await until_idle(connections[0])
    passed, cpu = meter.read()
    _, answer = await connections[0].get(f"/threads/{thread}")
    counted = json.loads(answer)["values"]["total"]
    for connection in connections:
        connection.close()
    return [Result("90 runs enqueued on one thread", total, "run", passed, [], cpu, abs(total - counted))]


async def supersteps(server: Server) -> list[Result]:
    """Measure 300 durable supersteps in one run."""
    steps, runs = 300, 5
    [connection] = await open_connections(server, 1)
    body = {"assistant_id": "steps", "input": {"left": steps}, "config": {"recursion_limit": steps + 10}}
    await connection.post_json("/runs/wait", body)
    meter = Meter(server.stack)
    for _ in range(runs):
        await connection.post_json("/runs/wait", body)
    passed, cpu = meter.read()
    connection.close()
    return [Result("superstep, 300 in one run", steps * runs, "step", passed, [], cpu)]


async def long_thread(server: Server) -> list[Result]:
    """Measure runs of a chat after 290 on its thread: costs of one, and growth of log and Postgres."""
    before, measured = 290, 20
    [connection] = await open_connections(server, 1)
    thread = (await connection.post_json("/threads", {}))["thread_id"]
    latencies: list[float] = []

    async def turn(number: int) -> None:
        question = f"Question {number}: what does the timetable say about trains to the coast on a Sunday in winter?"
        body = json.dumps({"assistant_id": "chat", "input": {"messages": [{"role": "user", "content": question}]}})
        start = time.perf_counter()
        status, answer = await connection.post(f"/threads/{thread}/runs/wait", body.encode())
        latencies.append((time.perf_counter() - start) * 1000)
        if status != 200 or b"__error__" in answer:
            raise RuntimeError(f"{status} {answer[:100]!r}")

    for number in range(before):
        await turn(number)
    latencies.clear()
    stored = await StoredBytes.now(server.stack.data)
    meter = Meter(server.stack)
    for number in range(before, before + measured):
        await turn(number)
    passed, cpu = meter.read()
    grown = (await StoredBytes.now(server.stack.data)).since(stored)
    _, answer = await connection.get(f"/threads/{thread}")
    messages = len(json.loads(answer)["values"]["messages"])
    connection.close()
    more = {f"{part}_kb_grown": size / measured / 1000 for part, size in grown.items()}
    lost = abs(messages - 2 * (before + measured))
    return [Result("run after 290 on its thread", measured, "run", passed, latencies, cpu, lost, more=more)]


async def old_thread(server: Server) -> list[Result]:
    """Measure runs on a thread of 1,000 runs whose state does not grow, and on new threads, in turns: the ratio of their CPU.

    Other threads are short, as most are: Postgres plans by the usual length of one.
    """
    before, turns, runs, others = 1_000, 12, 25, 200
    body = json.dumps({"assistant_id": "counter", "input": {}}).encode()

    async def run(connection: Connection, thread: str) -> None:
        status, answer = await connection.post(f"/threads/{thread}/runs/wait", body)
        if status != 200 or b"__error__" in answer:
            raise RuntimeError(f"{status} {answer[:100]!r}")

    async def short_life(connection: Connection) -> None:
        await run(connection, (await connection.post_json("/threads", {}))["thread_id"])

    await closed_loop(server, "other threads", "thread", 8, short_life, total=others)
    [connection] = await open_connections(server, 1)
    old: str = (await connection.post_json("/threads", {}))["thread_id"]
    for _ in range(before):
        await run(connection, old)
    results: dict[bool, list[Result]] = {True: [], False: []}
    for turn in range(turns):
        for is_old in (True, False) if turn % 2 else (False, True):
            thread = old if is_old else (await connection.post_json("/threads", {}))["thread_id"]
            one = await closed_loop(server, "", "run", 1, partial(run, thread=thread), total=runs)
            results[is_old].append(one)
    connection.close()
    ratios = [on_old.cpu_ms() / on_new.cpu_ms() for on_old, on_new in zip(results[True], results[False], strict=True)]
    return [
        joined("run on a new thread, 1 caller", results[False]),
        joined("run on a thread of 1,000 runs, 1 caller", results[True], cpu_of_new=statistics.median(ratios)),
    ]
