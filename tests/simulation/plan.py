"""Plans of worlds, drawn from their seeds before they begin: processes, requests of clients, and faults, each with its moment.

A plan is a list of things with their moments, so that a failing one can be made smaller by leaving things out (`shrinking`).
"""

from __future__ import annotations

import random
from typing import Any

import msgspec

Kind = str

FAULTS_FROM_S = 0.5
OPS_S = 20.0
"""Clients begin things for so long."""
FAULTS_S = 26.0
"""Faults come for so long; then everything is healed."""


class Op(msgspec.Struct, frozen=True):
    """A request of a client. ``what``: run, cancel, delete_run, delete_thread, patch, cron, end_cron, join."""

    at: float
    what: str
    number: int
    thread: int
    options: dict[str, Any] = {}


class Fault(msgspec.Struct, frozen=True):
    at: float
    what: str
    target: str = ""
    seconds: float = 0.0
    amount: int = 0
    server: str = ""


class Plan(msgspec.Struct, frozen=True):
    seed: int
    processes: list[tuple[str, int]]
    """(kind, how many)"""
    partitions: int
    ops: list[Op]
    faults: list[Fault]
    acts: list[str] = []
    """Played one after the other at the end (`acts`)."""


ACTS = (
    "workers_stop",
    "commits_lost",
    "deciders_die",
    "worker_unheard",
    "two_deciders",
    "two_projectors",
    "commits_lost_unheard",
)
ACTIONS = ("step", "step", "step", "sleep:0.3", "sleep:1.5", "stream:3")
LAST = ("step", "step", "step", "step", "interrupt", "fail")
STRATEGIES = ("enqueue", "enqueue", "enqueue", "interrupt", "rollback", "reject")


def _run(draw: random.Random, number: int) -> dict[str, Any]:
    actions = [draw.choice(ACTIONS) for _ in range(draw.randint(0, 4))]
    if draw.random() < 0.04:
        actions.append("block")
    return {
        "plan": [*actions, draw.choice(LAST)],
        "strategy": draw.choice(STRATEGIES),
        "resumable": draw.random() < 0.6,
        "follow": draw.choice(("stream", "stream", "wait", "no")),
        "key": draw.random() < 0.5,
        "webhook": draw.random() < 0.3,
        "delay": draw.choice((0, 0, 0, 0, 2.0)),
        "temporary": draw.random() < 0.12,
    }


def _op(draw: random.Random, number: int, threads: int) -> Op:
    at, thread = round(draw.uniform(0.0, OPS_S), 3), draw.randrange(threads)
    roll = draw.random()
    if roll < 0.68:
        return Op(at, "run", number, thread, _run(draw, number))
    if roll < 0.80:
        action = draw.choice(("interrupt", "interrupt", "rollback"))
        return Op(at, "cancel", number, thread, {"of": draw.randrange(1000), "action": action})
    if roll < 0.84:
        return Op(at, "delete_run", number, thread, {"of": draw.randrange(1000)})
    if roll < 0.86:
        return Op(at, "delete_thread", number, thread)
    if roll < 0.92:
        return Op(at, "patch", number, thread, {"key": draw.random() < 0.7})
    return Op(at, "join", number, thread, {"of": draw.randrange(1000)})


PROCESS_FAULTS = ("kill", "kill", "kill", "stop", "pause", "pause")
SERVER_FAULTS = (
    "redis down", "redis wiped", "redis cut", "redis silent", "postgres down", "postgres lost", "postgres cut", "postgres silent",
    "log down", "log answers lost", "log slow", "evicted", "unreachable",
)  # fmt: skip


def _fault(draw: random.Random, names: list[str]) -> Fault:
    at = round(draw.uniform(FAULTS_FROM_S, FAULTS_S), 3)
    seconds = round(draw.choice((0.2, 1.0, 3.0, 8.0)) * draw.uniform(0.5, 1.5), 3)
    if draw.random() < 0.5:
        return Fault(at, draw.choice(PROCESS_FAULTS), draw.choice(names), seconds)
    what = draw.choice(SERVER_FAULTS)
    target = draw.choice(names)
    return Fault(at, what, target, seconds, draw.randint(1, 30), draw.choice(("redis", "postgres", "log")))


