"""Why a run is not moving: facts from Postgres, Redis and the ends of the log (`gather`), and their explanation (`explain`, pure).

Reads only. Used by `langlog why` and the API.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import asyncpg
import msgspec
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev

from ..log.port import DECIDERS, Log
from ..postgres.database import load_sql
from ..process.activity import shown_in_line
from ..process.server_errors import RedisUnavailable
from ..process.settings import Settings
from ..redis.client import RedisPipe
from .webhooks import Undelivered, delivery
from .workers import scores

SQL = load_sql("langlog_backbone", "why.sql")
INTERRUPTS_SHOWN = 5
"""Maximum number of open interrupts in the explanation."""
VALUE_WIDTH = 120
"""Maximum number of characters of an interrupt's value in the explanation."""


class RunFacts(NamedTuple):
    """A row of ``runs``, as of the moment ``now``."""

    run_id: str
    thread_id: str
    status: str
    attempt: int
    now: datetime
    crashes: int = 0
    cancel: str | None = None
    superseded_by: str | None = None
    not_before: datetime | None = None
    created_at: datetime | None = None
    dispatched_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: str | None = None
    ahead: str | None = None
    """Id of the run of the same thread that this one waits for."""
    assistant_id: str = ""


class QueueFacts(NamedTuple):
    """Facts from Redis. ``ahead``: number of tasks in front of the run's own, None if it is not queued."""

    ahead: int | None = None
    queued: int = 0
    worker: str | None = None
    lease_s: float | None = None
    """Seconds until the holder's lease expires; negative: it has expired."""
    workers: int = 0


class Interrupt(NamedTuple):
    """A question of a node to a human. ``value``: JSON."""

    id: str
    value: str


class Facts(NamedTuple):
    run: RunFacts | None
    queue: QueueFacts | None
    """Facts from Redis, or None if it cannot be reached."""
    undecided: int = 0
    """Number of commands that no decider has handled yet."""
    unfolded: int = 0
    """Number of events that the read model does not hold yet."""
    parked: str | None = None
    """Error of the record that the run's thread is parked behind."""
    parked_keys: int = 0
    """Number of parked keys in all."""
    waits: bool = False
    """Whether the run is the last one of its thread and left it interrupted."""
    open_interrupts: tuple[Interrupt, ...] = ()
    """Open interrupts of the thread; empty: the run stopped at a breakpoint, or was cancelled."""
    webhook: Undelivered | None = None
    """The delivery of the run's webhook, if it has not reached its receiver. It outlives the run."""


def explain(run_id: str, facts: Facts, settings: Settings) -> list[str]:
    """Return the explanation of the facts, the most important sentence first."""
    lines = [_first(run_id, facts, settings)]
    run = facts.run
    if facts.parked is not None and run is not None:
        lines.insert(0, f"Its thread {run.thread_id} is parked: {facts.parked}. See langlog dead show {run.thread_id}.")
    elif run is None and facts.parked_keys:
        lines.append(
            f"{facts.parked_keys} keys are parked behind records that cannot be handled: see langlog dead list."
        )
    if facts.webhook is not None:
        lines.append(_undelivered(facts.webhook))
    if run is not None and facts.waits:
        lines += _open(run, facts.open_interrupts)
    if run is not None and run.ended_at is None:
        if run.cancel is not None:
            by = f" by run {run.superseded_by}" if run.superseded_by else ""
            lines.append(f"Its stop has been requested ({run.cancel}){by}.")
        if run.crashes:
            lines.append(f"It has lost its worker {run.crashes} times; after {settings.max_attempts} it is given up.")
    if facts.undecided:
        lines.append(f"Deciders have up to {facts.undecided} commands in front of them.")
    if facts.unfolded:
        lines.append(f"The read model is {facts.unfolded} events behind the log: some of this may be out of date.")
    return lines


