"""Folding results in the same rows despite duplicates, crashes, other batches, and a second decider.

Real Postgres; the log is a list here, since order, duplicates and crash points are what is under test.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from langlog_backbone.embedded.servers import EmbeddedPostgres
from langlog_backbone.postgres.database import connect_pool, ensure_read_model
from langlog_backbone.process.settings import Settings
from langlog_projector.apply import SQL, PositionsMoved, Step, apply
from langlog_projector.folding.fold import Fences, Fold
from langlog_schemas import checkpoints as cp
from langlog_schemas import events as ev
from langlog_schemas.envelope import Cause
from msgspec import Raw
from msgspec.structs import replace

from .histories import causes, decide_all, histories

TABLES = ("threads", "runs", "checkpoints", "checkpoint_blobs", "checkpoint_writes", "webhooks", "thread_events")


class Entry:
    """One record of the partition: a decider's event with its cause, or a worker's record."""

    def __init__(self, event: ev.AnyEvent, time: str, cause: Cause | None) -> None:
        self.event, self.time, self.cause = event, time, cause


def partition_of_history(history: list[Any], *, joined: bool = False) -> list[Entry]:
    """The partition that a history leads to; each dispatched attempt writes a checkpoint and a write, some of them late.

    ``joined``: events of one decision share a record where they may.
    """
    entries: list[Entry] = []
    for decided in decide_all(history):
        places = iter(causes(decided))
        for event in ev.joined(decided.events) if joined else decided.events:
            parts = ev.parts(event)
            cause = [next(places) for _ in parts][-1]
            entries.append(Entry(event, decided.meta.time, cause))
            for part in parts:
                if isinstance(part, ev.RunDispatched):
                    for attempt in (part.attempt, part.attempt - 1):  # the older attempt's worker still writes
                        entries += _worker_records(part.thread_id, part.run_id, attempt, decided.meta.time)
    return entries


def _worker_records(thread_id: str, run_id: str, attempt: int, time: str) -> list[Entry]:
    checkpoint = cp.CheckpointBody(
        namespace="",
        checkpoint_id=f"{run_id}-{attempt}",
        parent_id=None,
        type="msgpack",
        data=b"c",
        metadata=b"{}",
        versions={"x": f"{run_id}-{attempt}"},
        blobs=[cp.ChannelBlob("x", f"{run_id}-{attempt}", "msgpack", b"v")],
    )
    writes = cp.WritesBody("", f"{run_id}-{attempt}", "task", "", [cp.Write(0, "x", "msgpack", b"w")])
    place = {"thread_id": thread_id, "run_id": run_id, "attempt": attempt}
    return [
        Entry(ev.RunStarted(**place, worker="w"), time, None),
        Entry(ev.CheckpointWritten(**place, body=cp.encode(checkpoint)), time, None),
        Entry(ev.CheckpointWrites(**place, body=cp.encode(writes)), time, None),
        Entry(
            ev.CheckpointSteps(
                **place,
                steps=[
                    ev.Step(True, 0, cp.encode(replace(writes, task_id="another"))),
                    ev.Step(False, 5, cp.encode(replace(checkpoint, checkpoint_id=f"{run_id}-{attempt}-next"))),
                ],
            ),
            time,
            None,
        ),
    ]


class ReadModel:
    """The tables, and a projector's memory, as far as folding a list needs them."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self.fences = Fences()
        self.position = 0

    async def empty(self) -> None:
        await self.pool.execute(f"TRUNCATE {', '.join(TABLES)}, positions")
        await self.pool.execute(SQL["open_positions"], ["run-events"], [0])
        self.position = 0
        await self.restart()

    async def restart(self) -> None:
        """Restart like a projector that takes over the partition."""
        self.fences = Fences()
        (row,) = await self.pool.fetch(SQL["read_positions"], ["run-events"], [0])
        self.position = row["offset"]
        if row["cause_offset"] >= 0:
            last = Cause(0, row["cause_offset"], row["cause_index"], row["cause_count"])
            self.fences.causes["run-events", 0] = last
        for run_id, attempt in await self.pool.fetch(SQL["read_attempts"]):
            self.fences.attempts[run_id] = attempt

    async def fold(self, entries: list[Entry], count: int, *, crash: bool = False) -> None:
        """The next ``count`` entries in one transaction; a crash comes just before its commit."""
        fold = Fold(self.fences)
        batch = entries[self.position : self.position + count]
        for offset, entry in enumerate(batch, self.position):
            if entry.cause is not None:
                if self.fences.duplicate("run-events", entry.cause):
                    continue
                self.fences.causes["run-events", 0] = entry.cause
            fold.event(entry.event, entry.time, offset, 0)
        if crash:
            await self.restart()
            return
        step = Step(self.position, self.position + len(batch), self.fences.causes.get(("run-events", 0)))
        async with self.pool.acquire() as connection:
            await apply(connection, fold.changes, {("run-events", 0): step})
        self.position += len(batch)

    async def rows(self, *, with_places: bool = True) -> dict[str, list[str]]:
        """All rows as text. ``settled`` and ``log_position`` are places in the log: they differ where duplicates stand before it."""
        members = {}
        for table in TABLES:
            rows = [dict(row) for row in await self.pool.fetch(f"SELECT * FROM {table}")]
            if not with_places:
                if table == "thread_events":
                    continue
                for row in rows:
                    row.pop("settled", None)
                    row.pop("log_position", None)
            members[table] = sorted(map(repr, rows))
        return members


