"""``python -m bench``: start langlog, load it, print the results."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

import uvloop
from langlog_backbone.embedded.servers import LOG_FILE
from langlog_backbone.process.settings import Settings

from bench.driver.history import fill
from bench.driver.load import Result, Server, warm_up
from bench.driver.processes import Stack
from bench.report import as_json, line, summary
from bench.scenarios.encrypted import ENV as ENCRYPTED
from bench.scenarios.measures import (
    NAMES,
    ON_EXAMPLE,
    ON_HISTORY,
    ON_INDEX,
    ON_ONE,
    ON_OWN,
    ON_SEALED,
    ON_TWO,
    Measure,
    OnTwo,
)
from bench.scenarios.rebuilding import EVENTS
from bench.scenarios.threads import Filling
from tests.stack.server import LiveServer

HERE = Path(__file__).parent
PROJECT = HERE / "project" / "langgraph.json"
INDEXED = HERE / "project" / "langgraph.vectors.json"
EXAMPLE = HERE.parent / "examples" / "chat" / "langgraph.json"


def floor() -> dict[str, float]:
    figures: dict[str, float] = json.loads(
        subprocess.run([sys.executable, "-m", "bench.floor"], check=True, capture_output=True).stdout
    )
    return figures


@contextlib.contextmanager
def broker(args: argparse.Namespace) -> Iterator[str | None]:
    """Yield host:port of the broker, started here if none is named; None for the embedded log."""
    if args.log == "sqlite":
        yield None
    elif args.kafka:
        yield args.kafka
    else:
        from tests.stack.kafka_broker import KafkaBroker

        with tempfile.TemporaryDirectory(prefix="langlog-bench-kafka-") as folder, asyncio.Runner() as runner:
            own = KafkaBroker(Path(folder))
            runner.run(own.start())
            try:
                yield own.bootstrap
            finally:
                runner.run(own.stop())


class Bench:
    """Starts servers, runs measures on them, and prints each result when it is complete."""

    def __init__(self, args: argparse.Namespace, folder: Path, kafka: str | None) -> None:
        self._args = args
        self._folder = folder
        self._kafka = kafka
        self._servers = 0
        self.results: list[Result] = []

    def measure(self, names: list[str]) -> None:
        """Run those measures, each on the servers that it needs."""
        for project, chosen in ((PROJECT, ON_ONE), (EXAMPLE, ON_EXAMPLE), (INDEXED, ON_INDEX), (PROJECT, ON_OWN)):
            own = [chosen[name] for name in names if name in chosen]
            if own:
                with self._up(project) as server:
                    self._run(self._on_one(server, own, warm=project is not EXAMPLE))
        if own := [ON_HISTORY[name] for name in names if name in ON_HISTORY]:
            with self._up(PROJECT, events=EVENTS) as server:
                self._run(self._on_one(server, own, warm=False))
        for measure in (ON_SEALED[name] for name in names if name in ON_SEALED):
            with self._up(PROJECT) as plain, self._up(PROJECT, more=ENCRYPTED) as sealed:
                self._run(self._on_sealed(measure(plain, sealed)))
        if two := [ON_TWO[name] for name in names if name in ON_TWO]:
            with self._up(PROJECT) as filled, self._up(PROJECT) as empty:
                self._run(self._on_two(filled, empty, two))

    async def _on_one(self, server: Server, measures: list[Measure], *, warm: bool) -> None:
        if warm:
            await warm_up(server)
        for measure in measures:
            self._add(await measure(server))

    async def _on_sealed(self, measured: Awaitable[list[Result]]) -> None:
        self._add(await measured)

    async def _on_two(self, filled: Server, empty: Server, measures: list[OnTwo]) -> None:
        await warm_up(filled)
        filling = Filling(filled)
        for measure in measures:
            self._add(await measure(filling, filled, empty))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work)

    def _add(self, results: list[Result]) -> None:
        self.results += results
        for result in results:
            print(line(result, self._args.log), flush=True)

    @contextlib.contextmanager
    def _up(self, project: Path, events: int = 0, more: Mapping[str, str] = {}) -> Iterator[Server]:
        """Start a server. ``events``: number of lifecycle events in its log. ``more``: variables."""
        self._servers += 1
        number, env, options = self._servers, dict[str, str](), []
        if self._kafka:
            env = {
                "LOG_URI": f"kafka://{self._kafka}",
                "LANGLOG_TOPIC_PREFIX": f"bench-{os.getpid()}-{number}.",
            }
        if self._args.workers:
            options = ["--workers", str(self._args.workers)]
        live = LiveServer(project, self._folder / str(number), env | dict(more), *options)
        port = int(self._kafka.rpartition(":")[2]) if self._kafka else None
        if events:
            self._run(self._past(live, events))
        with live.up(verified=False):
            yield Server("127.0.0.1", live.port, Stack(live.pid, live.data, port), self._args.seconds, live.env)

    async def _past(self, live: LiveServer, events: int) -> None:
        live.data.mkdir(mode=0o700, parents=True)
        uri = live.env.get("LOG_URI", f"sqlite://{live.data / LOG_FILE}")
        await fill(Settings(log_uri=uri, topic_prefix=live.env.get("LANGLOG_TOPIC_PREFIX", "")), events)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--log", choices=["sqlite", "kafka"], default="sqlite")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="a broker on this machine; default: start one")
    parser.add_argument("--only", help=f"comma separated, of: {', '.join(NAMES)}")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one load")
    parser.add_argument("--workers", type=int, help="worker processes; default: that of langlog")
    parser.add_argument("--json", type=Path, help="write the figures there")
    args = parser.parse_args()
    names = args.only.split(",") if args.only else list(NAMES)
    if unknown := set(names) - set(NAMES):
        parser.error(f"no such measure: {', '.join(sorted(unknown))}")

    print(f"floor: graph.ainvoke, in-memory saver, in process: {(base := floor())['wall_ms']:.2f} ms,", end=" ")
    print(f"{base['cpu_ms']:.2f} ms CPU a run; {os.cpu_count()} cores; log: {args.log}", flush=True)
    with broker(args) as kafka, tempfile.TemporaryDirectory(prefix="langlog-bench-") as folder:
        bench = Bench(args, Path(folder), kafka)
        try:
            bench.measure(names)
        finally:
            results = bench.results
            for result in results:
                if result.unit == "run" and result.cpu_s:
                    print(f"{result.name}: {result.cpu_ms() / base['cpu_ms']:.1f} times the floor's CPU")
            print(summary(results, args.log), flush=True)
            if args.json:
                figures = [as_json(result, args.log) for result in results]
                args.json.write_text(json.dumps({"log": args.log, "floor": base, "results": figures}, indent=1) + "\n")
    return 1 if any(result.errors for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
