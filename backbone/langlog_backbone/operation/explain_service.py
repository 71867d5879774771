"""Why a service is behind or not ready, in sentences for operators: the verdict first, then what to do. `explain` is pure.

Processes report their state in Redis (`service_reports`); everything else is read by `health`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, get_args

import asyncpg
from langlog_schemas.messages import ProcessInfo

from ..log.port import DECIDERS, Log
from ..postgres.database import load_sql
from ..postgres.pool import Pool
from ..process.retry import NAMES
from ..process.server_errors import RedisUnavailable
from ..process.unavailable import Dependency, is_unavailable
from ..redis.client import RedisPipe
from ..redis.memory import RedisMemory, redis_memory
from ..time.clock import now_ms
from . import health
from .health import GroupView, SystemHealth

SQL = load_sql("langlog_backbone", "figures.sql")
ServiceName = Literal["gateway", "decider", "projector", "scheduler", "workers", "executor", "log", "postgres", "redis"]
SERVICES: tuple[ServiceName, ...] = get_args(ServiceName)
STARTED_BY: Mapping[str, str] = {
    "gateway": "langlog gateway",
    "decider": "langlog executor",
    "workers": "langlog executor",
    "projector": "langlog projector",
    "scheduler": "langlog scheduler",
}
"""Command that starts a service outside of langlog dev."""
BEHIND = 1_000
"""Number of records behind the log from which a service is reported as behind. Fewer are less than a second's work."""
LATE_S = 30.0
"""Longest lateness of a webhook or a cron that is not reported."""
NEARLY_FULL = 0.9
LINES_MAX = 50
"""Maximum number of lines of one explanation."""
_SERVER_NAMES: Mapping[str, str] = {str(server): name for server, name in NAMES.items()}
RECENT_S = 600.0
"""Age from which a failure is no longer reported."""


class Late(NamedTuple):
    """Webhooks and crons that are due: their number, and the lateness of the oldest in seconds."""

    webhooks: int
    webhooks_s: float
    crons: int
    crons_s: float


class Facts(NamedTuple):
    """State of the deployment; None for a member whose server cannot be reached."""

    health: SystemHealth
    late: Late | None
    memory: RedisMemory | None
    now_ms: int

    @property
    def away(self) -> dict[str, str]:
        """Servers that cannot be reached, with the reason."""
        return {f.about: f.text for f in self.health.findings if f.severity == "error" and f.about in NAMES}


class ServiceExplanation(NamedTuple):
    """``well``: nothing is wrong with it. ``lines``: the verdict, then details and what to do."""

    well: bool
    lines: list[str]


async def gather(pool: asyncpg.Pool | Pool, log: Log, pipe: RedisPipe, failures: Mapping[Dependency, str]) -> Facts:
    """Read Postgres, Redis and the log. Servers in ``failures``, which are known to be unavailable, are not queried."""
    seen = await health.gather(pool, log, pipe, failures)
    late = memory = None
    if seen.runs is not None:
        try:
            hooks, crons = await pool.fetchrow(SQL["webhooks"]), await pool.fetchrow(SQL["crons"])
            late = Late(hooks["waiting"], hooks["late_s"], crons["due"], crons["late_s"])
        except Exception as error:
            if not is_unavailable(error):
                raise
    if seen.queued is not None:
        try:
            memory = await redis_memory(pipe)
        except RedisUnavailable:
            memory = None
    return Facts(seen, late, memory, now_ms())


def explain(service: ServiceName, facts: Facts) -> ServiceExplanation:
    """Return sentences about a service, a server, or both parts of an executor."""
    match service:
        case "log" | "postgres" | "redis":
            wrong, details = list(_server(service, facts)), list(_about_server(service, facts))
        case "executor":
            wrong, details = [], []
            for part in ("decider", "workers"):
                wrong += _service(part, facts)
                details += _about_service(part, facts)
        case _:
            wrong, details = list(_service(service, facts)), list(_about_service(service, facts))
    name = _SERVER_NAMES.get(service) or f"The {service}"
    verb = "are" if service == "workers" else "is"
    lines = wrong or [f"{name} {verb} well."]
    return ServiceExplanation(not wrong, [*lines, *dict.fromkeys(details)][:LINES_MAX])


