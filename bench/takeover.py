"""``python -m bench.takeover``: waiting time of commands while executors are restarted one after the other, and when one is killed.

Kafka, Postgres, Redis, one projector, one scheduler, one gateway and several executors, all on this machine. A thread on each
partition gets a PATCH every `EVERY_S`, whether the one before was answered or not; a PATCH that waits for a new owner of
its partition shows the pause. Each line has the time of all commands that were under way in its window.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import aiohttp
from langlog_backbone.embedded.servers import EmbeddedPostgres, EmbeddedRedis
from langlog_backbone.log.partitioner import partition_of

from bench.__main__ import PROJECT, broker
from tests.stack.server import Process, free_port

EVERY_S = 0.1
PARTITIONS = 8
SETTLE_S = 3.0
"""Seconds between two events."""
TRY_AGAIN_S = 0.05


class Answered(NamedTuple):
    partition: int
    began: float
    ended: float


class Callers:
    """The load. A command that was refused with 5xx is sent again, and its time continues."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.tasks: set[asyncio.Task[None]] = set()
        self.answered: list[Answered] = []

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=120)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(self._url, timeout=timeout, connector=connector) as http:
            threads = [await self._thread(http, part) for part in range(PARTITIONS)]
            count = 0
            try:
                while True:
                    for part, thread in enumerate(threads):
                        task = asyncio.create_task(self._patch(http, part, thread, count))
                        self.tasks.add(task)
                        task.add_done_callback(self.tasks.discard)
                    count += 1
                    await asyncio.sleep(EVERY_S)
            finally:
                await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _thread(self, http: aiohttp.ClientSession, part: int) -> str:
        while partition_of(thread := str(uuid.uuid4()), PARTITIONS) != part:
            pass
        async with http.post("/threads", json={"thread_id": thread}) as answer:
            answer.raise_for_status()
        return thread

    async def _patch(self, http: aiohttp.ClientSession, part: int, thread: str, count: int) -> None:
        began = time.monotonic()
        key = {"Idempotency-Key": str(uuid.uuid4())}
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with http.patch(f"/threads/{thread}", json={"metadata": {"n": count}}, headers=key) as answer:
                    await answer.read()
                    if answer.status < 500:
                        answer.raise_for_status()
                        break
            await asyncio.sleep(TRY_AGAIN_S)
        self.answered.append(Answered(part, began, time.monotonic()))

    def line(self, what: str, since: float, until: float) -> dict[str, float | str]:
        under_way = [a for a in self.answered if a.ended >= since and a.began <= until]
        waits = sorted(a.ended - a.began for a in under_way)
        longest = sorted(
            max((a.ended - a.began for a in under_way if a.partition == part), default=0.0)
            for part in range(PARTITIONS)
        )
        figures: dict[str, float | str] = {
            "what": what,
            "commands": len(waits),
            "p50_ms": round(waits[len(waits) // 2] * 1000),
            "p99_ms": round(waits[int(len(waits) * 0.99)] * 1000),
            "max_ms": round(waits[-1] * 1000),
            "median_partition_ms": round(longest[len(longest) // 2] * 1000),
        }
        print(json.dumps(figures), flush=True)
        return figures


async def measure(args: argparse.Namespace, bootstrap: str, folder: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        postgres, redis = EmbeddedPostgres(folder), EmbeddedRedis(folder)
        for server in (postgres, redis):
            stack.push_async_callback(server.stop)
        await asyncio.gather(postgres.start(), redis.start())
        port = free_port()
        env = {
            "LOG_URI": f"kafka://{bootstrap}",
            "DATABASE_URI": postgres.uri,
            "REDIS_URI": redis.uri,
            "LANGLOG_PARTITIONS": str(PARTITIONS),
            "LANGLOG_TOPIC_PREFIX": f"takeover{uuid.uuid4().hex[:8]}.",
            "LANGLOG_PROJECT": str(PROJECT),
            "LANGLOG_REPLY_TIMEOUT_SECS": "60",
            "LANGLOG_WORKERS": "1",
            "PORT": str(port),
        }
        words = {"projector": ["projector"], "scheduler": ["scheduler"], "gateway": ["gateway"]}
        words |= {f"executor-{n}": ["executor"] for n in range(args.executors)}
        processes = {name: Process(name, command, folder, env) for name, command in words.items()}
        for process in processes.values():
            stack.callback(lambda process=process: process.stop() if process.alive else None)
        await asyncio.gather(*(asyncio.to_thread(process.start) for process in processes.values()))
        callers = Callers(f"http://127.0.0.1:{port}")
        load = asyncio.create_task(callers.run())
        executors = [process for name, process in processes.items() if name.startswith("executor")]

        async def watched(what: str, *steps: Callable[[], object]) -> None:
            since = time.monotonic()
            for step in steps:
                await asyncio.to_thread(step)
            took = time.monotonic() - since
            await asyncio.sleep(SETTLE_S)
            until = time.monotonic() - SETTLE_S / 2
            while any(task for task in callers.tasks) and callers.answered[-1].began < until:
                await asyncio.sleep(EVERY_S)
            callers.line(f"{what} ({took:.1f} s)", since, until)

        await watched("quiet", lambda: time.sleep(2))
        for process in executors * args.rolls:
            await watched(f"{process.name} stopped", process.stop)
            await watched(f"{process.name} started", process.start)
        if args.kill:
            await watched(f"{executors[0].name} killed", executors[0].kill, lambda: time.sleep(args.kill))
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)
        everything = callers.answered
        callers.line("all", 0, max(a.ended for a in everything))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.takeover", description=__doc__.partition("\n")[0])
    parser.add_argument("--executors", type=int, default=3)
    parser.add_argument("--rolls", type=int, default=1, help="how often each executor is restarted")
    parser.add_argument("--kill", type=float, default=15.0, help="seconds to watch after a kill -9; 0: none")
    parser.add_argument("--kafka", help="host:port of a broker on this machine; one of its own without")
    args = parser.parse_args()
    args.log = "kafka"
    with broker(args) as bootstrap, tempfile.TemporaryDirectory(prefix="langlog-takeover-") as folder:
        assert bootstrap is not None
        asyncio.run(measure(args, bootstrap, Path(folder)))


if __name__ == "__main__":
    main()