STORMS = (
    "two owners of commands",
    "two owners of commands",
    "two owners of events",
    "commits lost under a takeover",
    "workers lost in runs",
    "workers lost in runs",
    "leases lost in runs",
    "drain in runs",
    "streams over lost workers",
    "repeats after a takeover",
    "repeats after a takeover",
)


class _Names:
    """The processes of a world by their services."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def of(self, *kinds: str) -> list[str]:
        return [name for name in self._names if name.partition("-")[0] in kinds]

    @property
    def gateways(self) -> list[str]:
        return self.of("gateway", "dev")

    @property
    def deciders(self) -> list[str]:
        return self.of("decider", "dev")

    @property
    def projectors(self) -> list[str]:
        return self.of("projector", "dev")

    @property
    def workers(self) -> list[str]:
        return self.of("worker")


class _Storm:
    """Faults that meet, and what clients do in their midst: each fault alone is survived by one rule, together they need several."""

    def __init__(self, draw: random.Random, names: list[str], threads: int, number: int) -> None:
        self.faults: list[Fault] = []
        self.ops: list[Op] = []
        self._draw, self._names, self._threads, self._number = draw, _Names(names), threads, number
        self._at = draw.uniform(FAULTS_FROM_S + 3.0, FAULTS_S - 8.0)
        act = {
            "two owners of commands": self._two_deciders,
            "two owners of events": self._two_projectors,
            "commits lost under a takeover": self._commits_lost,
            "workers lost in runs": self._workers_lost,
            "leases lost in runs": self._leases_lost,
            "drain in runs": self._drain,
            "streams over lost workers": self._streams,
            "repeats after a takeover": self._repeats,
        }
        act[draw.choice(STORMS)]()

    def _fault(
        self, after: float, what: str, target: str = "", seconds: float = 0.0, amount: int = 0, server: str = ""
    ) -> None:
        self.faults.append(Fault(round(self._at + after, 3), what, target, round(seconds, 3), amount, server))

    def _run(self, after: float, **options: Any) -> None:
        self._number += 1
        run = _run(self._draw, self._number) | options
        at, thread = round(self._at + after, 3), self._draw.randrange(self._threads)
        self.ops.append(Op(at, "run", self._number, thread, run))

    def _patch(self, after: float, *, key: bool) -> None:
        self._number += 1
        at, thread = round(self._at + after, 3), self._draw.randrange(self._threads)
        self.ops.append(Op(at, "patch", self._number, thread, {"key": key}))

    def _two_deciders(self) -> None:
        """A decider is thrown out of its group and goes on for a while; clients make runs in the meantime."""
        draw = self._draw
        late = draw.choice((1.0, 2.0, 3.0))
        self._fault(0.0, "evicted", "deciders", late, draw.randrange(30))
        for _ in range(5):
            self._run(draw.uniform(0.05, late), plan=["step", "step"], delay=0, temporary=False)
        if draw.random() < 0.5:
            self._fault(
                draw.uniform(0.1, late), "evicted", "deciders", draw.choice((0.1, 0.5, 2.0)), draw.randrange(30)
            )

    def _two_projectors(self) -> None:
        """Members are evicted in turn and go on for a while; some stand still in the midst."""
        draw, after = self._draw, 0.0
        for _ in range(draw.randint(2, 5)):
            self._fault(after, "evicted", "projectors", draw.choice((0.1, 0.5, 2.0)), draw.randrange(30))
            self._patch(after + draw.uniform(0.0, 0.4), key=False)
            after += draw.uniform(0.05, 1.5)
        if draw.random() < 0.5:
            self._fault(after, "pause", draw.choice(self._names.projectors), draw.uniform(3.0, 7.0))

    def _commits_lost(self) -> None:
        draw = self._draw
        for name in self._names.projectors:
            self._fault(0.0, draw.choice(("pause", "pause", "kill")), name, draw.uniform(1.0, 6.0))
        after = draw.uniform(0.0, 0.4)
        self._fault(after, "postgres lost", "", draw.choice((0.05, 0.3, 1.0)), draw.randint(1, 60))
        if draw.random() < 0.7:  # new owners read positions that no message has brought to their connections
            self._fault(after - draw.uniform(1.0, 3.0), "redis down", "", 6.0)
            for number in range(2):
                self._fault(after - draw.uniform(0.2, 1.5), "evicted", "deciders", 0.1, number)

    def _in_runs(self) -> None:
        """Runs that are under way when something befalls their workers."""
        for _ in range(2):
            plan = ["step", "sleep:1.5", "sleep:1.5", "sleep:1.5", "step"]
            self._run(-self._draw.uniform(0.3, 1.5), plan=plan, delay=0, temporary=False)

    def _workers_lost(self) -> None:
        """They are killed, or go on although Redis, and so the scheduler, no longer hears of them."""
        draw = self._draw
        self._in_runs()
        for name in self._names.workers:
            if draw.random() < 0.5:
                self._fault(draw.uniform(0.0, 0.3), "kill", name)
            else:
                self._fault(draw.uniform(0.0, 0.3), "unreachable", name, draw.uniform(7.0, 9.0), server="redis")

    def _leases_lost(self) -> None:
        draw, workers = self._draw, self._names.workers
        self._in_runs()
        self._fault(0.0, "pause", draw.choice(workers), draw.uniform(4.0, 8.0))
        what = draw.choice(("redis wiped", "redis down", "kill", "evicted"))
        self._fault(draw.uniform(0.0, 5.0), what, draw.choice(workers), draw.uniform(0.2, 2.0), draw.randrange(30))

    def _drain(self) -> None:
        draw = self._draw
        self._in_runs()
        for name in self._names.workers:
            if draw.random() < 0.8:
                self._fault(0.0, "stop", name)
        self._fault(draw.uniform(0.0, 2.0), draw.choice(("postgres down", "log down", "redis cut")), "", 1.5)

    def _streams(self) -> None:
        """Workers stand still for longer than a lease, and go on for a moment, while clients follow at gateways that are killed."""
        draw = self._draw
        frames = ["stream:3", "sleep:0.3", "stream:3", "sleep:1.5"] * 3
        for _ in range(3):
            options = {"resumable": True, "follow": "stream", "key": True, "strategy": "enqueue"}
            self._run(draw.uniform(-1.5, -0.5), plan=frames, delay=0, temporary=False, **options)
        for name in self._names.workers:
            self._fault(draw.uniform(0.0, 1.0), "pause", name, draw.uniform(4.0, 6.0))
        for _ in range(6):
            self._fault(draw.uniform(0.0, 7.0), "kill", draw.choice(self._names.gateways), 1.0)

    def _repeats(self) -> None:
        """No answer reaches the gateways, and then those who have decided are gone when clients repeat."""
        draw = self._draw
        self._fault(0.0, "redis silent", "", 2.0)
        for _ in range(3):
            self._patch(draw.uniform(0.05, 1.0), key=True)
            self._run(
                draw.uniform(0.05, 1.0), plan=["step"], key=True, strategy="enqueue", follow="no", temporary=False
            )
        for name in dict.fromkeys((*self._names.gateways, *self._names.deciders)):
            self._fault(1.8, "kill", name)


def drawn(seed: int) -> Plan:
    draw = random.Random(seed)
    if draw.random() < 0.25:
        processes = [("dev", 1), ("worker", draw.randint(1, 2))]
    else:
        processes = [
            ("gateway", draw.randint(1, 2)),
            ("decider", draw.choice((1, 2, 2))),
            ("projector", draw.choice((1, 2, 2))),
            ("scheduler", draw.randint(1, 2)),
            ("worker", draw.randint(1, 3)),
        ]
    names = [f"{kind}-{number}" for kind, count in processes for number in range(count)]
    threads = draw.choice((1, 2, 4, 12))
    ops = [_op(draw, number, threads) for number in range(draw.choice((6, 12, 18, 24)))]
    if draw.random() < 0.3:
        ops.append(Op(round(draw.uniform(0, 5), 3), "cron", len(ops), 0, {"stateless": draw.random() < 0.5}))
    faults = [_fault(draw, names) for _ in range(draw.choice((0, 2, 4, 6, 8, 12)))]
    for _ in range(draw.choice((0, 1, 1, 2)) if faults else 0):
        storm = _Storm(draw, names, threads, len(ops))
        faults += storm.faults
        ops += storm.ops
    return Plan(
        seed,
        processes,
        draw.choice((2, 3)),
        sorted(ops, key=lambda op: op.at),
        sorted(faults, key=lambda fault: fault.at),
        draw.sample(ACTS, 3),
    )