def _service(service: str, facts: Facts) -> Iterator[str]:
    """Yield the problems of a service, the gravest first."""
    running = _running(service, facts)
    if running is None:
        yield f"{facts.away.get('redis', 'Redis cannot be reached.')} Which processes run is not known without it: repair Redis first."
    elif not running:
        yield f"No process that runs {_called(service)} has reported lately: start one ({STARTED_BY[service]}), or look at why it ended."
    for process in running or ():
        reason = process.services[service]
        if reason is not None:
            yield f"{_named(service, process)} is not ready: {reason}. {_advice(reason, facts)}"
    match service:
        case "decider":
            yield from _behind(DECIDERS, "decided", "deciders", facts)
        case "projector":
            yield from _behind("projection ", "folded", "projectors", facts)
        case "workers":
            yield from _queue(facts)
        case "scheduler":
            yield from _lateness(facts)
        case _:
            pass
    if service in ("decider", "projector") and facts.health.parked_keys:
        yield (
            f"{facts.health.parked_keys} keys are parked behind records that cannot be handled; {facts.health.parked_records} records "
            "wait. Look at them: langlog dead list."
        )


def _about_service(service: str, facts: Facts) -> Iterator[str]:
    """Yield further details of a service."""
    running = _running(service, facts) or []
    for process in running:
        state = "ready" if process.services[service] is None else "not ready"
        minutes = max(0, facts.now_ms - process.started_ms) // 60_000
        yield f"{_named(service, process)} is {state}; version {process.version}, up for {minutes} min."
    for process in running:
        for one in process.trouble:
            ago_s = (facts.now_ms - one.last_ms) / 1000
            if ago_s < RECENT_S:
                yield (
                    f"{one.loop} on {process.host} (process {process.pid}) last failed to reach {one.dependency} {ago_s:.0f} s ago "
                    f"({one.last_error}); {one.failures} failures since its start."
                )
    for name, text in facts.away.items():
        yield f"{_SERVER_NAMES[name]} is unavailable: {text}"
    if service in ("decider", "projector"):
        group = DECIDERS if service == "decider" else "projection "
        for view in facts.health.groups or ():
            if view.group.startswith(group) and view.lag:
                yield (
                    f"{view.topic}: {view.lag:,} of {view.end:,} records to go, in {view.partitions_behind} of {view.partitions} "
                    "partitions."
                )


def _running(service: str, facts: Facts) -> list[ProcessInfo] | None:
    processes = facts.health.processes
    return None if processes is None else [process for process in processes if service in process.services]


def _called(service: str) -> str:
    return "workers" if service == "workers" else f"a {service}"


def _named(service: str, process: ProcessInfo) -> str:
    return f"The {service} on {process.host} (process {process.pid})"


def _advice(reason: str, facts: Facts) -> str:
    """Return advice on the reason for which a process is not ready."""
    if any(name in reason for name in NAMES.values()):
        return "Repair that server, or the network between them; the service then continues by itself."
    if "waits for the projector" in reason:
        return "Next, run: langlog why projector."
    if "no worker process runs" in reason:
        return "Its log has the reason: worker.died, worker.start_failed."
    if "not folded yet" in reason:
        return "It catches up after its start; wait, or add projectors up to the number of partitions."
    return "It continues by itself afterwards; its log has details."


