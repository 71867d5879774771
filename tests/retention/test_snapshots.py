"""A snapshot replaces all records below a cut: folding on top of it results in the same rows, in every column."""

from __future__ import annotations

import random
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langlog_backbone.embedded.servers import EmbeddedPostgres
from langlog_backbone.history.thread_snapshot import latest, thread_rows
from langlog_backbone.log import Log, LogFault, NewRecord, Position, Positions, Record, open_log
from langlog_backbone.postgres.database import connect_pool, ensure_read_model
from langlog_backbone.process.settings import Settings
from langlog_backbone.read_model.same_log import behind
from langlog_executor.decider.aggregates import Aggregates
from langlog_projector.rebuild.retention import bounded
from langlog_projector.rebuild.snapshot_read import restore, restore_partition
from langlog_projector.rebuild.snapshot_write import taken_record, write
from langlog_schemas import events as ev
from langlog_schemas import snapshots
from langlog_schemas.snapshots import rows_of

from tests.core.drawn_journals import journals
from tests.core.journal import PARTITIONS, Journal
from tests.core.test_projection import FEW, Model, chances, interleaved, plainly
from tests.stack.fixtures import isolated


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[Log]:
    log = open_log(isolated(None, tmp_path, {"partitions": PARTITIONS, "max_record_bytes": 8_000}))
    await log.start()
    yield log
    await log.stop()


@pytest.fixture
async def settings(postgres: EmbeddedPostgres) -> Settings:
    return Settings(database_uri=postgres.uri, projection=f"t{uuid.uuid4().hex[:12]}")


@pytest.fixture
async def model(settings: Settings) -> AsyncIterator[Model]:
    pool = await connect_pool(settings, size=3)
    await ensure_read_model(pool, settings)
    tables = await pool.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", settings.projection)
    yield Model(pool, sorted(row["tablename"] for row in tables))
    await pool.close()


async def snapshot(log: Log, model: Model, schema: str) -> dict[int, snapshots.SnapshotTaken]:
    written = await write(log, model.pool, schema, uuid.uuid4().hex, dict.fromkeys(range(PARTITIONS), 0))
    return {part: entry.taken for part, entry in written.items()}


@given(journal=journals, chance=chances)
@FEW
async def test_a_snapshot_of_any_cut_with_the_rest_on_top_gives_the_same_rows(
    model: Model, log: Log, settings: Settings, journal: Journal, chance: random.Random
) -> None:
    plain = await plainly(model, journal.records)
    shuffled = interleaved(journal.records, chance)
    cut = chance.randint(0, len(shuffled))
    await model.empty()
    await model.fold(shuffled[:cut])
    at_the_cut = await model.rows()
    taken_snapshot = await snapshot(log, model, settings.projection)
    await log.append([taken_record(taken) for taken in taken_snapshot.values()])
    await each_thread_is_found(model, log)
    await model.pool.execute(f"TRUNCATE {', '.join(model.tables)}")
    for part, taken in taken_snapshot.items():
        await restore_partition(log, model.pool, settings.projection, part, taken)
    assert await model.rows() == at_the_cut
    await model.restart()
    await model.fold(shuffled[cut:])
    assert await model.rows() == plain


async def each_thread_is_found(model: Model, log: Log) -> None:
    """Check that each thread is found by itself, in the last snapshot, as deciders load it."""
    ids = [str(row["thread_id"]) for row in await model.pool.fetch("SELECT thread_id FROM threads")]
    aggregates = Aggregates(model.pool)
    parked = await aggregates.load(ids, ())
    for id in ids:
        rows = await thread_rows(log, id)
        assert rows is not None
        assert id in parked or rows.state() == aggregates.thread(id).state
        for table in ("runs", "checkpoints", "checkpoint_blobs", "checkpoint_writes", "frames", "thread_events"):
            count = await model.pool.fetchval(f"SELECT count(*) FROM {table} WHERE thread_id = $1", id)
            assert len(list(rows_of(rows.rows, table))) == count, table
        head = (
            "SELECT checkpoint_id FROM checkpoints WHERE thread_id = $1 AND ns = '' "
            "ORDER BY log_position DESC, checkpoint_id DESC LIMIT 1"
        )
        assert rows.head(()) == await model.pool.fetchval(head, id)
    assert await thread_rows(log, "nobody's") is None


