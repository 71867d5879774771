"""The aggregates a decider works on: loaded from Postgres on first use, kept in memory while Postgres lags behind.

An aggregate may be dropped once the projection has passed its last event: then Postgres holds the same. One that is not in
memory may be loaded from a read model that holds at least the events known here to have been folded. Postgres may hold less: a crash
or a failover can cost it its last commits, until the projector has folded them again. Every read here first compares the positions
on its own connection (`current`), so that no outdated row is used. Aggregates in memory stay valid: they come from the log.

Belongs to one decider; not safe for concurrent use.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Sequence
from itertools import islice
from typing import Any

import asyncpg
import msgspec
from langlog_backbone.log import TopicPartition
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.process.unavailable import is_internal
from langlog_backbone.read_model.thread_rows import run_in_flight, thread_state
from langlog_backbone.time.clock import iso
from langlog_backbone.time.sources import uniform
from langlog_schemas import events as ev
from langlog_schemas.aggregates.assistant import AssistantState
from langlog_schemas.aggregates.cron import CronState
from langlog_schemas.aggregates.thread import RunInFlight, ThreadState
from langlog_schemas.events import AssistantVersion, CronContent
from langlog_schemas.rules.cron_authority import CronAuthority

SQL = load_sql("langlog_executor", "aggregates.sql")
PARKED = load_sql("langlog_executor", "parked.sql")

DECIDED_TOPICS = (ev.RUN_EVENTS, ev.ASSISTANT_EVENTS, ev.STORE_EVENTS, ev.CRON_EVENTS)
"""Topics of the events of commands."""
TABLES = ("threads", "runs", "assistants", "assistant_versions", "crons", "outcomes")
"""Tables that commands are decided against."""
PAGES_TRIED = 16
"""Maximum number of pages of a table that are tried, at random, until one can be read."""
KEPT = 20_000
"""Maximum number of aggregates in memory; those that Postgres does not hold yet are kept beyond it."""

_json = msgspec.json.decode
_authority = msgspec.json.Decoder(CronAuthority)


class ReadModelBehind(Exception):
    """Postgres has lost commits that are known to have been folded. The projector folds them again: ask again then."""

    def __init__(self, partitions: int) -> None:
        super().__init__(f"the read model went back in {partitions} partitions")
        self.partitions = partitions


class CachedAggregate(msgspec.Struct):
    """An aggregate in memory. ``place``, ``last``: topic partition and offset of its last event (-1: as Postgres has it)."""

    state: Any
    partition: TopicPartition = ("", 0)
    last: int = -1
    checkpoints_stable_at: int = -1
    """For threads: offset in ``run-events`` of the last event that changed checkpoints outside of a run in flight."""


class Aggregates:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._cached: OrderedDict[tuple[str, str], CachedAggregate] = OrderedDict()
        self._watermark: dict[TopicPartition, int] = {}
        self._decided: dict[TopicPartition, int] = {}

    def decided(self, partition: TopicPartition) -> int:
        """Return the offset of the last command, as far as known, whose events may be in what was loaded; -1 without one.

        ``partition``: of an event topic. If it is not below the command that is next, another owner has decided that one.
        """
        return self._decided.get(partition, -1)

    def passed(self, part: int, offset: int) -> bool:
        """Return whether another owner has decided this command of a partition, or a later one, as far as it was noted."""
        return any(offset <= self.decided((topic, part)) for topic in DECIDED_TOPICS)

    def advance_watermark(self, partition: TopicPartition, offset: int) -> None:
        """Record that the projection holds everything below this offset."""
        if offset > self._watermark.get(partition, 0):
            self._watermark[partition] = offset

    def watermark(self, partition: TopicPartition) -> int:
        return self._watermark.get(partition, 0)

    @contextlib.asynccontextmanager
    async def current(self, parts: Collection[int]) -> AsyncIterator[asyncpg.Connection]:
        """Yield a connection to a read model that holds all that is known to be folded of these partitions.

        Raises ReadModelBehind, and what `UNAVAILABLE_ERRORS` lists.
        """
        known = [(topic, part, offset) for (topic, part), offset in self._watermark.items() if part in parts]
        async with self._pool.acquire() as connection:
            if known and (behind := await connection.fetchval(SQL["behind"], *map(list, zip(*known, strict=True)))):
                raise ReadModelBehind(behind)
            yield connection

    def thread(self, thread_id: str) -> CachedAggregate:
        """Return the thread; one that `load` did not find does not exist."""
        return self._get("thread", thread_id, lambda: ThreadState(thread_id=thread_id))

    def cached_thread(self, thread_id: str) -> CachedAggregate | None:
        """Return the thread if it is in memory."""
        return self._cached.get(("thread", thread_id))

    async def stored_thread(self, thread_id: str, part: int) -> CachedAggregate | None:
        """Return the thread as Postgres has it, also when events of it wait. It is not cached. Raises as `current`."""
        async with self.current([part]) as connection:
            rows = [row for row in await connection.fetch(SQL["load_threads"], [thread_id]) if not row["parked"]]
            return (await _threads(connection, rows)).get(thread_id)

    def is_gone(self, thread_id: str) -> bool:
        """Return whether the thread is known not to exist."""
        cached = self._cached.get(("thread", thread_id))
        return cached is not None and not cached.state.exists

    def assistant(self, assistant_id: str) -> CachedAggregate:
        return self._get("assistant", assistant_id, lambda: AssistantState(assistant_id=assistant_id))

    def cron(self, cron_id: str) -> CachedAggregate:
        return self._get("cron", cron_id, lambda: CronState(cron_id=cron_id))

    def _get(self, family: str, id: str, make: Any) -> CachedAggregate:
        cached = self._cached.get((family, id))
        if cached is None:
            cached = self._cached[family, id] = CachedAggregate(make())
        else:
            self._cached.move_to_end((family, id))
        return cached

    def clear(self, parts: Collection[int]) -> None:
        """Drop the aggregates of partitions with a new owner: they may be outdated.

        Of other partitions only that stays which Postgres does not hold yet: which partition the rest is of is not kept.
        """
        self._cached = OrderedDict(
            (key, cached)
            for key, cached in self._cached.items()
            if cached.partition[1] not in parts and cached.last >= self._watermark.get(cached.partition, 0)
        )

    def shrink(self) -> None:
        """Drop the least recently used aggregates that Postgres holds."""
        excess = len(self._cached) - KEPT
        if excess <= 0:
            return
        for key in list(islice(self._cached, excess)):  # not a copy of all: this runs after every batch
            cached = self._cached[key]
            if cached.last < self._watermark.get(cached.partition, 0):
                del self._cached[key]

    async def load(
        self,
        threads: Collection[str],
        assistants: Collection[str],
        crons: Collection[str] = (),
        parts: Collection[int] = (),
    ) -> set[str]:
        """Load the aggregates that are not in memory. ``parts``: their partitions.

        Gives those of them of which Postgres has events that are not folded: they are not brought in. Raises as `current`.
        """
        threads = [id for id in threads if ("thread", id) not in self._cached]
        assistants = [id for id in assistants if ("assistant", id) not in self._cached]
        crons = [id for id in crons if ("cron", id) not in self._cached]
        if not (threads or assistants or crons):
            return set()
        parked: set[str] = set()
        async with self.current(parts) as connection:
            if threads:
                parked = await self._load_threads(connection, threads)
            others = [*assistants, *crons]
            if others:
                parked |= {row["key"] for row in await connection.fetch(PARKED["parked_keys"], others)}
            assistants = [id for id in assistants if id not in parked]
            if assistants:
                await self._load_assistants(connection, assistants)
            crons = [id for id in crons if id not in parked]
            if crons:
                await self._load_crons(connection, crons)
            families = ((ev.RUN_EVENTS, threads), (ev.ASSISTANT_EVENTS, assistants), (ev.CRON_EVENTS, crons))
            await self.note_decided(connection, [topic for topic, ids in families if ids], parts)
        return parked

    async def note_decided(
        self, connection: asyncpg.Connection, topics: Collection[str], parts: Collection[int]
    ) -> None:
        """Read which commands have had the events that may be in the rows that were read before on this connection."""
        for row in await connection.fetch(SQL["last_causes"], list(topics), list(parts)):
            partition = row["topic"], row["part"]
            self._decided[partition] = max(row["cause_offset"], self.decided(partition))

    async def known(
        self, commands: Collection[str], runs: Collection[str], parts: Collection[int]
    ) -> tuple[set[str], set[str]]:
        """Return those of the retried commands with an outcome, and those of the runs that were created. Raises the errors
        of `current`."""
        async with self.current(parts) as connection:
            outcomes = await connection.fetch(SQL["known_commands"], list(commands))
            # after the outcomes: a run is there at least as long as its outcome
            created = await connection.fetch(SQL["known_runs"], list(runs)) if runs else []
            await self.note_decided(connection, DECIDED_TOPICS, parts)
        return {row["command_id"] for row in outcomes}, {row["run_id"] for row in created}

    async def check_tables(self) -> None:
        """Check that some page of each table with aggregates can be read: a look for ids that nothing has reads indexes alone. Raises the
        error of a page if none of a table's, of those tried, can be read."""
        for table, pages in await self._pool.fetch(SQL["pages"], list(TABLES)):
            failure: Exception | None = None
            for _ in range(min(pages, PAGES_TRIED)):
                try:
                    await self._pool.fetchval(
                        SQL["read_page"].format(table=table), min(int(uniform(0, pages)), pages - 1)
                    )
                except Exception as error:
                    if not is_internal(error):
                        raise
                    failure = error
                else:
                    failure = None
                    break
            if failure is not None:
                raise failure

    async def crons_of(self, threads: Collection[str]) -> list[str]:
        """Return the crons on these threads, as far as Postgres holds them."""
        return [row["cron_id"] for row in await self._pool.fetch(SQL["crons_of"], list(threads))]

    async def _load_threads(self, connection: asyncpg.Connection, ids: list[str]) -> set[str]:
        rows = await connection.fetch(SQL["load_threads"], ids)
        parked = {row["thread_id"] for row in rows if row["parked"]}
        loaded = await _threads(connection, [row for row in rows if row["thread_id"] not in parked])
        for id, cached in loaded.items():
            self._cached["thread", id] = cached
        return parked

    async def _load_assistants(self, connection: asyncpg.Connection, ids: list[str]) -> None:
        current = {row["assistant_id"]: row["version"] for row in await connection.fetch(SQL["load_assistants"], ids)}
        rows = await connection.fetch(SQL["load_versions"], list(current)) if current else []
        versions: dict[str, dict[int, AssistantVersion]] = {}
        for row in rows:
            versions.setdefault(row["assistant_id"], {})[row["version"]] = AssistantVersion(
                version=row["version"],
                graph_id=row["graph_id"],
                config=_json(row["config"]),
                context=_json(row["context"]),
                metadata=_json(row["metadata"]),
                name=row["name"],
                description=row["description"],
                created_at=iso(row["created_at"]),
            )
        for id, version in current.items():
            state = AssistantState(assistant_id=id, current=versions[id][version], versions=versions[id])
            self._cached["assistant", id] = CachedAggregate(state)

    async def _load_crons(self, connection: asyncpg.Connection, ids: list[str]) -> None:
        for row in await connection.fetch(SQL["load_crons"], ids):
            content = CronContent(
                assistant_id=row["assistant_id"],
                thread_id=row["thread_id"],
                user_id=row["user_id"],
                schedule=row["schedule"],
                timezone=row["timezone"],
                end_time=row["end_time"],
                payload=_json(row["payload"]),
                metadata=_json(row["metadata"]),
                on_run_completed=row["on_run_completed"],
                enabled=row["enabled"],
                next_run_date=iso(row["next_run_date"]),
                created_at=iso(row["created_at"]),
                updated_at=iso(row["updated_at"]),
                authority=None if row["authority"] is None else _authority.decode(row["authority"]),
            )
            self._cached["cron", row["cron_id"]] = CachedAggregate(CronState(cron_id=row["cron_id"], content=content))


async def _threads(connection: asyncpg.Connection, rows: Sequence[asyncpg.Record]) -> dict[str, CachedAggregate]:
    """Return threads from their rows, with their runs in flight."""
    runs = await connection.fetch(SQL["load_runs_in_flight"], [row["thread_id"] for row in rows]) if rows else []
    in_flight: dict[str, list[RunInFlight]] = {}
    for row in runs:
        in_flight.setdefault(row["thread_id"], []).append(run_in_flight(row))
    threads: dict[str, CachedAggregate] = {}
    for row in rows:
        state = thread_state(row, row["open_interrupts"], in_flight.get(row["thread_id"], ()))
        threads[row["thread_id"]] = CachedAggregate(state, checkpoints_stable_at=row["settled"])
    return threads
