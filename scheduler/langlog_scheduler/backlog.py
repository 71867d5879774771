"""Checks that the server keeps up with the runs of crons, by the log and the read model.

A mark is the end of the commands at some moment. It is passed when the decider has decided all of them and the projector has folded
the resulting events. While a mark is older than ``LANGLOG_CRON_MAX_LAG_SECS`` crons do not fire; nor do they while more than
`QUEUE_SHARE` of ``LANGLOG_MAX_QUEUED_RUNS`` runs are pending, which leaves the rest of the queue to clients; nor, after a
start, before the read model holds the crons of that time.

Concurrency: belongs to one loop. It holds one mark; when the process dies, the next one begins with a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from langlog_backbone.context import Backbone
from langlog_backbone.log import DECIDERS
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.time.sources import monotonic
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev

SQL = load_sql("langlog_scheduler", "crons.sql")

QUEUE_SHARE = 0.5
"""Share of the queue's limit that crons may fill."""
EVENTS = (ev.CRON_EVENTS, ev.RUN_EVENTS)
"""Topics of the events of crons' commands."""
COMMANDS_LAG = "commands are decided or folded too late"
QUEUE_FULL = "too many runs are pending"
CATCHING_UP = "the read model is catching up"
MEASURE_S = 0.5
"""Seconds for which a result is reused."""

Ends = Mapping[tuple[str, int], int]


class Backlog:
    """``clock``: monotonic seconds."""

    def __init__(self, backbone: Backbone, clock: Callable[[], float] = monotonic) -> None:
        self._backbone = backbone
        self._clock = clock
        self._known: Ends | None = None
        """Ends of the topics with crons, as of the start."""
        self._caught_up = False
        self._reason: str | None = None
        self._measured_at = float("-inf")
        self._marked_at = 0.0
        self._commands: Ends | None = None
        """Ends of the mark that the decider has not passed yet."""
        self._events: Ends | None = None
        """Ends of the mark that the projector has not passed yet."""

    async def reason(self) -> str | None:
        """Return why crons must not fire now; None: they may. Raises LogUnavailable and what asyncpg does."""
        if self._clock() >= self._measured_at + MEASURE_S:
            self._reason = await self._measure()
            self._measured_at = self._clock()
        return self._reason

    async def _measure(self) -> str | None:
        if not self._caught_up:
            if self._known is None:
                self._known = await self._ends(ev.CRON_EVENTS)
            if not await self._folded(self._known):
                return CATCHING_UP
            self._caught_up = True
        limit = int(self._backbone.settings.max_queued_runs * QUEUE_SHARE)
        if limit and await self._backbone.pool.fetchval(SQL["pending"], limit) >= limit:
            return QUEUE_FULL
        if await self._passed():
            return None
        late = self._clock() - self._marked_at > self._backbone.settings.cron_max_lag_s
        return COMMANDS_LAG if late else None

    async def mark(self) -> None:
        """Set a mark at the current ends, unless an earlier mark is not passed yet. Raises LogUnavailable."""
        if self._commands is None and self._events is None:
            self._marked_at = self._clock()
            self._commands = await self._ends(cmd.TOPIC)

    async def _passed(self) -> bool:
        """Return whether the last mark is passed. A passed one is replaced at the next call."""
        await self.mark()
        if self._commands is not None:
            decided = await self._backbone.log.committed(DECIDERS, list(self._commands))
            if any(decided.get(partition, 0) < end for partition, end in self._commands.items()):
                return False
            self._events = await self._ends(*EVENTS)
            self._commands = None
        if self._events is not None:
            if not await self._folded(self._events):
                return False
            self._events = None
        return True

    async def _ends(self, *topics: str) -> Ends:
        by_partition: dict[tuple[str, int], int] = {}
        for topic in topics:
            ends = await self._backbone.log.end_offsets(topic)
            by_partition.update({(topic, part): end for part, end in enumerate(ends) if end})
        return by_partition

    async def _folded(self, ends: Ends) -> bool:
        topics, parts = [topic for topic, _ in ends], [part for _, part in ends]
        behind: bool = await self._backbone.pool.fetchval(SQL["behind"], topics, parts, list(ends.values()))
        return not behind
