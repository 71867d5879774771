"""Any prefix, any duplication, any crash point, any interleaving of partitions: the projection is the same, in every column.

The projection that services and rebuilds use, on a real Postgres; the log is a list, since order is what is under test.
"""

from __future__ import annotations

import contextlib
import random
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from langlog_backbone.embedded.servers import EmbeddedPostgres
from langlog_backbone.log import Record
from langlog_backbone.postgres.database import connect_pool, ensure_read_model
from langlog_backbone.process.settings import Settings
from langlog_executor.decider.aggregates import Aggregates
from langlog_projector import projection as projection_module
from langlog_projector.apply import apply
from langlog_projector.listener import NoListener
from langlog_projector.projection import Projection
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from langlog_schemas.envelope import Cause

from tests.stack.lost_commits import lose, save

from .drawn_journals import journals
from .journal import PARTITIONS, Journal, decide, place

MOST_SEEDS = 40
FOLDED_PARTITIONS = [(topic, part) for topic in ev.FOLDED_TOPICS for part in range(PARTITIONS)]
PLACES = {
    "threads": ("settled",),
    "checkpoints": ("log_position",),
    "thread_events": ("bucket", "entries", "last_at", "first_at"),
}
"""Columns that hold places in the log: they differ where duplicates stand before. (And times, since a duplicate of a worker's record
is an event of its own in the index.)"""

Rows = dict[str, list[str]]


class Crash(Exception):
    """The projector's process is gone."""


class Model:
    """A read model, and a projector on it that may crash."""

    def __init__(self, pool: asyncpg.Pool, tables: list[str]) -> None:
        self.pool, self.tables = pool, tables
        self._projection: Projection | None = None

    async def empty(self) -> None:
        await self.pool.execute(f"TRUNCATE {', '.join(self.tables)}")
        await self.restart()

    async def restart(self) -> Projection:
        """Restart like a projector that takes over the partitions."""
        self._projection = Projection(self.pool, refuse, NoListener())
        await self._projection.open(FOLDED_PARTITIONS)
        return self._projection

    async def fold(self, records: list[Record]) -> None:
        projection = self._projection or await self.restart()
        await projection.project(records)

    async def crash(self, records: list[Record], monkeypatch: pytest.MonkeyPatch) -> None:
        """Dead just before a commit of this batch."""

        async def dying(connection: asyncpg.Connection, *what: Any) -> None:
            async with connection.transaction():
                await apply(connection, *what)
                raise Crash

        with monkeypatch.context() as patched, contextlib.suppress(Crash):
            patched.setattr(projection_module, "apply", dying)
            await self.fold(records)
        self._projection = None

    async def rows(self, *, with_places: bool = True) -> Rows:
        """All rows of all tables."""
        members: Rows = {}
        for table in self.tables:
            if table == "positions" and not with_places:
                continue
            rows = [dict(row) for row in await self.pool.fetch(f"SELECT * FROM {table}")]
            if not with_places:
                rows = [{k: v for k, v in row.items() if k not in PLACES.get(table, ())} for row in rows]
            members[table] = sorted({repr(row) for row in rows} if not with_places else map(repr, rows))
        return members


async def refuse(bad: Any) -> None:
    raise AssertionError(f"records that cannot be folded: {bad}")


@pytest.fixture
async def model(postgres: EmbeddedPostgres) -> AsyncIterator[Model]:
    settings = Settings(database_uri=postgres.uri, projection=f"t{uuid.uuid4().hex[:12]}")
    pool = await connect_pool(settings, size=2)
    await ensure_read_model(pool, settings)
    tables = await pool.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", settings.projection)
    yield Model(pool, sorted(row["tablename"] for row in tables))
    await pool.close()


FEW = hypothesis_settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[
        phase for phase in Phase if phase is not Phase.shrink
    ],  # minutes, and the test would be cut off without a word
    print_blob=True,
)


chances = st.integers(0, 2**32).map(random.Random)
"""Decisions of a test, hundreds of them: drawn one by one, most examples would be too large for hypothesis."""


async def plainly(model: Model, records: list[Record], **how: bool) -> Rows:
    """In the order in which they were appended, in one go."""
    await model.empty()
    await model.fold(records)
    return await model.rows(**how)


