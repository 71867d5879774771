"""The scheduler: appends commands because time has passed. It reads Postgres and Redis and appends commands, nothing else.

It does not read callers' credentials; it deletes them, which are neither log nor read model, once their runs have ended.
Separate loops: one sleeps until the next delayed run is due (a new one wakes it), one checks every ``sweep_s`` for lost leases and
lost dispatches, one gives up runs that will not be tried again, one ends those that are overdue, two find expired objects
every few minutes; crons and webhooks have their own. Several schedulers may run: their commands are idempotent by run and
attempt, so a duplicate has no effect. When it dies, due commands are late and none is missed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog
from langlog_backbone.context import Backbone
from langlog_backbone.credentials.run_credentials import RunCredentials
from langlog_backbone.history.last_states import LastStates
from langlog_backbone.process.retry import HANGING_S, READ_LIMIT_S, Availability, reason_of, until_available
from langlog_backbone.project.config import read_configuration
from langlog_backbone.read_model.watermark import RECHECK_S
from langlog_backbone.redis import channels
from langlog_backbone.time.sources import monotonic
from langlog_schemas import commands as cmd
from langlog_schemas.events import RUN_EVENTS

from .commands import append
from .crons import Crons
from .expiry import Expiry
from .leases import SQL, Leases
from .polling import POLL_LIMIT_S, outages_logged
from .redis_memory import RedisMemoryWatch
from .repeats import Repeats
from .timers import Timers
from .webhooks import Webhooks

logger = structlog.get_logger(__name__)

Poll = Callable[[], Awaitable[list[tuple[str, cmd.Body]]]]

LONGEST_SLEEP_S = 3600.0
FORGET_EVERY_S = 300.0
"""Seconds between two deletions of credentials of callers whose runs have ended."""
DUE_AGAIN_S = 1.0
"""Seconds after which a due run that has not started is checked again; `Repeats` determines whether its command is repeated."""
QUERY_SHARE = 0.5
"""Share of a lease's time for queries of threads' states: until then other schedulers do not treat their runs as lost."""


class SchedulerService:
    name = "scheduler"

    def __init__(self, backbone: Backbone, queue_made_at: float | None = None) -> None:
        """``queue_made_at``: monotonic time at which this process began to start an empty Redis of its own; None: Redis is not
        its own."""
        self._backbone = backbone
        self._queue_made_at = queue_made_at
        self._states = LastStates(backbone, backbone.settings.lease_s * QUERY_SHARE)
        self._leases = Leases(backbone.pool, backbone.queue, backbone.settings, self._states)
        self._timers = Timers(backbone.pool, backbone.settings, self._states)
        self._crons = Crons(backbone)
        self._expiry = Expiry(backbone.pool, read_configuration(backbone.settings.project))
        self._webhooks = Webhooks(backbone)
        self._redis_memory = RedisMemoryWatch(backbone)
        self._credentials = RunCredentials(backbone.pool, backbone.settings)
        self._wake = asyncio.Event()
        self._repeats = Repeats()
        self._delays = Availability("scheduler.delays")
        self._sweeps = Availability("scheduler.leases")
        self._dispatches = Availability("scheduler.dispatches")
        patience = HANGING_S + backbone.settings.lease_s * QUERY_SHARE
        self._ends = Availability("scheduler.ends", hanging_s=patience)
        """Availability for polls that also wait for workers."""
        self._ttl = Availability("scheduler.expiry")
        self._availabilities = [
            self._delays,
            self._sweeps,
            self._dispatches,
            self._ends,
            self._ttl,
            self._crons.availability,
            self._webhooks.availability,
        ]

    async def start(self) -> None:
        if not self._backbone.settings.project.is_file():
            logger.warning(
                "scheduler.no_project",
                file=str(self._backbone.settings.project),
                effect="none of the project's rules for webhooks, TTLs and sweeps, but those in LANGGRAPH_* variables",
            )
        await self._backbone.bus.subscribe(channels.TIMERS, self._on_timer, remote=False)
        self._backbone.bus.on_missed.append(self._wake.set)
        await self._states.start()

    async def serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_delays())
            if self._backbone.settings.crons_enabled:
                group.create_task(self._crons.follow())
            group.create_task(self._webhooks.follow())
            group.create_task(self._every(self._expiry.threads_every_s, self._expiry.threads, self._ttl))
            group.create_task(self._every(self._expiry.items_every_s, self._expiry.items, self._ttl))
            group.create_task(self._every(FORGET_EVERY_S, self._forget_credentials, self._ttl))
            group.create_task(self._sweep())
            if self._queue_made_at is not None:
                group.create_task(self._find_lost_with_queue(self._queue_made_at))
            group.create_task(self._give_up())
            group.create_task(self._every(self._backbone.settings.sweep_s, self._timers.overdue, self._ends))
            group.create_task(self._redis_memory.follow())

    async def drain(self) -> None:
        """Send webhooks under way; nothing else is under way that another scheduler would not do."""
        await self._webhooks.drain()

    async def stop(self) -> None:
        await self._states.stop()
        await self._backbone.bus.unsubscribe(channels.TIMERS, self._on_timer)

    async def not_ready(self) -> str | None:
        return reason_of(self._availabilities)

    async def _forget_credentials(self) -> list[tuple[str, cmd.Body]]:
        await self._credentials.forget()
        return []

    def _on_timer(self, _: bytes) -> None:
        self._wake.set()

    async def _follow_delays(self) -> None:
        while True:
            self._wake.clear()
            wait = self._backbone.settings.sweep_s
            appended = await self._poll(self._timers.due, self._delays)
            if appended is not None:
                with outages_logged(), self._delays.attempt():
                    async with asyncio.timeout(POLL_LIMIT_S):
                        seconds = await self._timers.next_due_s()
                    longest = DUE_AGAIN_S if appended else LONGEST_SLEEP_S
                    wait = longest if seconds is None else min(max(seconds, 0.0), longest)
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._backbone.settings.sweep_s)
            await self._poll(self._leases.lost, self._sweeps, repeats_until_folded=False)
            await self._poll(self._leases.missing, self._dispatches)

    async def _find_lost_with_queue(self, made_at: float) -> None:
        """Once the read model holds the log as of the start: dispatch again what an earlier queue held."""
        moved = asyncio.Event()

        def folded(_: bytes) -> None:
            moved.set()

        bus, pool = self._backbone.bus, self._backbone.pool
        ends = await until_available(lambda: self._backbone.log.end_offsets(RUN_EVENTS), on=self._sweeps)
        await bus.subscribe(channels.WATERMARK, folded, remote=False)
        try:
            while True:
                moved.clear()
                rows = await until_available(
                    lambda: pool.fetch(SQL["run_positions"]), on=self._sweeps, limit_s=READ_LIMIT_S
                )
                positions = {row["part"]: row["offset"] for row in rows}
                if all(positions.get(part, 0) >= end for part, end in enumerate(ends)):
                    break
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RECHECK_S):
                        await moved.wait()
        finally:
            await bus.unsubscribe(channels.WATERMARK, folded)

        def poll() -> Awaitable[list[tuple[str, cmd.Body]]]:
            return self._leases.missing(monotonic() - made_at)

        while True:
            if await self._poll(poll, self._dispatches) is not None:
                return
            await asyncio.sleep(self._backbone.settings.sweep_s)  # nothing signals that what was away is back

    async def _give_up(self) -> None:
        """Give up lost runs: beside the sweep, because it waits for workers; at once, because other schedulers find the same runs."""
        while True:
            await self._leases.giving_up.wait()
            if await self._poll(self._leases.given_up, self._ends, repeats_until_folded=False) is None:
                await asyncio.sleep(self._backbone.settings.sweep_s)  # nothing signals that what was away is back

    async def _every(self, seconds: float, poll: Poll, on: Availability) -> None:
        while True:
            await self._poll(poll, on)
            await asyncio.sleep(seconds)

    async def _poll(self, poll: Poll, on: Availability, *, repeats_until_folded: bool = True) -> int | None:
        """Append the commands of one poll and return their number. None: a server was unavailable; the next poll tries again.

        ``repeats_until_folded``: the next poll yields the same commands until the read model holds their effects.
        """
        with outages_logged(), on.attempt():
            async with asyncio.timeout(POLL_LIMIT_S):
                commands = await poll()
            due = self._repeats.due(commands) if repeats_until_folded else commands
            if repeats_until_folded:
                self._repeats.note(due)
            await append(self._backbone.log, due)
            return len(commands)
        return None