@pytest.fixture
async def read_model(postgres: EmbeddedPostgres) -> AsyncIterator[ReadModel]:
    settings = Settings(database_uri=postgres.uri, projection=f"t{uuid.uuid4().hex[:12]}")
    pool = await connect_pool(settings, size=1)
    await ensure_read_model(pool, settings)
    yield ReadModel(pool)
    await pool.close()


FEW = hypothesis_settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@given(history=histories, data=st.data())
@FEW
async def test_batches_crashes_and_duplicates_make_no_difference(
    read_model: ReadModel, history: list[Any], data: st.DataObject
) -> None:
    entries = partition_of_history(history)
    await read_model.empty()
    for _ in entries:
        await read_model.fold(entries, 1)
    plain = await read_model.rows(with_places=False)

    doubled: list[Entry] = []
    for n, entry in enumerate(entries):
        doubled.append(entry)
        if data.draw(st.integers(0, 4)) == 0:  # a former owner, or a second try, writes the last few again
            back = data.draw(st.integers(1, 4))
            doubled += [e for e in entries[max(0, n + 1 - back) : n + 1] if e.cause is not None]
    await read_model.empty()
    while read_model.position < len(doubled):
        crash = data.draw(st.integers(0, 5)) == 0
        await read_model.fold(doubled, data.draw(st.integers(1, 12)), crash=crash)
    assert await read_model.rows(with_places=False) == plain


@given(history=histories, data=st.data())
@FEW
async def test_events_that_share_a_record_are_folded_as_those_in_records_of_their_own(
    read_model: ReadModel, history: list[Any], data: st.DataObject
) -> None:
    separate, joined = partition_of_history(history), partition_of_history(history, joined=True)
    await read_model.empty()
    await read_model.fold(separate, len(separate) or 1)
    plain = await read_model.rows(with_places=False)

    doubled: list[Entry] = []
    for entry in joined:
        doubled.append(entry)
        if entry.cause is not None and data.draw(
            st.booleans()
        ):  # a former owner of another version writes them its way
            doubled += [
                e
                for e in separate
                if e.cause is not None and e.cause.offset == entry.cause.offset and e.cause <= entry.cause
            ]
    await read_model.empty()
    while read_model.position < len(doubled):
        await read_model.fold(doubled, data.draw(st.integers(1, 12)))
    assert await read_model.rows(with_places=False) == plain


@given(history=histories)
@FEW
async def test_what_is_folded_at_once_is_what_is_folded_one_by_one(read_model: ReadModel, history: list[Any]) -> None:
    entries = partition_of_history(history)
    await read_model.empty()
    for _ in entries:
        await read_model.fold(entries, 1)
    one_by_one = await read_model.rows()
    await read_model.empty()
    await read_model.fold(entries, len(entries) or 1)
    assert await read_model.rows() == one_by_one


@given(history=histories)
@FEW
async def test_the_read_model_holds_what_the_aggregates_say(read_model: ReadModel, history: list[Any]) -> None:
    entries = partition_of_history(history)
    await read_model.empty()
    await read_model.fold(entries, len(entries) or 1)
    states = {d.command.thread_id: d.after for d in decide_all(history)}
    stored = {row["thread_id"]: row for row in await read_model.pool.fetch("SELECT * FROM threads")}
    assert set(stored) == {t for t, state in states.items() if state.exists}
    for thread_id, row in stored.items():
        state = states[thread_id]
        assert row["status"] == state.status
        in_flight = await read_model.pool.fetch(
            "SELECT run_id, attempt, crashes, cancel FROM runs WHERE thread_id = $1 AND status IN ('pending', 'running') ORDER BY ordinal",
            thread_id,
        )
        assert [tuple(row) for row in in_flight] == [
            (run.run_id, run.attempt, run.crashes, run.cancel) for run in state.runs.values()
        ]


