"""``langlog why RUN_ID``: one answer to why a run is not moving. Reads Postgres, Redis and the log's ends; changes nothing.

The id of a thread leads to its run that is in flight, or else to its newest.

What was found out (`Facts`) and what it means (`explain`, pure) are kept apart.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from .. import options
from ..ids import as_uuid, other_kind

if TYPE_CHECKING:
    import asyncpg
    from langlog_backbone.log import Log
    from langlog_backbone.process.settings import Settings
    from langlog_backbone.redis.client import RedisPipe

CHAIN = 5
"""How many runs that wait for one another are followed."""
ASKED_SHOWN = 5
"""Open interrupts that are shown."""
VALUE_WIDTH = 120
"""Characters of an interrupt's value that are shown."""


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
    """The run of the same thread that it waits for."""
    assistant_id: str = ""


class QueueFacts(NamedTuple):
    """What Redis says. ``place``: tasks in front of the run's own, None when it is not queued."""

    place: int | None = None
    queued: int = 0
    worker: str | None = None
    lease_s: float | None = None
    """Seconds for which the holder's lease is still good; negative: it has been silent too long."""
    workers: int = 0


class Interrupt(NamedTuple):
    """What a node asked a human. ``value``: JSON."""

    id: str
    value: str


class Facts(NamedTuple):
    run: RunFacts | None
    queue: QueueFacts | None
    """None: Redis cannot be reached."""
    undecided: int = 0
    """Commands that no decider has taken yet."""
    unfolded: int = 0
    """Events that the read model does not have yet."""
    parked: str | None = None
    """What is wrong with the record that the run's thread is parked behind."""
    parked_keys: int = 0
    """How many keys are parked in all."""
    waits: bool = False
    """The run is the last one of its thread and left it interrupted."""
    asked: tuple[Interrupt, ...] = ()
    """What it asks; empty: it stopped at a breakpoint, or was cancelled."""


@click.command(short_help="Say why a run is not moving.")
@click.argument("run_id")
@options.data_dir
def why(run_id: str, data_dir: Path | None) -> None:
    """Say why a run is not moving: what it waits for, who holds it, what is away.

    The id of a thread leads to its run in flight, or else to its newest. Exit code 1: there is no such run.

    Asks LOG_URI, DATABASE_URI and REDIS_URI, or the embedded servers of a data folder while langlog dev runs on it.
    """
    from langlog_backbone.process.logging import configure_logging
    from langlog_backbone.process.settings import read_settings

    from ..services.running import run

    run_id = as_uuid(run_id, "RUN_ID")
    settings = read_settings(data_dir=data_dir)
    configure_logging(settings)
    run(_why(settings, run_id))


def explain(run_id: str, facts: Facts, settings: Settings) -> list[str]:
    """What the facts mean, the most important sentence first."""
    lines = [_first(run_id, facts, settings)]
    run = facts.run
    if facts.parked is not None and run is not None:
        lines.insert(0, f"Its thread {run.thread_id} is parked: {facts.parked}. See langlog dead show {run.thread_id}.")
    elif run is None and facts.parked_keys:
        lines.append(
            f"{facts.parked_keys} keys are parked behind records that cannot be handled: see langlog dead list."
        )
    if run is not None and facts.waits:
        lines += _open(run, facts.asked)
    if run is not None and run.ended_at is None:
        if run.cancel is not None:
            by = f" by run {run.superseded_by}" if run.superseded_by else ""
            lines.append(f"It has been asked to stop ({run.cancel}){by}.")
        if run.crashes:
            lines.append(f"It has lost its worker {run.crashes} times; after {settings.max_attempts} it is given up.")
    if facts.undecided:
        lines.append(f"Deciders have up to {facts.undecided} commands in front of them.")
    if facts.unfolded:
        lines.append(f"The read model is {facts.unfolded} events behind the log: some of this may be out of date.")
    return lines


