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
    "two owners",
    "two owners",
    "two owners",
    "commits lost under a takeover",
    "leases lost in runs",
    "drain in runs",
)


def _storm(draw: random.Random, names: list[str]) -> list[Fault]:
    """Faults that meet: each alone is survived by one rule, together they need several."""
    at, what = draw.uniform(FAULTS_FROM_S + 3.0, FAULTS_S - 4.0), draw.choice(STORMS)
    of = lambda *kinds: [name for name in names if name.partition("-")[0] in (*kinds, "dev")]  # noqa: E731
    workers = [name for name in names if name.startswith("worker")]
    match what:
        case (
            "two owners"
        ):  # members of one group are evicted in turn and go on for a while; some stand still in the midst
            group, faults = draw.choice(("deciders", "projectors")), []
            for _ in range(draw.randint(2, 5)):
                faults.append(Fault(at, "evicted", group, draw.choice((0.1, 0.5, 2.0)), draw.randrange(30)))
                at += draw.uniform(0.05, 1.5)
            if draw.random() < 0.5:
                faults.append(Fault(at, "pause", draw.choice(of(group[:-1])), draw.uniform(3.0, 7.0)))
        case "commits lost under a takeover":
            faults = [
                Fault(at, draw.choice(("pause", "pause", "kill")), name, draw.uniform(1.0, 6.0))
                for name in of("projector")
            ]
            at += draw.uniform(0.0, 0.4)
            faults.append(Fault(at, "postgres lost", "", draw.choice((0.05, 0.3, 1.0)), draw.randint(1, 60)))
            if draw.random() < 0.7:  # new owners read positions that no message has brought to their connections
                faults.append(Fault(at - draw.uniform(1.0, 3.0), "redis down", "", 6.0))
                faults += [Fault(at - draw.uniform(0.2, 1.5), "evicted", "deciders", 0.1, n) for n in range(2)]
        case "leases lost in runs":
            faults = [Fault(at, "pause", draw.choice(workers), draw.uniform(4.0, 8.0))]
            faults.append(
                Fault(
                    at + draw.uniform(0.0, 5.0),
                    draw.choice(("redis wiped", "redis down", "kill", "evicted")),
                    draw.choice(workers),
                    draw.uniform(0.2, 2.0),
                    draw.randrange(30),
                )
            )
        case _:
            faults = [Fault(at, "stop", name) for name in workers if draw.random() < 0.8]
            faults.append(
                Fault(at + draw.uniform(0.0, 2.0), draw.choice(("postgres down", "log down", "redis cut")), "", 1.5)
            )
    return [msgspec.structs.replace(f, at=round(f.at, 3), seconds=round(f.seconds, 3)) for f in faults]


def drawn(seed: int) -> Plan:
    draw = random.Random(seed)
    if draw.random() < 0.25:
        processes = [("dev", 1), ("worker", draw.randint(1, 2))]
    else:
        processes = [
            ("gateway", draw.randint(1, 2)),
            ("decider", draw.randint(1, 2)),
            ("projector", draw.randint(1, 2)),
            ("scheduler", draw.randint(1, 2)),
            ("worker", draw.randint(1, 3)),
        ]
    names = [f"{kind}-{number}" for kind, count in processes for number in range(count)]
    threads = draw.choice((1, 2, 4, 12))
    ops = [_op(draw, number, threads) for number in range(draw.choice((6, 12, 24, 32)))]
    if draw.random() < 0.3:
        ops.append(Op(round(draw.uniform(0, 5), 3), "cron", len(ops), 0, {"stateless": draw.random() < 0.5}))
    faults = [_fault(draw, names) for _ in range(draw.choice((0, 2, 4, 6, 8, 12)))]
    for _ in range(draw.choice((0, 1, 2, 3)) if faults else 0):
        faults += _storm(draw, names)
    return Plan(
        seed,
        processes,
        draw.choice((2, 3)),
        sorted(ops, key=lambda op: op.at),
        sorted(faults, key=lambda fault: fault.at),
    )
