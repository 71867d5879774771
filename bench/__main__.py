"""``python -m bench``: start langlog, load it, print what came out."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import uvloop

from bench.measures import MEASURES, Result, Server, warm_up
from bench.processes import Stack
from tests.stack.server import LiveServer

HERE = Path(__file__).parent
PROJECT = HERE / "project" / "langgraph.json"
EXAMPLE = HERE.parent / "examples" / "chat" / "langgraph.json"


def floor() -> dict[str, float]:
    found: dict[str, float] = json.loads(
        subprocess.run([sys.executable, "-m", "bench.floor"], check=True, capture_output=True).stdout
    )
    return found


@contextlib.contextmanager
def broker(args: argparse.Namespace) -> Iterator[str | None]:
    """host:port of the broker, one of our own where none is named; None for the embedded log."""
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


async def measure(live: LiveServer, kafka: str | None, names: list[str], seconds: float) -> list[Result]:
    port = int(kafka.rpartition(":")[2]) if kafka else None
    server = Server("127.0.0.1", live.port, Stack(live.pid, live.data, port), seconds)
    if names != ["memory"]:
        await warm_up(server)
    results: list[Result] = []
    for name in names:
        for result in await MEASURES[name](server):
            results.append(result)
            print(line(result), flush=True)
    return results


def line(result: Result) -> str:
    parts = [f"{result.name:<38}"]
    if result.count:
        parts.append(f"{result.count:>6} at {result.rate:>8,.0f}/s")
    if result.latencies_ms:
        shares = " ".join(f"p{round(100 * q)} {result.percentile(q):7.2f}" for q in (0.5, 0.95, 0.99))
        parts.append(f"{shares} max {max(result.latencies_ms):7.1f} ms")
    if result.cpu_s and result.count:
        parts.append(f"CPU {result.cpu_ms():6.3f} ms/{result.unit}")
        split = ", ".join(
            f"{part} {used * 1000 / result.count:.3f}" for part, used in sorted(result.cpu_s.items()) if used > 0
        )
        parts.append(f"({split})")
    if result.errors:
        parts.append(f"ERRORS {result.errors}")
    if result.note:
        parts.append(result.note)
    return "  ".join(parts)


def as_json(result: Result) -> dict[str, object]:
    return {
        "name": result.name,
        "count": result.count,
        "per_s": result.rate,
        **{f"p{round(100 * q)}_ms": result.percentile(q) for q in (0.5, 0.95, 0.99)},
        "cpu_ms": result.cpu_ms(),
        "cpu_ms_without_broker": result.cpu_ms(without=("kafka",)),
        "cpu_s": result.cpu_s,
        "errors": result.errors,
        "note": result.note,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--log", choices=["sqlite", "kafka"], default="sqlite")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="a broker on this machine; default: start one")
    parser.add_argument("--only", help=f"comma separated, of: {', '.join(MEASURES)}")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of one load")
    parser.add_argument("--workers", type=int, default=1, help="worker processes")
    parser.add_argument("--json", type=Path, help="write the figures there")
    args = parser.parse_args()
    names = args.only.split(",") if args.only else list(MEASURES)
    if unknown := set(names) - set(MEASURES):
        parser.error(f"no such measure: {', '.join(sorted(unknown))}")

    print(f"floor: graph.ainvoke, in-memory saver, in process: {(base := floor())['wall_ms']:.2f} ms,", end=" ")
    print(f"{base['cpu_ms']:.2f} ms CPU a run; {os.cpu_count()} cores; log: {args.log}")
    results: list[Result] = []
    with broker(args) as kafka, tempfile.TemporaryDirectory(prefix="langlog-bench-") as folder:
        env = {"LOG_URI": f"kafka://{kafka}"} if kafka else {}
        groups = [(PROJECT, [n for n in names if n != "memory"]), (EXAMPLE, [n for n in names if n == "memory"])]
        for number, (project, own) in enumerate(groups):
            if own:
                prefix = {"LANGLOG_TOPIC_PREFIX": f"bench-{os.getpid()}-{number}."} if kafka else {}
                live = LiveServer(project, Path(folder) / str(number), env | prefix, "--workers", str(args.workers))
                with live.up(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    results += runner.run(measure(live, kafka, own, args.seconds))
    for result in results:
        if result.unit == "run" and result.cpu_s:
            print(f"{result.name}: {result.cpu_ms() / base['cpu_ms']:.1f} times the floor's CPU")
    if args.json:
        figures = {"log": args.log, "floor": base, "results": [as_json(result) for result in results]}
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 1 if any(result.errors for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