def _behind(prefix: str, done: str, who: str, facts: Facts) -> Iterator[str]:
    groups = facts.health.groups
    if groups is None:
        away = facts.away
        yield f"How far it is cannot be read: {away.get('log') or away.get('postgres') or 'the log cannot be reached'}"
        return
    behind = [one for one in groups if one.group.startswith(prefix) and one.lag >= BEHIND]
    for one in sorted(behind, key=_lag, reverse=True):
        yield (
            f"{one.lag:,} records of {one.topic} are not {done} yet. If that number falls, wait; else add {who} (at most one for each of "
            f"{one.partitions} partitions is of use), or look at the CPU and at Postgres."
        )


def _lag(group: GroupView) -> int:
    return group.lag


def _queue(facts: Facts) -> Iterator[str]:
    seen = facts.health
    if seen.workers is None:
        return
    for finding in seen.findings:
        if finding.about in ("workers", "queue"):
            yield finding.text
    slots = sum(worker.about.slots for worker in seen.workers if worker.about is not None)
    held = sum(worker.held for worker in seen.workers)
    if seen.queued and slots and held >= slots:
        yield f"All {slots} slots are taken and {seen.queued} runs wait: add workers (LANGLOG_WORKERS) or executors."


def _lateness(facts: Facts) -> Iterator[str]:
    late = facts.late
    if late is None:
        return
    if late.webhooks_s > LATE_S:
        yield (
            f"A webhook is overdue by {late.webhooks_s:.0f} s, and {late.webhooks} deliveries wait: is a scheduler ready, and do "
            "receivers answer (langlog_webhook_seconds)?"
        )
    if late.crons_s > LATE_S:
        yield (
            f"{late.crons} crons are due, the oldest for {late.crons_s:.0f} s. Firing pauses while the server is behind "
            "(scheduler.crons_paused in its log)."
        )


def _server(service: Dependency, facts: Facts) -> Iterator[str]:
    """Yield the problems of a server."""
    if (reason := facts.away.get(service)) is not None:
        yield f"{reason} {_WITHOUT[service]}"
    for process in facts.health.processes or ():
        for name, why in process.services.items():
            if why is not None and NAMES[service] in why:
                yield f"{_named(name, process)} does not reach it: {why}."
    memory = facts.memory
    if service == "redis" and memory is not None and memory.maximum and memory.used / memory.maximum > NEARLY_FULL:
        yield (
            f"Redis uses {memory.used / memory.maximum:.0%} of its memory: raise maxmemory, or keep fewer stream events "
            "(LANGLOG_FRAMES_MAX_BYTES)."
        )


_WITHOUT: Mapping[Dependency, str] = {
    "postgres": "Commands are still appended to the log; responses and reads wait for it. Repair Postgres: connections, disk, failover.",
    "redis": "Runs under way continue; new ones are not dispatched, and streams have gaps. Repair Redis: nothing in it has to be restored.",
    "log": "Every change gets 503 until it accepts records again. Repair the disk, or the brokers.",
}


def _about_server(service: Dependency, facts: Facts) -> Iterator[str]:
    seen, memory = facts.health, facts.memory
    if service == "redis" and memory is not None:
        limit = f"of {memory.maximum / 1e6:,.0f} MB" if memory.maximum else "without a limit"
        yield f"It uses {memory.used / 1e6:,.0f} MB {limit}; {seen.queued} tasks are in the queue."
    if service == "log":
        for one in seen.groups or ():
            state = f"{one.lag:,} records behind" if one.lag else "at the end"
            yield f"{one.group} on {one.topic}: {state}."
    if service == "postgres" and seen.runs is not None:
        yield f"It answers: {seen.runs.pending} runs pending, {seen.runs.running} running."
    for process in seen.processes or ():
        for trouble in process.trouble:
            ago_s = (facts.now_ms - trouble.last_ms) / 1000
            if trouble.dependency == service and ago_s < RECENT_S:
                yield (
                    f"{trouble.loop} on {process.host} (process {process.pid}) last failed to reach it {ago_s:.0f} s ago "
                    f"({trouble.last_error}); {trouble.failures} failures since its start."
                )