async def test_values_of_any_size_and_kind_come_back_as_they_were(model: Model, log: Log, settings: Settings) -> None:
    large = random.Random(7).randbytes(50_000)
    async with model.pool.acquire() as connection:
        await model.empty()
        await connection.execute(
            "INSERT INTO checkpoint_blobs VALUES ('t', '', 'c', '1', 'msgpack', $1), ('t', '', 'c', '2', 'm', '')",
            large,
        )
        await connection.execute(
            "INSERT INTO store_items VALUES (ARRAY['a.b', 'c\"d', 'ü{}'], 'k', $1, now(), '2020-01-01T00:00:00.000001+05', NULL, 0.1)",
            '{"x": 1e400, "y": [0.1, null, "\\u00e9\\\\"], "z": {}}',
        )
        await connection.execute(
            "INSERT INTO store_vectors VALUES (ARRAY['a.b', 'c\"d', 'ü{}'], 'k', 0, '$', '[0.1,-3.4028235e+38,1e-45]')"
        )
        await connection.execute(
            "INSERT INTO graphs VALUES ('g', 1, E'line\\nline\\ttab\\\\', '{}', false, '[{\"b\": 1,  \"a\": 2}]', 'null')"
        )
        await connection.execute("INSERT INTO graphs VALUES ('h', 2, NULL, 'null', false, '[]', NULL)")
        letters = [
            ("run-events", 7, "t", "run.created.v1", "bad", "no such field", '{"ce_id":"1"}', b"\x00{"),
            ("run-events", 8, "t", "thread.deleted.v1", "behind", None, '{"ce_id":"2"}', b""),
            ("run-events", 9, "t", "", "dropped", None, None, None),
            ("assistant-events", 0, "a", "assistant.created.v9", "bad", "unknown", "{}", b"{}"),
            ("commands", 4, "n.m", "store.write.v1", "over", None, None, None),
        ]
        for topic, offset, key, *rest in letters:
            part = log.partition_of(key)
            await connection.execute(
                "INSERT INTO dead_letters VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, now())",
                topic,
                part,
                offset,
                key,
                *rest,
            )
        for n, (topic, key, status) in enumerate(
            [("run-events", "t", 200), ("run-events", "t", 409), ("cron-events", "c", 200)]
        ):
            await connection.execute(
                "INSERT INTO outcomes VALUES ($1, $2, $3, $4, $5, NULL, 'x', '{}', now())",
                *(f"id{n}", topic, log.partition_of(key), key, status),
            )
        await connection.execute(
            "INSERT INTO webhooks (run_id, part, thread_id, url, status, assistant_id, metadata, multitask_strategy, attempt, "
            "created_at, ended_at) VALUES ('r', $1, 't', 'http://x/', 'success', 'a', '{}', 'enqueue', 1, now(), now())",
            log.partition_of("t"),
        )
    before = await model.rows()
    taken_snapshot = await snapshot(log, model, settings.projection)
    await log.append([taken_record(taken) for taken in taken_snapshot.values()])
    own = await thread_rows(log, "t", ("checkpoint_blobs",))
    assert own is not None and [row["data"] for row in rows_of(own.rows, "checkpoint_blobs")] == [large, b""]
    assert {rows.table for rows in own.rows} == {"checkpoint_blobs"}
    await model.pool.execute(f"TRUNCATE {', '.join(model.tables)}")
    for part, taken in taken_snapshot.items():
        await restore_partition(log, model.pool, settings.projection, part, taken)
    assert await model.rows() == before


class Crowded:
    """A log in which other producers append among the records of a snapshot, and its own are appended twice."""

    def __init__(self, log: Log, chance: random.Random) -> None:
        self._log, self._chance = log, chance

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def append(self, records: Sequence[NewRecord]) -> list[Position]:
        for record in records:
            for _ in range(self._chance.choice((0, 0, 1, 40))):
                id = self._chance.choice(("", "given-up-0-0"))
                headers = {**record.headers, "ce_id": id} if id else {}
                await self._log.append([NewRecord(record.topic, record.key, record.value, headers)])
            await self._log.append([record] * self._chance.choice((1, 1, 2)))
        return []


async def test_each_thread_is_found_in_a_snapshot_among_records_of_others(
    model: Model, log: Log, settings: Settings
) -> None:
    chance = random.Random(11)
    sizes = {f"t{n:02}": chance.choice((10, 10, 5_000, 200_000)) for n in range(60)}
    await model.empty()
    for id, size in sizes.items():
        data = chance.randbytes(size)
        await model.pool.execute("INSERT INTO checkpoint_blobs VALUES ($1, '', 'c', '1', 'msgpack', $2)", id, data)
    crowded: Any = Crowded(log, chance)
    taken_snapshot = await snapshot(crowded, model, settings.projection)
    await log.append([taken_record(taken) for taken in taken_snapshot.values()])
    for id, size in sizes.items():
        found = await thread_rows(log, id)
        assert found is not None, id
        assert [len(row["data"]) for row in rows_of(found.rows, "checkpoint_blobs")] == [size], id
    for id in ("t", "t005", "u"):
        assert await thread_rows(log, id) is None


async def test_a_snapshot_counts_only_once_it_is_complete_and_the_last_one_counts(
    model: Model, log: Log, settings: Settings
) -> None:
    await model.empty()
    first = await snapshot(log, model, settings.projection)
    assert await latest(log, 0) is None
    await log.append([taken_record(taken) for taken in first.values()])
    assert await latest(log, 0) == first[0]
    await model.pool.execute(
        "INSERT INTO graphs SELECT 'g' || n, 1, NULL, '{}', false, '[]', NULL FROM generate_series(1, 90) n"
    )
    second = await snapshot(log, model, settings.projection)
    assert await latest(log, 0) == first[0]
    await log.append([taken_record(second[0])])
    assert await latest(log, 0) == second[0]
    assert await latest(log, 1) == first[1]