def _first(run_id: str, facts: Facts, settings: Settings) -> str:
    run, queue = facts.run, facts.queue
    if run is None:
        if facts.undecided or facts.unfolded:
            return f"There is no run {run_id} yet: its command or its events may be among those not taken yet."
        return f"There is no run {run_id}: it never was, was deleted, or was rolled back."
    if facts.waits and facts.asked:
        return f"It waits for a human: {len(facts.asked)} open interrupt{'s' if len(facts.asked) > 1 else ''} on thread {run.thread_id}."
    if facts.waits and run.status == "success":
        return (
            f"It stopped at a breakpoint of thread {run.thread_id} at {_when(run.ended_at)}, and waits to be continued."
        )
    if run.status not in ("pending", "running"):
        error = f" with {run.error}" if run.error else ""
        return f"The run is over: {run.status}{error} at {_when(run.ended_at)} (attempt {run.attempt})."
    if run.attempt == 0:
        if run.not_before is not None and run.not_before > run.now:
            return f"It is delayed until {_when(run.not_before)} ({_span(run.now, run.not_before)} from now)."
        if run.ahead is not None:
            return f"It waits for run {run.ahead} of the same thread."
        if run.not_before is not None:
            return f"Its delay ended at {_when(run.not_before)}, but no scheduler has started it: is one running?"
        return "Nothing stands before it, but no decider has dispatched it: is one running?"
    since = f"since {_when(run.started_at or run.dispatched_at)}"
    if queue is None:
        return "It is dispatched, but Redis cannot be reached: no worker can take it or say how it is."
    if queue.worker is not None and queue.lease_s is not None and queue.lease_s > 0:
        doing = "runs" if run.status == "running" else "has taken"
        return (
            f"Worker {queue.worker} {doing} attempt {run.attempt} {since}; its lease is good for {queue.lease_s:.0f} s."
        )
    if queue.worker is not None:
        silent = "is gone" if queue.lease_s is None else f"has been silent for {-queue.lease_s:.0f} s beyond its lease"
        return f"Worker {queue.worker}, which held it, {silent}: a scheduler dispatches it again within {settings.sweep_s:g} s."
    if queue.place is not None:
        if queue.workers == 0:
            return f"It is dispatched ({since}), but no worker is alive: start an executor."
        return (
            f"It is dispatched ({since}) and waits for a free worker: {queue.place} of {queue.queued} tasks are in front of it, "
            f"{queue.workers} workers are alive with {settings.jobs_per_worker} places each."
        )
    return (
        f"Attempt {run.attempt} is dispatched ({since}), but neither queued nor held by anybody: Redis lost it, or it has just "
        f"ended. A scheduler dispatches it again within {settings.sweep_s:g} s."
    )


def _open(run: RunFacts, asked: tuple[Interrupt, ...]) -> list[str]:
    """What is asked, and how it is answered."""
    lines = [f"  {id}: {value if len(value) <= VALUE_WIDTH else value[: VALUE_WIDTH - 1] + '…'}" for id, value in asked]
    if len(lines) > ASKED_SHOWN:
        lines[ASKED_SHOWN:] = [f"  and {len(lines) - ASKED_SHOWN} more"]
    wanted = '"command": {"resume": …}' if asked else '"input": null'
    what = "Answer" if asked else "Continue"
    body = f'{{"assistant_id": "{run.assistant_id}", {wanted}}}'
    return [*lines, f"{what} by a new run: POST /threads/{run.thread_id}/runs {body}"]


def _when(moment: datetime | None) -> str:
    return "an unknown time" if moment is None else moment.isoformat(timespec="seconds")


def _span(start: datetime, end: datetime) -> str:
    seconds = int((end - start).total_seconds())
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


async def _why(settings: Settings, run_id: str) -> int:
    from langlog_backbone.log import open_log
    from langlog_backbone.postgres.database import connect_pool
    from langlog_backbone.read_model.same_log import check_same_log
    from langlog_backbone.redis.client import RedisPipe

    settings = existing(settings)
    pool = await connect_pool(settings, size=1)
    log = open_log(settings)
    pipe = RedisPipe(settings)
    try:
        await log.start()
        await check_same_log(pool.fetch, log, settings.projection)
        seen: list[str] = []
        missing = False
        wanted: str | None = await _run_of(pool, run_id) or run_id
        if wanted != run_id:
            click.echo(f"{run_id} is a thread; this is about its run {wanted}.")
        while wanted is not None and wanted not in seen and len(seen) < CHAIN:
            facts = await gather(settings, pool, log, pipe, wanted)
            for n, line in enumerate(explain(wanted, facts, settings)):
                click.echo(f"{'  ' * len(seen)}{'' if n or not seen else f'{wanted}: '}{line}")
            if facts.run is None and not seen:
                missing = True
                for line in await other_kind(pool, wanted, "run"):
                    click.echo(line)
            seen.append(wanted)
            wanted = None if facts.run is None or facts.run.attempt else facts.run.ahead
    finally:
        await pipe.stop()
        await log.stop()
        await pool.close()
    return 1 if missing else 0


async def _run_of(pool: asyncpg.Pool, thread_id: str) -> str | None:
    """The newest run of a thread, given its id; None for any other id, or a thread without runs."""
    from langlog_backbone.postgres.database import load_sql

    found = await pool.fetchval(load_sql("langlog", "why.sql")["last_run"], thread_id)
    return None if found is None else str(found)