async def test_another_projector_that_moved_the_positions_stops_the_former_one(read_model: ReadModel) -> None:
    await read_model.empty()
    entries = [
        Entry(ev.ThreadCreated(thread_id=f"t{n}"), "2026-01-01T00:00:00.000000+00:00", Cause(0, n, 0, 1))
        for n in range(2)
    ]
    former = ReadModel(read_model.pool)
    await former.restart()
    await read_model.fold(entries, 1)
    with pytest.raises(PositionsMoved):
        await former.fold(entries, 2)
    assert [row["thread_id"] for row in await read_model.pool.fetch("SELECT thread_id FROM threads")] == ["t0"]


@pytest.mark.parametrize("at_once", [1, 2, 100])
async def test_special_writes_that_a_removed_run_replaced_come_back(read_model: ReadModel, at_once: int) -> None:
    """Of each run, whichever are removed, and in whatever batches they were folded."""
    time = "2026-01-01T00:00:00.000000+00:00"
    entries = [Entry(ev.ThreadCreated(thread_id="t"), time, Cause(0, 0, 0, 1))]
    cause = 1
    runs = ("c", "a", "b")  # in the order in which they run, which is not that of their ids
    for ordinal, id in enumerate(runs):
        run = {"thread_id": "t", "run_id": id}
        created = ev.RunCreated(
            **run,
            ordinal=ordinal,
            assistant_id="a",
            graph_id="g",
            kwargs=Raw(b"{}"),
            metadata={},
            multitask_strategy="enqueue",
        )
        entries += [
            Entry(created, time, Cause(0, cause, 0, 2)),
            Entry(ev.RunDispatched(**run, attempt=1), time, Cause(0, cause, 1, 2)),
        ]
        for n in range(2):  # its last one counts
            writes = [cp.Write(-3, "__interrupt__", "msgpack", f"{id}{n}".encode()), cp.Write(0, "x", "msgpack", b"w")]
            body = cp.encode(cp.WritesBody("", "checkpoint", "task", "", writes))
            entries.append(Entry(ev.CheckpointWrites(**run, attempt=1, body=body), time, None))
        cause += 1
    for removed, left in ({"b"}, b"a1"), ({"a"}, b"b1"), ({"b", "a"}, b"c1"), ({"c"}, b"b1"), (set(runs), None):
        await read_model.empty()
        while read_model.position < len(entries):
            await read_model.fold(entries, at_once)
        deletions = [
            Entry(ev.RunDeleted(thread_id="t", run_id=id, status="idle"), time, Cause(0, cause + n, 0, 1))
            for n, id in enumerate(sorted(removed))
        ]
        await read_model.fold(entries + deletions, len(deletions))
        rows = await read_model.pool.fetch("SELECT * FROM checkpoint_writes WHERE idx < 0")
        assert [row["data"] for row in rows if row["checkpoint_id"] == "checkpoint"] == ([] if left is None else [left])
        assert {row["run_id"] for row in rows} == set(runs) - removed


async def test_new_and_changed_rows_of_a_batch_are_written_by_one_statement(read_model: ReadModel) -> None:
    time = "2026-01-01T00:00:00.000000+00:00"
    run = {"thread_id": "t0", "run_id": "r0"}
    created = ev.RunCreated(
        **run, ordinal=0, assistant_id="a", graph_id="g", kwargs=Raw(b"{}"), metadata={}, multitask_strategy="enqueue"
    )
    before = [Entry(ev.ThreadCreated(thread_id="t0"), time, Cause(0, 0, 0, 1))]
    batch = [
        Entry(created, time, Cause(0, 1, 0, 2)),
        Entry(ev.RunDispatched(**run, attempt=1), time, Cause(0, 1, 1, 2)),
        Entry(ev.ThreadCreated(thread_id="t1"), time, Cause(0, 2, 0, 1)),
        *_worker_records("t0", "r0", 1, time),
    ]
    await read_model.empty()
    await read_model.fold(before, 1)
    statements: list[str] = []

    def note(query: asyncpg.connection.LoggedQuery) -> None:
        statements.append(query.query)

    async with read_model.pool.acquire() as connection:  # its only one
        connection.add_query_logger(note)
    await read_model.fold(before + batch, len(batch))
    writes = [text for text in statements if re.search(r"INSERT INTO (?!positions)|UPDATE", text)]
    assert len(writes) == 1, writes
    assert "BEGIN;" not in statements, "one statement is a transaction by itself"
    assert {table: len(rows) for table, rows in (await read_model.rows()).items()} == {
        "threads": 2,
        "runs": 1,
        "checkpoints": 2,
        "checkpoint_blobs": 1,
        "checkpoint_writes": 2,
        "webhooks": 0,
        "thread_events": 3,
    }