async def test_records_that_were_appended_twice_count_once_and_lacking_ones_are_a_fault(
    model: Model, log: Log, settings: Settings
) -> None:
    await model.empty()
    await model.pool.execute("INSERT INTO graphs VALUES ('g', 1, NULL, '{}', false, '[]', NULL)")
    taken_snapshot = await snapshot(log, model, settings.projection)
    part = log.partition_of("g")
    end = (await log.end_offsets(snapshots.TOPIC))[part]
    for record in await log.fetch(snapshots.TOPIC, part, range(end)):
        again = (await log.append([new(record)]))[0]
        assert again == Position(part, end)
    await model.empty()
    assert await restore_partition(log, model.pool, settings.projection, part, taken_snapshot[part]) == 1
    await model.empty()
    lacking = snapshots.SnapshotTaken(
        **{name: getattr(taken_snapshot[part], name) for name in taken_snapshot[part].__struct_fields__}
        | {"records": 7}
    )
    with pytest.raises(LogFault, match="has 7 records"):
        await restore_partition(log, model.pool, settings.projection, part, lacking)
    assert await model.pool.fetchval("SELECT count(*) FROM graphs") == 0


def new(record: Record) -> NewRecord:
    return NewRecord(record.topic, record.key, record.value, record.headers)


async def test_an_empty_read_model_begins_with_the_snapshot_and_one_that_was_left_behind_is_a_fault(
    model: Model, log: Log, settings: Settings
) -> None:
    schema = settings.projection
    await model.empty()
    assert await restore(log, model.pool, schema, range(PARTITIONS)) == 0
    part = log.partition_of("g")
    await model.pool.execute("INSERT INTO graphs VALUES ('g', 1, NULL, '{}', false, '[]', NULL)")
    await model.pool.execute('UPDATE positions SET "offset" = 5, cause_offset = 3 WHERE topic = $1', ev.GRAPH_EVENTS)
    rows = await model.rows()
    taken_snapshot = await snapshot(log, model, schema)
    await log.append([taken_record(taken) for taken in taken_snapshot.values()])
    await log.append([new(Record(ev.GRAPH_EVENTS, part, n, "g", b"{}", {})) for n in range(7)])
    await log.cut({(ev.GRAPH_EVENTS, part): 5})
    await model.empty()
    assert await restore(log, model.pool, schema, [1 - part]) == 0
    assert await restore(log, model.pool, schema, range(PARTITIONS)) == 1
    restored = await model.rows()
    assert restored["graphs"] == rows["graphs"]
    assert (
        await model.pool.fetchval(
            'SELECT "offset" FROM positions WHERE topic = $1 AND part = $2', ev.GRAPH_EVENTS, part
        )
        == 5
    )
    assert await restore(log, model.pool, schema, range(PARTITIONS)) == 0, "begun already"
    await model.pool.execute('UPDATE positions SET "offset" = 4 WHERE topic = $1', ev.GRAPH_EVENTS)
    with pytest.raises(LogFault, match="langlog rebuild"):
        await restore(log, model.pool, schema, range(PARTITIONS))


TOPIC_PARTITIONS = [("commands", 0), ("run-events", 0), ("run-events", 1)]
offsets = st.dictionaries(st.sampled_from(TOPIC_PARTITIONS), st.integers(0, 20))


@given(asked=offsets, starts=offsets, held=st.dictionaries(st.sampled_from("abc"), offsets))
def test_nothing_is_cut_that_somebody_has_not_read_and_no_cut_is_taken_back(
    asked: Positions, starts: Positions, held: dict[str, Positions]
) -> None:
    cuts, holders = bounded(asked, starts, held)
    assert cuts.keys() == asked.keys()
    for partition, cut in cuts.items():
        start = starts.get(partition, 0)
        assert cut >= start
        if cut > start:
            assert cut <= asked[partition]
            assert all(cut <= positions[partition] for positions in held.values() if partition in positions)
        assert (partition in holders) == (cut < asked[partition])
        for name in holders.get(partition, ()):
            assert held[name][partition] < asked[partition]


@given(positions=offsets, starts=offsets)
def test_a_read_model_is_behind_where_it_has_begun_and_is_below_a_start(
    positions: Positions, starts: Positions
) -> None:
    trouble = behind(positions, starts, "model")
    begun = {part for (_, part), offset in positions.items() if offset}
    lagging = {x for x, start in starts.items() if x[1] in begun and positions.get(x, 0) < start}
    if not lagging:
        assert trouble is None
    else:
        assert trouble is not None and any(f"{topic}/{part}, " in trouble for topic, part in lagging)
