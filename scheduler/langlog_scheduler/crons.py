"""Fires due crons (wire contract §10): their runs are requested, then they are advanced to their next date.

One loop sleeps until the next cron is due; a cron that is created, changed or advanced wakes it. Ids of command, run and thread are
derived from cron and due time, and the command is marked as a retry: of the same due time only the first command is carried
out, whichever scheduler sends it and however often. Runs are durably appended before the cron is advanced. So each due time fires exactly
once, however many schedulers there are and whenever they die. Fired crons are remembered until the read model shows that the
cron has advanced (`firings`), and nothing is fired while the server does not keep up (`backlog`): otherwise a server that
is behind would get more work because it is behind.

After a downtime (docs/how-to/crons.md): times up to `CATCH_UP_S` old fire each, of older ones only the last, and only when it is not
older than ``cron_grace_s``. Of times that came while firing paused, only the last one fires.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog
from langlog_backbone.context import Backbone
from langlog_backbone.log import RecordTooLarge
from langlog_backbone.metrics.table import CRON_LATENESS, CRONS_FIRED
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.process.retry import Availability
from langlog_backbone.project.config import read_configuration
from langlog_backbone.project.json_handlers import CONTEXT_KEY
from langlog_backbone.project.ttl import thread_ttl
from langlog_backbone.redis import channels
from langlog_backbone.time.clock import iso
from langlog_backbone.time.schedule import Schedule, ScheduleError
from langlog_backbone.time.sources import monotonic
from langlog_schemas import commands as cmd
from langlog_schemas.ids import cron_id_at
from langlog_schemas.json_types import Object
from langlog_schemas.rules.cron_authority import CronAuthority, apply_changes
from langlog_schemas.rules.filters import FilterError, admits
from langlog_schemas.runs.request import Assistant, RunCreate, Server, layer

from .backlog import Backlog
from .commands import append
from .firings import Firings
from .polling import POLL_LIMIT_S, outages_logged

logger = structlog.get_logger(__name__)

SQL = load_sql("langlog_scheduler", "crons.sql")

CATCH_UP_S = 10.0
"""Seconds of delay up to which a time always fires: a busy machine or a change of schedulers may take this long."""
BATCH = 500
LONGEST_SLEEP_S = 3600.0
RETRY_S = 1.0
"""Seconds between two polls while crons are being advanced, firing pauses, or Postgres or the log is unavailable."""
SHARE_OF_LOOP = 20
"""Number of crons that are planned before other tasks of the loop get their turn."""

_payload = msgspec.json.Decoder(RunCreate)
_authority = msgspec.json.Decoder(CronAuthority)
_decode = msgspec.json.decode


class Crons:
    """``clock``: monotonic seconds."""

    def __init__(self, backbone: Backbone, clock: Callable[[], float] = monotonic) -> None:
        self._backbone = backbone
        configuration = read_configuration(backbone.settings.project)
        self._thread_ttl = thread_ttl(configuration).default
        self._webhooks = not configuration.section("http").get("disable_webhooks")
        self._wake = asyncio.Event()
        self.availability = Availability("scheduler.crons")
        self._firings = Firings(clock)
        self._backlog = Backlog(backbone, clock)
        self._clock = clock
        self._paused: str | None = None
        """Reason why firing pauses, or None."""
        self._paused_at: float | None = None
        """Time of the last pause."""

    async def follow(self) -> None:
        """Fire due crons until cancelled."""
        bus = self._backbone.bus
        await bus.subscribe(channels.TIMERS, self._on_timer, remote=False)
        bus.on_missed.append(self._wake.set)
        try:
            while True:
                self._wake.clear()
                wait = RETRY_S
                with outages_logged(), self.availability.attempt():
                    async with asyncio.timeout(POLL_LIMIT_S):
                        fired = await self.fire()
                        if fired == BATCH:
                            wait = 0.0
                        elif self._paused is None:
                            wait = await self._next_due_s()
                try:
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            await bus.unsubscribe(channels.TIMERS, self._on_timer)

    async def fire(self) -> int:
        """Poll once; return the number of fired crons. Raises LogUnavailable and asyncpg's errors."""
        pool = self._backbone.pool
        if self._firings:
            rows = await pool.fetch(SQL["shown"], self._firings.crons)
            self._firings.see({row["cron_id"]: row["next_run_date"] for row in rows})
        if self._paused is not None and not await self._may_fire():
            return 0
        limit = min(BATCH, self._firings.room)
        rows = await pool.fetch(SQL["due"], limit, *self._firings.passed_over()) if limit else []
        if not rows or not await self._may_fire():
            return 0
        catch_up_s = self._catch_up_s()
        runs: list[tuple[str, cmd.Body]] = []
        moves: list[tuple[str, cmd.Body]] = []
        planned: list[list[datetime]] = []
        for number, row in enumerate(rows, 1):
            times, following = self._plan(row, catch_up_s)
            planned.append(times)
            runs += self._runs(row, times)
            move = cmd.AdvanceCron(cron_id=row["cron_id"], due=iso(row["next_run_date"]), next_run_date=iso(following))
            moves.append((cron_id_at(row["cron_id"], move.due, "advance"), move))
            if number % SHARE_OF_LOOP == 0:
                await asyncio.sleep(0)
        fired = [(row["cron_id"], row["next_run_date"]) for row in rows]
        try:
            await self._append_runs(runs)
            await append(self._backbone.log, moves)
        except BaseException:
            self._firings.failed(fired)
            raise
        self._firings.appended(fired)
        self._count(rows, planned)
        await self._backlog.mark()
        return len(rows)

    def _count(self, rows: list[Any], planned: list[list[datetime]]) -> None:
        for row, times in zip(rows, planned, strict=True):
            if row["next_run_date"] not in times:
                CRONS_FIRED.labels("missed").inc()
            CRONS_FIRED.labels("fired").inc(len(times))
            for due in times:
                CRON_LATENESS.observe(max(0.0, (row["now"] - due).total_seconds()))

    async def _may_fire(self) -> bool:
        """Return whether the server keeps up; logs changes."""
        reason = await self._backlog.reason()
        if reason is not None:
            self._paused_at = self._clock()
        if reason != self._paused:
            if reason is None:
                logger.info("scheduler.crons_resumed")
            else:
                logger.warning("scheduler.crons_paused", reason=reason)
            self._paused = reason
        return reason is None

    def _catch_up_s(self) -> float:
        """Return the delay up to which a time always fires. Times from the last pause do not: together they would cause the next one."""
        if self._paused_at is None:
            return CATCH_UP_S
        return min(CATCH_UP_S, self._clock() - self._paused_at)

    async def _append_runs(self, runs: list[tuple[str, cmd.Body]]) -> None:
        try:
            await append(self._backbone.log, runs, retry=True)
        except RecordTooLarge as error:
            if len(runs) > 1:
                for run in runs:
                    await self._append_runs([run])
                return
            logger.error("scheduler.cron_too_large", command_id=runs[0][0], error=str(error))

    def _plan(self, row: Any, catch_up_s: float) -> tuple[list[datetime], datetime]:
        """Return the due times that fire now, and the next one."""
        now, due, end = row["now"], row["next_run_date"], row["ends_at"]
        try:
            schedule = Schedule(row["schedule"], row["timezone"])
        except ScheduleError as error:  # the machine's time zone database has lost the zone
            logger.error("scheduler.cron_unreadable", cron_id=row["cron_id"], error=str(error))
            return [], now + timedelta(seconds=LONGEST_SLEEP_S)
        until = now if end is None else min(now, end)
        times = times_to_fire(schedule, due, now, until, self._backbone.settings.cron_grace_s, catch_up_s)
        if due not in times:
            logger.warning("scheduler.cron_times_missed", cron_id=row["cron_id"], due=iso(due), fired=len(times))
        return times, schedule.after(now)

    def _runs(self, row: Any, times: list[datetime]) -> list[tuple[str, cmd.Body]]:
        if row["graph_id"] is None:
            logger.warning("scheduler.cron_without_assistant", cron_id=row["cron_id"], assistant_id=row["assistant_id"])
            return []
        try:
            if not may_run(row):
                logger.warning(
                    "scheduler.cron_assistant_refused", cron_id=row["cron_id"], assistant_id=row["assistant_id"]
                )
                return []
            return [
                (
                    cron_id_at(row["cron_id"], iso(due), "command"),
                    run_of(row, due, self._thread_ttl, webhooks=self._webhooks),
                )
                for due in times
            ]
        except (msgspec.MsgspecError, FilterError) as error:  # checked when it was made, perhaps by an older version
            logger.error("scheduler.cron_unreadable", cron_id=row["cron_id"], error=str(error))
            return []

    async def _next_due_s(self) -> float:
        """Return the seconds until the next due time, or the next check of crons that are being advanced."""
        seconds: float | None = await self._backbone.pool.fetchval(SQL["next_due"], *self._firings.passed_over())
        longest = RETRY_S if self._firings else LONGEST_SLEEP_S
        return longest if seconds is None else min(max(seconds, 0.0), longest)

    def _on_timer(self, _: bytes) -> None:
        self._wake.set()