def interleaved(records: list[Record], chance: random.Random) -> list[Record]:
    """Each partition in its own order, one partition far ahead of the other or not."""
    partitions: dict[tuple[str, int], list[Record]] = defaultdict(list)
    for record in records:
        partitions[record.topic, record.partition].append(record)
    collected: list[Record] = []
    while partitions:
        partition = chance.choice(sorted(partitions))
        count = chance.randint(1, 30)
        collected += partitions[partition][:count]
        del partitions[partition][:count]
        if not partitions[partition]:
            del partitions[partition]
    return collected


async def somehow(
    model: Model, records: list[Record], chance: random.Random, monkeypatch: pytest.MonkeyPatch, **how: bool
) -> Rows:
    """In batches of any size, with crashes."""
    await model.empty()
    at = 0
    while at < len(records):
        count = chance.randint(1, 40)
        if chance.randint(0, 5) == 0:
            await model.crash(records[at : at + count], monkeypatch)
        else:
            await model.fold(records[at : at + count])
            at += count
    return await model.rows(**how)


@given(journal=journals, chance=chances)
@FEW
async def test_any_prefix_in_any_batches_with_any_crashes_and_any_order_of_partitions_gives_the_same_rows(
    model: Model, monkeypatch: pytest.MonkeyPatch, journal: Journal, chance: random.Random
) -> None:
    prefix = journal.records[: chance.randint(0, len(journal.records))]
    plain = await plainly(model, prefix)
    assert await somehow(model, interleaved(prefix, chance), chance, monkeypatch) == plain


@given(journal=journals, chance=chances)
@FEW
async def test_commits_that_postgres_loses_are_folded_again_from_the_log(
    model: Model, journal: Journal, chance: random.Random
) -> None:
    """The batch at hand begins beyond what Postgres still has; so does what was read ahead."""
    plain = await plainly(model, journal.records)
    await model.empty()
    projection = await model.restart()
    await save(model.pool)
    records = interleaved(journal.records, chance)
    unread = list(records)
    losses = 0
    while True:
        event = chance.randint(0, 7)
        if event == 0:
            await save(model.pool)
        elif event == 1 and losses < 5:
            losses += 1
            await lose(model.pool)
            if chance.randint(0, 1):
                await projection.check()
        if not unread:
            await projection.check()
            if not projection.went_back:
                break
        count = chance.randint(1, 40)
        batch, unread = unread[:count], unread[count:]
        await projection.project(batch)
        if projection.went_back:
            projection.went_back = False
            unread = [r for r in records if r.offset >= projection.positions[r.topic, r.partition]]
    assert await model.rows() == plain


async def test_a_batch_in_hand_is_not_folded_over_what_postgres_has_lost(model: Model) -> None:
    records = [thread_created(f"t{n}", n) for n in range(6)]
    await model.empty()
    projection = await model.restart()
    await projection.project(records[:2])
    await save(model.pool)
    await projection.project(records[2:4])
    await lose(model.pool)
    await projection.project(records[4:])
    assert projection.went_back
    assert projection.positions[ev.RUN_EVENTS, 0] == 2
    projection.went_back = False
    await projection.project(records[2:])
    assert not projection.went_back
    rows = await model.pool.fetch("SELECT thread_id FROM threads ORDER BY thread_id")
    assert [row["thread_id"] for row in rows] == [f"t{n}" for n in range(6)]


async def test_what_is_lost_while_positions_are_read_again_is_folded_again(model: Model) -> None:
    """Postgres loses commits twice, the second time all of them: the partition has no last cause any more."""
    records = [thread_created("t0", 0)]
    await model.empty()
    projection = await model.restart()
    await save(model.pool)
    await projection.project(records)
    await projection.check()
    assert not projection.went_back
    await lose(model.pool)
    assert (await projection.open(FOLDED_PARTITIONS))[ev.RUN_EVENTS, 0] == 0
    await projection.project(records)
    assert [row["thread_id"] for row in await model.pool.fetch("SELECT thread_id FROM threads")] == ["t0"]


