"""Health of the whole system: queue, workers, readers of the log, parked keys, webhooks, and findings in words.

`gather` queries Postgres, Redis and the log; unreachable ones are left out and named in ``findings``. `findings` is pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

import asyncpg
import msgspec
from langlog_schemas.messages import ProcessInfo

from ..log.port import DECIDERS, Log, LogUnavailable
from ..postgres.database import load_sql
from ..process.activity import shown_in_line
from ..process.server_errors import RedisUnavailable
from ..process.unavailable import Dependency, is_unavailable
from ..redis.client import RedisPipe
from ..time.clock import now_iso
from . import group_lag
from .service_reports import processes
from .webhooks import shown_url
from .workers import QueueView, WorkerView, queue_and_workers

SQL = load_sql("langlog_backbone", "health.sql")
WEBHOOKS_SHOWN = 50
URL_CHARACTERS = 200
"""Maximum length of a receiver's address in a finding."""
SLOW_WAIT_S = 10.0
"""Seconds that a dispatched run may wait for a worker before it is a finding."""
NOTABLE_LAG = 1_000
"""Records of lag from which a group is a finding."""
Severity = Literal["error", "warning", "info"]
GRAVITY: tuple[Severity, ...] = ("error", "warning", "info")


class Finding(msgspec.Struct, frozen=True):
    """A problem, and what to do about it."""

    severity: Severity
    """Severity of the problem."""
    text: str
    """Description of the problem, and what to do."""
    about: str
    """Affected part: postgres, redis, log, services, workers, queue, deciders, projectors, dead-letters or webhooks."""


class RunsView(msgspec.Struct, frozen=True):
    """Runs in flight. Waits in seconds; None: nothing waits."""

    pending: int
    """Runs that have not started."""
    running: int
    """Runs that a worker executes."""
    delayed: int
    """Pending runs whose start is delayed."""
    longest_wait_s: float | None
    """Age of the oldest pending run."""
    unblocked_wait_s: float | None
    """Age of the oldest run that waits for nothing but a free worker."""
    oldest_run_id: str | None = None
    """The run that has waited longest for a worker."""
    oldest_thread_id: str | None = None
    """The thread of that run."""


class GroupView(msgspec.Struct, frozen=True):
    """A group of readers on one topic: sums over its partitions, in records."""

    group: str
    """`deciders`, `projection <schema>`, or a consumer of your own."""
    topic: str
    """Topic of the log."""
    partitions: int
    """Partitions with records."""
    partitions_behind: int
    """Partitions with records that the group has not read."""
    position: int
    """Records that the group has read."""
    end: int
    """Records that the topic has had."""
    lag: int
    """Records that the group has not read."""


class WebhookView(msgspec.Struct, frozen=True):
    """A delivery that is not settled."""

    run_id: str
    """Run whose end is delivered."""
    thread_id: str
    """Thread of the run."""
    url: str
    """Address of the receiver, without credentials and query."""
    attempts: int
    """Attempts so far."""
    ended_at: datetime
    """Time of the run's end."""
    next_attempt_at: datetime
    """Time of the next attempt."""
    last_attempt: Any
    """Outcome of the last attempt."""


class SystemHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Health of the system. None: the server with this information cannot be reached."""

    at: str
    """Time of the report, ISO 8601."""
    ready: bool
    """Whether Postgres, Redis and the log are available."""
    findings: list[Finding]
    """Problems, the gravest first."""
    runs: RunsView | None
    """Runs in flight."""
    queued: int | None
    """Dispatched runs that no worker has claimed."""
    processes: list[ProcessInfo] | None
    """Processes that run services and have reported within half a minute."""
    workers: list[WorkerView] | None
    """Worker processes with a lease."""
    groups: list[GroupView] | None
    """Position of each group of readers."""
    parked_keys: int | None
    """Keys that wait behind a record that cannot be handled."""
    parked_records: int | None
    """Records that wait there."""
    webhooks: list[WebhookView] | None
    """The next deliveries, at most 50."""
    webhooks_waiting: int | None
    """Deliveries that are not settled, in all."""
    webhooks_given_up: int | None = None
    """Deliveries that were given up."""


async def gather(pool: asyncpg.Pool, log: Log, pipe: RedisPipe, failures: Mapping[Dependency, str]) -> SystemHealth:
    """Collect the report. ``failures``: result of `Probe.failures`; those servers are not queried."""
    away = dict(failures)
    runs: RunsView | None = None
    parked: asyncpg.Record | None = None
    hooks: list[asyncpg.Record] | None = None
    given_up: int | None = None
    queue: QueueView | None = None
    running: list[ProcessInfo] | None = None
    groups: list[GroupView] | None = None
    if "postgres" not in away:
        try:
            runs = await _runs(pool)
            parked = await pool.fetchrow(SQL["parked"])
            hooks = await pool.fetch(SQL["webhooks"], WEBHOOKS_SHOWN)
            given_up = await pool.fetchval(SQL["webhooks_given_up"])
        except Exception as error:
            if not is_unavailable(error):
                raise
            away["postgres"] = f"Postgres is not available: {error}"
    if "redis" not in away:
        try:
            queue = await queue_and_workers(pipe)
            running = await processes(pipe)
        except RedisUnavailable as error:
            away["redis"] = f"Redis is not available: {error}"
    if not {"log", "postgres"} & away.keys():
        try:
            groups = summed(await group_lag.gather(log, pool))
        except LogUnavailable as error:
            away["log"] = f"the log is not available: {error}"
    keys = None if parked is None else parked["keys"]
    webhooks = None if hooks is None else [_webhook(row) for row in hooks]
    return SystemHealth(
        at=now_iso(),
        ready=not away,
        findings=sorted(
            [*findings(away, runs, queue, groups, keys, webhooks, given_up), *not_ready(running or ())],
            key=lambda one: GRAVITY.index(one.severity),
        ),
        runs=runs,
        queued=None if queue is None else queue.queued,
        processes=running,
        workers=None if queue is None else queue.workers,
        groups=groups,
        parked_keys=keys,
        parked_records=None if parked is None else parked["records"],
        webhooks=webhooks,
        webhooks_waiting=None if hooks is None else (hooks[0]["total"] if hooks else 0),
        webhooks_given_up=given_up,
    )


def not_ready(running: Iterable[ProcessInfo]) -> Iterable[Finding]:
    """Services that make no progress. Pure."""
    for process in running:
        for service, reason in process.services.items():
            if reason is not None:
                text = f"The {service} on {process.host} (process {process.pid}) is not ready: {reason}."
                yield Finding("warning", text, "services")


async def _runs(pool: asyncpg.Pool) -> RunsView:
    row = await pool.fetchrow(SQL["runs"])
    assert row is not None, "an aggregate without GROUP BY gives a row"
    oldest = await pool.fetchrow(SQL["oldest"]) if row["unblocked_wait_s"] is not None else None
    named = (None, None) if oldest is None else (oldest["run_id"], oldest["thread_id"])
    return RunsView(*row.values(), *named)


def _webhook(row: asyncpg.Record) -> WebhookView:
    last = row["last_attempt"]
    return WebhookView(
        run_id=row["run_id"],
        thread_id=row["thread_id"],
        url=shown_url(row["url"]),
        attempts=row["attempts"],
        ended_at=row["ended_at"],
        next_attempt_at=row["next_attempt_at"],
        last_attempt=None if last is None else msgspec.json.decode(last),
    )


def summed(positions: Iterable[group_lag.GroupPosition]) -> list[GroupView]:
    """Return the sums of positions, one row for each group and topic."""
    rows: dict[tuple[str, str], list[group_lag.GroupPosition]] = {}
    for position in positions:
        rows.setdefault((position.group, position.topic), []).append(position)
    return [
        GroupView(
            group=group,
            topic=topic,
            partitions=len(of),
            partitions_behind=sum(one.lag > 0 for one in of),
            position=sum(one.position for one in of),
            end=sum(one.end for one in of),
            lag=sum(one.lag for one in of),
        )
        for (group, topic), of in rows.items()
    ]


def findings(
    away: Mapping[Dependency, str],
    runs: RunsView | None,
    queue: QueueView | None,
    groups: Iterable[GroupView] | None,
    parked_keys: int | None,
    webhooks: Iterable[WebhookView] | None,
    given_up: int | None,
) -> Iterable[Finding]:
    """Yield the problems that the facts show. Pure."""
    for name, reason in away.items():
        yield Finding("error", reason, name)
    if queue is not None:
        alive = [worker for worker in queue.workers if worker.lease_s > 0]
        if not alive:
            waiting = f" {queue.queued} dispatched runs wait." if queue.queued else ""
            yield Finding("error", f"No worker is alive.{waiting} Start an executor.", "workers")
        for worker in queue.workers:
            if worker.lease_s <= 0:
                text = f"Worker {worker.worker_id} has been silent for {-worker.lease_s:.0f} s beyond its lease"
                yield Finding("warning", f"{text}: a scheduler dispatches its {worker.held} runs again.", "workers")
            elif worker.about is not None and worker.about.blocked:
                graphs = ", ".join(worker.about.blocked)
                text = f"Graphs {graphs} block an event loop of worker {worker.worker_id}: an async node makes a blocking call."
                yield Finding("warning", text, "workers")
    if parked_keys:
        text = f"{parked_keys} keys are parked behind records that cannot be handled. See the dead letters."
        yield Finding("error", text, "dead-letters")
    if runs is not None and runs.unblocked_wait_s is not None and runs.unblocked_wait_s > SLOW_WAIT_S:
        text = f"Run {runs.oldest_run_id} has waited {runs.unblocked_wait_s:.0f} s for a free worker. Add workers or slots."
        yield Finding("warning", text, "queue")
    for group in groups or ():
        if group.lag >= NOTABLE_LAG and (group.group == DECIDERS or group.group.startswith("projection ")):
            part = "deciders" if group.group == DECIDERS else "projectors"
            text = f"{group.group} is {group.lag:,} records of {group.topic} behind the log."
            yield Finding("warning", text, part)
    yield from _of_webhooks(webhooks or (), given_up or 0)


def _of_webhooks(webhooks: Iterable[WebhookView], given_up: int) -> Iterable[Finding]:
    failing = [webhook for webhook in webhooks if webhook.attempts]
    if failing:
        first = shown_in_line(failing[0].url, URL_CHARACTERS)
        text = f"{len(failing)} webhook deliveries have failed and are tried again; the first: {first}"
        yield Finding("info", text, "webhooks")
    if given_up:
        text = f"{given_up} webhook deliveries were given up. langlog webhooks list names them; retry sends them again."
        yield Finding("warning", text, "webhooks")