async def gather(settings: Settings, pool: asyncpg.Pool, log: Log, pipe: RedisPipe, run_id: str) -> Facts:
    """Ask everybody who may know. Redis may be away."""
    from langlog_backbone.postgres.database import load_sql
    from langlog_schemas import commands as cmd
    from langlog_schemas import events as ev

    sql = load_sql("langlog", "why.sql")
    row = await pool.fetchrow(sql["run"], run_id)
    run = None
    if row is not None:
        ahead = None
        delayed = row["not_before"] is not None and row["not_before"] > row["now"]
        if row["attempt"] == 0 and not delayed:
            ahead = await pool.fetchval(sql["ahead"], row["thread_id"], run_id, row["ordinal"])
        run = RunFacts(**{k: v for k, v in row.items() if k != "ordinal"}, ahead=ahead)
    folded = {(r["topic"], r["part"]): r["offset"] for r in await pool.fetch(sql["positions"])}
    unfolded = 0
    for topic in ev.FOLDED_TOPICS:
        for part, end in enumerate(await log.end_offsets(topic)):
            unfolded += max(0, end - folded.get((topic, part), 0))
    ends = {(cmd.TOPIC, part): end for part, end in enumerate(await log.end_offsets(cmd.TOPIC))}
    taken = await log.committed(DECIDERS, list(ends))
    undecided = sum(max(0, end - taken.get(place, 0)) for place, end in ends.items())
    queue = None if run is None else await _queue(pipe, f"{run_id}:{run.attempt}", settings)
    parked = None if run is None else await pool.fetchval(sql["parked"], run.thread_id)
    keys = await pool.fetchval(sql["parked_keys"])
    waits = False
    asked: tuple[Interrupt, ...] = ()
    if row is not None and row["ended_at"] is not None:
        thread = await pool.fetchrow(sql["waits"], row["thread_id"], row["ordinal"])
        waits = thread is not None and thread["status"] == "interrupted"
        asked = _interrupts(thread["interrupts"]) if waits else ()
    return Facts(run, queue, undecided, unfolded, parked, keys, waits, asked)


def _interrupts(text: str | None) -> tuple[Interrupt, ...]:
    """What a thread's row has: task id -> what it asks."""
    import msgspec

    tasks: dict[str, list[dict[str, Any]]] = msgspec.json.decode(text or "{}")
    return tuple(
        Interrupt(str(one.get("id")), msgspec.json.encode(one.get("value")).decode())
        for asked in tasks.values()
        for one in asked
    )


DECIDERS = "deciders"
"""The deciders' group on the log."""


async def _queue(pipe: RedisPipe, task_id: str, settings: Settings) -> QueueFacts | None:
    from langlog_backbone.process.server_errors import RedisUnavailable

    try:
        ids = await pipe.call("LRANGE", pipe.key("queue"), 0, -1)
        leases: Any = await pipe.call("ZRANGE", pipe.key("leases"), 0, -1, "WITHSCORES")
        seconds, micros = await pipe.call("TIME")
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        until = _pairs(leases)
        place = len(ids) - 1 - ids.index(task_id.encode()) if task_id.encode() in ids else None
        holder = None
        for worker in until:
            if task_id.encode() in await pipe.call("LRANGE", pipe.key("held", worker), 0, -1):
                holder = worker
        alive = sum(moment > now_ms for moment in until.values())
        lease_s = None if holder is None else (until[holder] - now_ms) / 1000
    except RedisUnavailable:
        return None
    return QueueFacts(place, len(ids), holder, lease_s, alive)


def _pairs(found: Any) -> dict[str, float]:
    """What ZRANGE … WITHSCORES gives, flat or in pairs (RESP 2 and 3)."""
    if found and isinstance(found[0], list | tuple):
        return {member.decode(): float(score) for member, score in found}
    return {found[n].decode(): float(found[n + 1]) for n in range(0, len(found), 2)}


def existing(settings: Settings) -> Settings:
    """Where everything is: what is set, else the embedded servers of the data folder. Raises StartError without either."""
    import msgspec
    from langlog_backbone.embedded.servers import LOG_FILE, EmbeddedPostgres, EmbeddedRedis
    from langlog_backbone.process.service import StartError

    folder = settings.data_dir.absolute()
    found = {}
    if not (settings.log_uri and settings.database_uri and settings.redis_uri):
        if not (folder / LOG_FILE).is_file() and not settings.log_uri:
            raise StartError(
                f"there is no log in {settings.data_dir} (name the data folder of langlog dev with --data-dir, or set LOG_URI)"
            )
        found["log_uri"] = settings.log_uri or f"sqlite://{folder / LOG_FILE}"
        found["database_uri"] = settings.database_uri or EmbeddedPostgres(folder).uri
        found["redis_uri"] = settings.redis_uri or EmbeddedRedis(folder).uri
    return msgspec.structs.replace(settings, **found)