async def test_a_commit_whose_answer_is_lost_is_announced_and_not_folded_twice(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ReceivedPositions(NoListener):
        def __init__(self) -> None:
            self.events: list[str] = []
            self.marks: list[Any] = []

        def folded(self, record: Record, event: ev.AnyEvent, cause: Cause | None) -> None:
            self.events.append(event.key)

        def dropped(self) -> None:
            self.events.clear()

        async def committed(self, steps: Any, *, empty: bool = False) -> None:
            self.marks.append(({partition: step.after for partition, step in steps.items()}, list(self.events)))
            self.events.clear()

    async def committing(connection: asyncpg.Connection, *what: Any) -> None:
        await apply(connection, *what)  # what it gives back is lost as well
        monkeypatch.undo()
        raise ConnectionResetError("lost over the commit")

    await model.empty()
    heard = ReceivedPositions()
    projection = Projection(model.pool, refuse, heard)
    await projection.open(FOLDED_PARTITIONS)
    monkeypatch.setattr(projection_module, "apply", committing)
    await projection.project([thread_created(f"t{n}", n) for n in range(2)])
    await projection.project([thread_created("t2", 2)])
    assert not projection.went_back
    assert heard.marks == [({(ev.RUN_EVENTS, 0): 2}, ["t0", "t1"]), ({(ev.RUN_EVENTS, 0): 3}, ["t2"])]


def thread_created(id: str, offset: int) -> Record:
    event = ev.ThreadCreated(thread_id=id, metadata={}, ttl=None)
    headers = {
        "ce_type": f"langlog.{event.TYPE}",
        "ce_time": "2026-01-01T00:00:00+00:00",
        "ce_cause": Cause(0, offset, 0, 1).header(),
    }
    return Record(ev.RUN_EVENTS, 0, offset, id, ev.encode(event), headers)


@given(journal=journals)
@FEW
async def test_all_at_once_is_one_by_one(model: Model, journal: Journal) -> None:
    at_once = await plainly(model, journal.records)
    await model.empty()
    for record in journal.records:
        await model.fold([record])
    assert await model.rows() == at_once


@given(journal=journals, chance=chances)
@FEW
async def test_two_deciders_alive_on_one_partition_give_one_history(
    model: Model, monkeypatch: pytest.MonkeyPatch, journal: Journal, chance: random.Random
) -> None:
    """The second takes over after some command, and decides from the read model; the first continues for a while."""
    part = chance.randint(0, PARTITIONS - 1)
    plain = await plainly(model, journal.records, with_places=False)

    steps = [step for step in journal.steps if step.meta.partition == part]
    taken = chance.randint(0, len(steps))
    late = chance.randint(taken, len(steps))
    theirs = {id(record) for step in steps[taken:] for record in step.records}
    before: list[Record] = []
    after: list[Record] = []
    for record in journal.records:
        # what others write between two commands of this partition keeps its place among those of the second
        (after if id(record) in theirs or after else before).append(record)

    log = Journal()
    for record in before:
        log.put(record)
    await model.empty()
    await model.fold(log.records)
    aggregates = Aggregates(model.pool)
    folded = len(log.records)
    # a decider may be ahead of the other, but not of what a worker wrote before the command that it decides: the order of the two
    # in the log is part of the history
    gates: list[int] = []
    for n, record in enumerate(after):
        if id(record) in theirs:
            gates.append(next((m + 1 for m in range(n, -1, -1) if id(after[m]) not in theirs), 0))
    former = list(zip((record for step in steps[taken:late] for record in step.records), gates, strict=False))
    states: dict[tuple[str, str], Any] = {}
    for step in steps[taken:]:
        key = place(step.command)
        if key not in states:
            states[key] = await load(aggregates, key)
        events, states[key] = decide(states[key], step.command, step.meta)
        assert [meant(event.TYPE, ev.encode(event)) for event in events] == [
            meant(record.headers["ce_type"].removeprefix("langlog."), record.value) for record in step.records
        ]
    for n, record in enumerate(after):
        while former and former[0][1] <= n and chance.random() < 0.5:
            log.put(former.pop(0)[0])
        log.put(record)
    for record, _ in former:
        log.put(record)
    while folded < len(log.records):
        count = chance.randint(1, 40)
        await model.fold(log.records[folded : folded + count])
        folded += count
    assert await model.rows(with_places=False) == plain


def meant(type: str, value: bytes) -> tuple[str, Any]:
    """Postgres keeps objects, not the order of their keys."""
    return type, (msgspec.msgpack if type in ev.MSGPACK_EVENTS else msgspec.json).decode(value)


async def load(aggregates: Aggregates, key: tuple[str, str]) -> Any:
    """Load from Postgres, like a decider that has just taken over."""
    family, id = key
    if family == "store":
        return None
    await aggregates.load(
        [id] if family == "thread" else [], [id] if family == "assistant" else [], [id] if family == "cron" else []
    )
    finders: dict[str, Callable[[str], Any]] = {
        "thread": aggregates.thread,
        "assistant": aggregates.assistant,
        "cron": aggregates.cron,
    }
    return finders[family](id).state


@given(journal=journals, chance=chances)
@FEW
async def test_records_written_twice_count_once(
    model: Model, monkeypatch: pytest.MonkeyPatch, journal: Journal, chance: random.Random
) -> None:
    """A decider's second try after it did not learn that the first arrived: the same events again, a few later."""
    plain = await plainly(model, journal.records, with_places=False)
    doubled = Journal()
    for n, record in enumerate(journal.records):
        doubled.put(record)
        if chance.randint(0, 5) == 0:
            again = journal.records[max(0, n - chance.randint(0, 4)) : n + 1]
            for earlier in again:
                if "ce_cause" in earlier.headers:
                    doubled.put(earlier)
    assert await somehow(model, doubled.records, chance, monkeypatch, with_places=False) == plain


def test_the_material_holds_every_kind_of_event() -> None:
    """Otherwise the properties above would prove less than they seem to. Rare kinds need more examples: as many as they need, since
    Hypothesis draws other ones whenever a constant in our sources changes."""
    elsewhere = {"graph.registered.v1", "command.repeated.v1"}
    missing = {event for event in ev.EVENTS if not event.startswith("parked.")} - elsewhere

    @given(journals)
    @hypothesis_settings(max_examples=50, deadline=None, database=None, phases=[Phase.generate])
    def look(journal: Journal) -> None:
        for record in journal.records:
            missing.discard(record.headers["ce_type"].removeprefix("langlog."))
            Cause.parse(record.headers.get("ce_cause", "0-0-0-0"))

    for n in range(MOST_SEEDS):
        if missing:
            seed(n)(look)()
    assert not missing
    assert cmd.TOPIC not in {topic for topic, _ in FOLDED_PARTITIONS}


class Reads:
    """A connection that notes which parts of bodies it reads."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.parts: list[tuple[str, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def fetch(self, sql: str, *args: Any) -> Any:
        rows = await self._connection.fetch(sql, *args)
        self.parts += [(row["blob_id"], row["idx"]) for row in rows if "data" in row]
        return rows


async def test_parts_of_unfinished_bodies_are_read_once_and_by_their_owner(model: Model) -> None:
    await model.empty()
    await model.pool.execute(
        "INSERT INTO runs (run_id, thread_id, ordinal, assistant_id, graph_id, created_at, updated_at, status, metadata, kwargs, "
        "multitask_strategy) SELECT 'r' || n, 't' || n, n, 'a', 'g', now(), now(), 'running', '{}', '{}', 'reject' "
        "FROM generate_series(0, 1) n"
    )

    async def received(blob_id: str, index: int, run_id: str | None) -> None:
        await model.pool.execute(
            "INSERT INTO checkpoint_parts VALUES ($1, $2, $3, $4)",
            blob_id,
            index,
            run_id,
            f"{blob_id} {index}".encode(),
        )

    await received("mine", 0, "r0")
    await received("mine", 1, "r0")
    await received("another's", 0, "r1")
    await received("nobody's", 0, None)
    partitions = [(topic, 0) for topic in ev.FOLDED_TOPICS]
    projection = Projection(model.pool, refuse, NoListener(), partition_of=lambda thread_id: int(thread_id[1:]))
    async with model.pool.acquire() as connection:
        reads: Any = Reads(connection)
        await projection._open(reads, partitions)
        assert sorted(reads.parts) == [("mine", 0), ("mine", 1), ("nobody's", 0)]
        await received("mine", 2, "r0")
        await connection.execute("DELETE FROM checkpoint_parts WHERE blob_id = $1", "nobody's")
        reads.parts.clear()
        await projection._open(reads, partitions)
        assert reads.parts == [("mine", 2)]
    parts = projection._fences.parts
    assert {id: of.chunks for id, of in parts.items()} == {"mine": {0: b"mine 0", 1: b"mine 1", 2: b"mine 2"}}
