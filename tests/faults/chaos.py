"""All faults at random, for as long as wanted: `make chaos MINUTES=60`, or `python -m tests.faults.chaos --minutes 60 --seed 1`.

Three brokers (KRaft, three replicas, two in sync), two of each service, one Postgres and one Redis. A load of threads, runs by every
multitask strategy, interrupts, store items and crons goes on the whole time, and beside it batches of cheap runs (`many`); two sequences
of faults befall it side by side. At the end every history is judged, each run must have ended once, and the read model is compared with
the log. What was found is printed as JSON; exit code 1: something was violated. The seed says which faults come in which order; when they
fall is the machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from langlog_backbone.embedded.child import ChildFailed
from langlog_schemas import events

from tests.faults.load import Load, pauses
from tests.faults.many import ManyRuns
from tests.faults.page import of_head
from tests.faults.postgres import locked, without_connections
from tests.faults.proxy import CUTS
from tests.faults.replicas import replicated
from tests.faults.rig import Rig, running_rig
from tests.history.workload import Workload, workload
from tests.loss.cluster import SERVICES
from tests.outage import faults as outages

FAULT_S = (0.5, 12.0)
"""How long a fault is there: shorter and longer than sessions (2 s), leases (4 s) and deadlines (6 to 10 s)."""
PAUSE_S = (0.0, 4.0)
"""Between the end of a fault and the next of the same sequence."""
PACE_S = 0.3
"""Between two rounds of a kind, beside batches: most of the machine is for these."""
SETTLE_S = 300.0
"""In which all runs have ended once no fault is there any more."""
REPORT_S = 30.0
SEQUENCES = 2
STEPS_S = (3_600.0, -3_600.0, 86_400.0, -86_400.0)
ENV = {"BG_JOB_MAX_RETRIES": "1000", "LANGLOG_SWEEP_SECS": "1"}
CRON = "*/2 * * * * *"

Fault = Callable[[], Awaitable[None]]


class Chaos:
    """Brings faults about. What one sequence has taken hold of, the other leaves alone."""

    def __init__(self, rig: Rig, load: Load, chance: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []
        self._rig, self._load, self._chance = rig, load, chance
        self._held: set[str] = set()
        self._over = asyncio.Event()

    async def run(self, seconds: float) -> None:
        tasks = [asyncio.create_task(self._sequence()) for _ in range(SEQUENCES)]
        await asyncio.sleep(seconds)
        self._over.set()
        await asyncio.gather(*tasks)

    async def _sequence(self) -> None:
        while not self._over.is_set():
            kind, part, bring = self._drawn()
            holds = {"brokers"} if part in self._rig.brokers else {part}
            if holds & self._held:
                await asyncio.sleep(0.05)
                continue
            self._held |= holds
            try:
                with self._load.fault(kind):
                    await bring()
                self.counts[kind] += 1
            except Exception as error:
                # a fault that could not be brought about or taken back: the run goes on, and says so
                self.errors.append(f"{kind} of {part}: {type(error).__name__}: {error}")
            finally:
                self._held -= holds
            await asyncio.sleep(self._chance.uniform(*PAUSE_S))

    def _drawn(self) -> tuple[str, str, Fault]:
        """Kind, the part that it befalls, and how."""
        rig, draw = self._rig, self._chance
        process = draw.choice(list(rig.cluster.processes))
        service = process.removeprefix("second-")
        server = draw.choice(["postgres", "redis", draw.choice(list(rig.brokers))])
        shown = "kafka" if server in rig.brokers else server
        part, name = (process, service) if draw.random() < 0.7 else (server, shown)
        seconds = draw.uniform(*FAULT_S)
        how = draw.choice(CUTS)
        kind = draw.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        match kind:
            case "kill":
                return f"{name} is killed", part, lambda: rig.killed(part)
            case "stop":
                return f"{name} stands still", part, lambda: self._within(rig.stopped(part), seconds)
            case "cut":
                cut = rig.proxies[process, server].cut(how)
                return f"{service} cut off from {shown}: {how}", process, lambda: self._in(cut, seconds)
            case "deploy":
                return f"{service} is deployed", process, lambda: self._deployed(process)
            case "clock":
                return "a clock is stepped", process, lambda: self._stepped(process, draw.choice(STEPS_S), seconds)
            case "postgres":
                fault, title = draw.choice(self._of_postgres())
                return title, "postgres", lambda: self._in(fault(), seconds)
            case "redis":
                fault, title = draw.choice(self._of_redis())
                return title, "redis", lambda: self._in(fault(), seconds)
            case "apart":
                broker = draw.choice(list(rig.brokers))
                apart = rig.cut_apart(rig.alone(broker), how)
                return f"a broker cut off from the others: {how}", broker, lambda: self._in(apart, seconds)
            case "slow":
                disk = draw.choice(list(rig.slow_disks) or ["postgres"])
                return f"the disk of {disk} is slow", f"disk of {disk}", lambda: self._slow(disk, seconds)
            case _:
                broker = draw.choice(list(rig.brokers))
                return "a broker's disk is lost", broker, lambda: self._disk_lost(broker)

    def _of_postgres(self) -> list[tuple[Callable[[], contextlib.AbstractAsyncContextManager[None]], str]]:
        cluster = self._rig.cluster
        return [
            (lambda: outages.restarted(cluster), "postgres is restarted"),
            (lambda: outages.terminated(cluster), "postgres ends its connections"),
            (lambda: outages.read_only(cluster), "postgres is read-only"),
            (lambda: without_connections(cluster.postgres.uri), "postgres has no connection left"),
            (lambda: locked(cluster, self._chance.choice(["runs", "threads", "positions"])), "a table is locked"),
        ]

    def _of_redis(self) -> list[tuple[Callable[[], contextlib.AbstractAsyncContextManager[None]], str]]:
        cluster = self._rig.cluster
        return [
            (lambda: outages.out_of_memory(cluster), "redis is at its memory limit"),
            (lambda: outages.demoted(cluster), "redis is a replica"),
            (lambda: outages.flushed(cluster), "redis is flushed"),
        ]

    async def _within(self, fault: contextlib.AbstractContextManager[None], seconds: float) -> None:
        with fault:
            await asyncio.sleep(seconds)

    async def _in(self, fault: contextlib.AbstractAsyncContextManager[None], seconds: float) -> None:
        async with fault:
            await asyncio.sleep(seconds)

    async def _deployed(self, name: str) -> None:
        process = self._rig.cluster.processes[name]
        process.ask_to_stop(signal.SIGTERM)
        await asyncio.to_thread(process.ended)
        await self._rig.supervised(name)

    async def _stepped(self, name: str, by_s: float, seconds: float) -> None:
        self._rig.clock(name).write_text(str(by_s))
        await asyncio.sleep(seconds)
        self._rig.clock(name).write_text("0")

    async def _slow(self, disk: str, seconds: float) -> None:
        if disk in self._rig.slow_disks:
            with self._rig.slow_disks[disk].slow(sync_ms=10, write_ms=5):
                await asyncio.sleep(seconds)

    async def _disk_lost(self, name: str) -> None:
        """Only while all brokers have everything: what two of three have lost is gone."""
        broker = self._rig.brokers[name]
        await replicated(self._rig)
        await broker.kill()
        broker.lose_disk()
        try:
            await broker.start()
        except ChildFailed:
            # it led the controllers, and is back before the others have elected another: Kafka ends then, and its supervisor starts it again
            await broker.start()


WEIGHTS = {
    "kill": 24, "stop": 18, "cut": 24, "deploy": 8, "clock": 6, "postgres": 8, "redis": 6, "slow": 4, "disk": 2, "apart": 4,
}  # fmt: skip
"""Kind of fault -> how often it is drawn, of their sum."""


async def crons(clients: Workload, count: int = 2) -> None:
    """Each makes a run every two seconds, on a thread that is gone when the run is over."""
    client = clients.client("cron")
    for n in range(count):
        body = {"assistant_id": "steps", "schedule": CRON, "input": {"label": f"cron-{n}", "seconds": 0.0}}
        body |= {"metadata": {"cron": n}}
        await client.call(f"cron:{n}", "look", None, ("POST", "/runs/crons", body), lambda answer: answer.status)


async def stop_crons(clients: Workload) -> None:
    client = clients.client("cron")

    def ids(answer: Any) -> Any:
        return tuple(cron["cron_id"] for cron in answer.body)

    found = await client.call("cron:all", "look", None, ("POST", "/runs/crons/search", {}), ids)
    for cron_id in found:  # type: ignore[attr-defined]
        path = f"/runs/crons/{cron_id}"
        await client.call("cron:all", "look", None, ("DELETE", path, None), lambda answer: answer.status)


class Scale(NamedTuple):
    """Amount of load. ``width``: rounds of each kind at once; ``batches`` at once, each of ``size`` runs."""

    width: int
    batches: int
    size: int


async def suffered(minutes: float, seed: int, scale: Scale, folder: Path) -> dict[str, Any]:
    """The report. Raises AssertionError where the read model is not what the log says."""
    figures: dict[str, Any] = {}
    async with running_rig("kafka", folder, brokers=3, doubled=list(SERVICES), small=False, env=ENV) as rig:
        async with workload(rig.urls, seed, PACE_S if scale.batches else 0.0) as clients:
            load, many = Load("kafka", clients), ManyRuns(clients, rig.cluster.witness, scale.size)
            chaos = Chaos(rig, load, random.Random(seed))
            began = time.monotonic()
            violated: list[str] = []
            rates: list[float] = []
            async with clients.going(scale.width), many.going(scale.batches), reported(clients, many, chaos, rates):
                await crons(clients)
                await chaos.run(minutes * 60)
                await stop_crons(clients)
            ended = time.monotonic()
            violated += await asyncio.to_thread(clients.violations)
            judged_s = time.monotonic() - ended
            violated += await ended_once(rig) + many.violations()
            figures = {
                "seed": seed,
                "processes": len(rig.cluster.processes),
                "runs_of_crons": sum("cron" in metadata for metadata in rig.cluster.witness.metadata.values()),
                "violations": violated,
                "judged_s": round(judged_s, 1),
                **tried(load, many, chaos, rates, began, ended),
            }
        if violated:
            print(json.dumps(figures, indent=1), flush=True)
    return figures


def tried(
    load: Load, many: ManyRuns, chaos: Chaos, rates: Sequence[float], began: float, ended: float
) -> dict[str, Any]:
    """Return what clients did and which faults there were, between two times of the monotonic clock. ``rates``: acknowledged runs a minute."""
    clients = load.clients
    acknowledged, minutes = clients.acknowledged_runs + len(many.acknowledged), (ended - began) / 60
    return {
        "commit": of_head("rev-parse", "--short=8", "HEAD"),
        "date": datetime.now(UTC).date().isoformat(),
        "minutes": round(minutes, 1),
        "brokers": 3,
        "acknowledged_runs": acknowledged,
        "acknowledged_in_batches": len(many.acknowledged),
        "runs_a_minute": {
            "mean": round(acknowledged / minutes),
            "p50": round(statistics.median(rates)) if rates else 0,
            "least": round(min(rates, default=0)),
            "most": round(max(rates, default=0)),
        },
        "rounds": clients.rounds,
        "calls": dict(Counter(call.outcome for call in clients.history.calls)),
        "faults": dict(sorted(chaos.counts.items())),
        "faults_total": chaos.counts.total(),
        "faults_failed": chaos.errors,
        "pauses": {kind: of_kind(load, kind) for kind in sorted(chaos.counts)},
        "pauses_of_all": pauses(clients.waits, began, ended),
    }


def of_kind(load: Load, kind: str) -> dict[str, Any]:
    """The p50 of all calls during faults of the kind, and the longest; other faults were there at the same time."""
    seen: dict[int, Any] = {}
    for fault, began, ended in load.spans:
        if fault == kind:
            seen |= {id(wait): wait for wait in load.clients.waits if wait.ended >= began and wait.began <= ended}
    return pauses(list(seen.values()), 0, float("inf"))


@contextlib.asynccontextmanager
async def reported(clients: Workload, many: ManyRuns, chaos: Chaos, rates: list[float]) -> AsyncIterator[None]:
    """A line on stderr every half minute; ``rates`` gets the runs a minute that were acknowledged in it."""

    async def report() -> None:
        before = 0
        while True:
            began = time.monotonic()
            await asyncio.sleep(REPORT_S)
            acknowledged = clients.acknowledged_runs + len(many.acknowledged)
            rates.append((acknowledged - before) * 60 / (time.monotonic() - began))
            before = acknowledged
            said = (
                f"{acknowledged} runs, {len(many.acknowledged)} in batches, {rates[-1]:.0f} a minute, {many.open} open, "
                f"{len(clients.history.calls)} calls, {chaos.counts.total()} faults"
            )
            print(said, clients.wrong, chaos.errors[-1:], file=sys.stderr, flush=True)

    task = asyncio.create_task(report())
    try:
        yield
    finally:
        task.cancel()


async def ended_once(rig: Rig) -> list[str]:
    """Return a description of each run that, by the log, did not end, or ended twice."""
    witness = rig.cluster.witness

    def all_ended() -> bool:
        return all(run in witness.finals for runs in witness.order.values() for run in runs)

    with contextlib.suppress(TimeoutError):
        await witness.until(all_ended, SETTLE_S)
    found = []
    for thread, runs in witness.order.items():
        for run in runs:
            ends = [event.TYPE for event in witness.finals.get(run, [])]
            if len(ends) != 1:
                found.append(f"thread {thread}: run {run} has {len(ends)} ends: {ends}")
            elif ends[0] in (events.RunFailed.TYPE, events.RunTimedOut.TYPE):
                found.append(f"thread {thread}: run {run} ended with {ends[0]}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--width", type=int, default=2, help="rounds of each kind at once")
    parser.add_argument("--batches", type=int, default=6, help="batches of cheap runs at once")
    parser.add_argument("--size", type=int, default=50, help="runs of a batch")
    parser.add_argument("--out", type=Path, help="file for the JSON")
    parser.add_argument("--keep", type=Path, help="folder for what the processes write, which is kept")
    options = parser.parse_args()
    print(f"seed {options.seed}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="langlog-chaos-") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        scale = Scale(options.width, options.batches, options.size)
        figures = asyncio.run(suffered(options.minutes, options.seed, scale, folder))
    text = json.dumps(figures, indent=1, ensure_ascii=False) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text)
    sys.exit(1 if figures["violations"] else 0)


if __name__ == "__main__":
    main()