def _first(run_id: str, facts: Facts, settings: Settings) -> str:
    run = facts.run
    if run is None:
        if facts.undecided or facts.unfolded:
            return f"There is no run {run_id} yet: its command or its events may be among those not taken yet."
        return f"There is no run {run_id}: it never was, was deleted, or was rolled back."
    if facts.waits and facts.open_interrupts:
        return f"It waits for a human: {len(facts.open_interrupts)} open interrupt{'s' if len(facts.open_interrupts) > 1 else ''} on thread {run.thread_id}."
    if facts.waits and run.status == "success":
        return (
            f"It stopped at a breakpoint of thread {run.thread_id} at {_when(run.ended_at)}, and waits to be continued."
        )
    if run.status not in ("pending", "running"):
        error = f" with {run.error}" if run.error else ""
        return f"The run is over: {run.status}{error} at {_when(run.ended_at)} (attempt {run.attempt})."
    return _undispatched(run) if run.attempt == 0 else _dispatched(run, facts.queue, settings)


def _undispatched(run: RunFacts) -> str:
    if run.not_before is not None and run.not_before > run.now:
        return f"It is delayed until {_when(run.not_before)} ({_span(run.now, run.not_before)} from now)."
    if run.ahead is not None:
        return f"It waits for run {run.ahead} of the same thread."
    if run.not_before is not None:
        return f"Its delay ended at {_when(run.not_before)}, but no scheduler has started it: is one running?"
    return "Nothing is queued before it, but no decider has dispatched it: is one running?"


def _dispatched(run: RunFacts, queue: QueueFacts | None, settings: Settings) -> str:
    since = f"since {_when(run.started_at or run.dispatched_at)}"
    if queue is None:
        return "It is dispatched, but Redis cannot be reached: no worker can take it or report its state."
    if queue.worker is not None and queue.lease_s is not None and queue.lease_s > 0:
        doing = "runs" if run.status == "running" else "has taken"
        return (
            f"Worker {queue.worker} {doing} attempt {run.attempt} {since}; its lease is good for {queue.lease_s:.0f} s."
        )
    if queue.worker is not None:
        silent = "is gone" if queue.lease_s is None else f"has been silent for {-queue.lease_s:.0f} s beyond its lease"
        return f"Worker {queue.worker}, which held it, {silent}: a scheduler dispatches it again within {settings.sweep_s:g} s."
    if queue.ahead is not None:
        if queue.workers == 0:
            return f"It is dispatched ({since}), but no worker is alive: start an executor."
        return (
            f"It is dispatched ({since}) and waits for a free worker: {queue.ahead} of {queue.queued} tasks are in front of it, "
            f"{queue.workers} workers are alive with {settings.jobs_per_worker} places each."
        )
    return (
        f"Attempt {run.attempt} is dispatched ({since}), but neither queued nor held by anybody: Redis lost it, or it has just "
        f"ended. A scheduler dispatches it again within {settings.sweep_s:g} s."
    )


def _open(run: RunFacts, interrupts: tuple[Interrupt, ...]) -> list[str]:
    """Return lines with the open interrupts, and how to answer them."""
    lines = [
        f"  {id}: {value if len(value) <= VALUE_WIDTH else value[: VALUE_WIDTH - 1] + '…'}" for id, value in interrupts
    ]
    if len(lines) > INTERRUPTS_SHOWN:
        lines[INTERRUPTS_SHOWN:] = [f"  and {len(lines) - INTERRUPTS_SHOWN} more"]
    wanted = '"command": {"resume": …}' if interrupts else '"input": null'
    what = "Answer" if interrupts else "Continue"
    body = f'{{"assistant_id": "{run.assistant_id}", {wanted}}}'
    return [*lines, f"{what} by a new run: POST /threads/{run.thread_id}/runs {body}"]


def _undelivered(webhook: Undelivered) -> str:
    to = f"Its webhook to {shown_in_line(webhook.url, VALUE_WIDTH)}"
    reason = "" if webhook.error is None else f": {shown_in_line(webhook.error, VALUE_WIDTH)}"
    tries = f"{webhook.attempts} attempt{'s' if webhook.attempts > 1 else ''}"
    if webhook.status == "given up":
        again = f" langlog webhooks retry {webhook.run_id} sends it again." if webhook.kept else ""
        return f"{to} was given up at {_when(webhook.given_up_at)} after {tries}{reason}.{again}"
    due = f"attempted from {_when(webhook.next_attempt_at)} on"
    return f"{to} has failed ({tries}{reason}) and is {due}." if webhook.attempts else f"{to} is {due}."