def times_to_fire(
    schedule: Schedule, due: datetime, now: datetime, until: datetime, grace_s: float, catch_up_s: float = CATCH_UP_S
) -> list[datetime]:
    """Return those of the times due from ``due`` to ``until`` that fire at ``now``."""
    times = schedule.between(max(due, now - timedelta(seconds=catch_up_s)), until)
    if times:
        return times
    last = schedule.latest(max(due, now - timedelta(seconds=grace_s)), until)
    return [] if last is None else [last]


def may_run(row: Any) -> bool:
    """Return whether the cron's owner may read the assistant in its current version. Raises FilterError.

    The decider checks the thread: between this check and the decision it may become another user's.
    """
    authority = authority_of(row)
    return authority is None or admits(authority.assistant, _decode(row["assistant_metadata"]))


def authority_of(row: Any) -> CronAuthority | None:
    """Return the permissions that the project's handlers granted the cron's runs; None: no authorization, or a cron of an older
    version."""
    return None if row["authority"] is None else _authority.decode(row["authority"])


def run_of(row: Any, due: datetime, thread_ttl: cmd.Ttl | None, *, webhooks: bool = True) -> cmd.CreateRun:
    """Return the run of a cron's due time, with the kwargs that a gateway would create. ``webhooks``: whether any are sent."""
    cron_id, moment = row["cron_id"], iso(due)
    body = _payload.decode(row["payload"])
    if not webhooks:
        body.webhook = None
    assistant = Assistant(
        row["assistant_id"],
        row["graph_id"],
        _decode(row["assistant_config"]),
        _decode(row["assistant_context"]),
        _decode(row["assistant_metadata"]),
    )
    stateless = row["thread_id"] is None
    run_id = cron_id_at(cron_id, moment, "run")
    thread_id = cron_id_at(cron_id, moment, "thread") if stateless else row["thread_id"]
    temporary = stateless and row["on_run_completed"] != "keep"
    given: Object = {**(body.config.get("configurable") or {}), **body.context, "cron_id": cron_id}
    user_id: str = row["user_id"]
    layered = layer(
        body,
        {**body.config, "configurable": given},
        given,
        assistant,
        Server(
            run_id=run_id,
            thread_id=thread_id,
            request_id=None,
            started_ms=int(due.timestamp() * 1000),
            user={"identity": user_id, "display_name": user_id} if user_id else None,
            user_id=user_id,
            headers=_encryption_context(row["payload"]),
        ),
        temporary=temporary,
    )
    run: Object = {
        "metadata": {**(body.config.get("metadata") or {}), **_decode(row["metadata"])},
        "kwargs": layered.kwargs,
    }
    authority = authority_of(row)
    if authority is not None and authority.changes:
        run["kwargs"] = _decode(layered.kwargs)
        apply_changes(run, authority.changes)
        run["kwargs"] = msgspec.Raw(msgspec.json.encode(run["kwargs"]))
    return cmd.CreateRun(
        thread_id=thread_id,
        run_id=run_id,
        assistant_id=assistant.assistant_id,
        graph_id=assistant.graph_id,
        kwargs=run["kwargs"],
        user_id=user_id,
        assistant_metadata=assistant.metadata,
        metadata={**run["metadata"], "cron_id": cron_id},  # by which the runs of a cron are found
        thread_config=layered.thread_config,
        multitask_strategy=body.multitask_strategy,
        if_not_exists="create" if stateless else "reject",
        temporary=temporary,
        thread_ttl=thread_ttl,
        visible=None if authority is None else authority.thread,
    )


def _encryption_context(payload: str) -> Object:
    """Return the encryption context for the runs' workers: that of the request that created the cron."""
    if CONTEXT_KEY not in payload:
        return {}
    context = _decode(payload).get(CONTEXT_KEY)
    return {CONTEXT_KEY: context} if isinstance(context, str) else {}