def _when(moment: datetime | None) -> str:
    return "an unknown time" if moment is None else moment.isoformat(timespec="seconds")


def _span(start: datetime, end: datetime) -> str:
    seconds = int((end - start).total_seconds())
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


async def run_of(pool: asyncpg.Pool, thread_id: str) -> str | None:
    """Return the newest run of a thread, or None for an id of another kind or a thread without runs."""
    run_id = await pool.fetchval(SQL["last_run"], thread_id)
    return None if run_id is None else str(run_id)


async def gather(settings: Settings, pool: asyncpg.Pool, log: Log, pipe: RedisPipe, run_id: str) -> Facts:
    """Collect the facts from Postgres, Redis and the log. Redis may be unavailable."""
    row = await pool.fetchrow(SQL["run"], run_id)
    run = None
    if row is not None:
        ahead = None
        delayed = row["not_before"] is not None and row["not_before"] > row["now"]
        if row["attempt"] == 0 and not delayed:
            ahead = await pool.fetchval(SQL["ahead"], row["thread_id"], run_id, row["ordinal"])
        run = RunFacts(**{k: v for k, v in row.items() if k != "ordinal"}, ahead=ahead)
    folded = {(r["topic"], r["part"]): r["offset"] for r in await pool.fetch(SQL["positions"])}
    unfolded = 0
    for topic in ev.FOLDED_TOPICS:
        for part, end in enumerate(await log.end_offsets(topic)):
            unfolded += max(0, end - folded.get((topic, part), 0))
    ends = {(cmd.TOPIC, part): end for part, end in enumerate(await log.end_offsets(cmd.TOPIC))}
    taken = await log.committed(DECIDERS, list(ends))
    undecided = sum(max(0, end - taken.get(partition, 0)) for partition, end in ends.items())
    queue = None if run is None else await _queue(pipe, f"{run_id}:{run.attempt}", settings)
    parked = None if run is None else await pool.fetchval(SQL["parked"], run.thread_id)
    keys = await pool.fetchval(SQL["parked_keys"])
    waits = False
    open_interrupts: tuple[Interrupt, ...] = ()
    if row is not None and row["ended_at"] is not None:
        thread = await pool.fetchrow(SQL["waits"], row["thread_id"], row["ordinal"])
        waits = thread is not None and thread["status"] == "interrupted"
        open_interrupts = _interrupts(thread["interrupts"]) if waits else ()
    hook = await pool.fetchrow(SQL["webhook"], run_id)
    webhook = None if hook is None else delivery(hook)
    return Facts(run, queue, undecided, unfolded, parked, keys, waits, open_interrupts, webhook)


def _interrupts(text: str | None) -> tuple[Interrupt, ...]:
    """Return the interrupts in the column of a thread's row: JSON, task id -> list of interrupts."""
    tasks: dict[str, list[dict[str, Any]]] = msgspec.json.decode(text or "{}")
    return tuple(
        Interrupt(str(one.get("id")), msgspec.json.encode(one.get("value")).decode())
        for of_task in tasks.values()
        for one in of_task
    )


async def _queue(pipe: RedisPipe, task_id: str, settings: Settings) -> QueueFacts | None:
    try:
        ids = await pipe.call("LRANGE", pipe.key("queue"), 0, -1)
        leases: Any = await pipe.call("ZRANGE", pipe.key("leases"), 0, -1, "WITHSCORES")
        seconds, micros = await pipe.call("TIME")
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        until = scores(leases)
        ahead = len(ids) - 1 - ids.index(task_id.encode()) if task_id.encode() in ids else None
        holder = None
        for worker in until:
            if task_id.encode() in await pipe.call("LRANGE", pipe.key("held", worker), 0, -1):
                holder = worker
        alive = sum(moment > now_ms for moment in until.values())
        lease_s = None if holder is None else (until[holder] - now_ms) / 1000
    except RedisUnavailable:
        return None
    return QueueFacts(ahead, len(ids), holder, lease_s, alive)
