"""Folds one thread's events again, by the projector's own code, into a separate schema, and compares the result with the live rows.

Two results are compared with the read model: the folded rows, and the deciders' aggregate (`evolve`). The schema is
temporary; one that remains after a crash is harmless and is named ``langlog_refold_…``. A thread whose
first events were cut begins with its rows of the snapshot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langlog_backbone.time.sources import random_hex

if TYPE_CHECKING:
    import asyncpg
    from langlog_backbone.history.thread_history import History
    from langlog_backbone.history.thread_snapshot import ThreadRows
    from langlog_backbone.log import Log
    from langlog_backbone.process.settings import Settings
    from langlog_projector.folding.fold import Fences

TABLES = ("threads", "runs", "checkpoints", "checkpoint_blobs", "checkpoint_writes", "frames", "thread_events")
"""The tables whose rows belong to a thread by its id."""
BATCH = 500
VALUE_WIDTH = 200


async def refold(settings: Settings, log: Log, pool: asyncpg.Pool, history: History) -> list[str]:
    """Return the differences of the live read model, one line each."""
    import msgspec
    from langlog_backbone.postgres.database import connect_pool, ensure_read_model

    schema = f"langlog_refold_{random_hex(6)}"
    scratch_settings = msgspec.structs.replace(settings, projection=schema)
    scratch = await connect_pool(scratch_settings, size=1)
    try:
        await ensure_read_model(scratch, scratch_settings)
        await _fold(scratch, schema, log.partition_of(history.thread_id), history)
        differences = await _compare(pool, scratch, history.thread_id)
    finally:
        await scratch.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        await scratch.close()
    return differences + await _aggregate(pool, history)


async def _fold(scratch: asyncpg.Pool, schema: str, partition: int, history: History) -> None:
    from langlog_projector.apply import SQL, Step, apply
    from langlog_projector.folding.fold import Fences, Fold

    await scratch.execute(SQL["open_positions"], ["run-events"], [partition])
    fences = Fences()
    if history.base is not None:
        await _restore(scratch, schema, history.base, fences)
    before = 0
    fold = Fold(fences)

    async def write(after: int) -> None:
        nonlocal before, fold
        async with scratch.acquire() as connection:
            await apply(connection, fold.changes, {("run-events", partition): Step(before, after, None)})
        before, fold = after, Fold(fences)

    for n, (record, event, _) in enumerate(history.entries, 1):
        if event is not None:
            if fold.must_wait(event):
                await write(record.offset)
            fold.event(event, record.headers["ce_time"], record.offset, partition)
        if n % BATCH == 0 or n == len(history.entries):
            await write(record.offset + 1)


async def _restore(scratch: asyncpg.Pool, schema: str, base: ThreadRows, fences: Fences) -> None:
    """Restore the rows of the snapshot, and the fold's state from them."""
    from langlog_projector.folding.fold import ReceivedParts
    from langlog_projector.rebuild.snapshot_read import Loader
    from langlog_projector.rebuild.snapshot_write import columns_of
    from langlog_schemas.snapshots import rows_of

    async with scratch.acquire() as connection:
        await Loader(connection, await columns_of(connection, schema)).insert(base.rows)
    fences.attempts = {run.run_id: run.attempt for run in base.state().runs.values() if run.attempt}
    owners = {row["blob_id"]: row["run_id"] for row in rows_of(base.rows, "checkpoint_parts")}
    fences.parts = {blob_id: ReceivedParts(owners[blob_id], chunks) for blob_id, chunks in base.pieces().items()}


async def _compare(pool: asyncpg.Pool, scratch: asyncpg.Pool, thread_id: str) -> list[str]:
    differences: list[str] = []
    for table in TABLES:
        live, again = await _rows(pool, table, thread_id), await _rows(scratch, table, thread_id)
        for key in sorted({*live, *again}):
            mine, other = live.get(key), again.get(key)
            if mine is None or other is None:
                differences.append(
                    f"{table} {' '.join(key)}: {'only in the log' if mine is None else 'only in the read model'}"
                )
                continue
            for column in mine:
                if mine[column] != other.get(column):
                    shown = f"the read model has {_shown(mine[column])}, the log {_shown(other.get(column))}"
                    differences.append(f"{table} {' '.join(key)} {column}: {shown}")
    return differences


async def _rows(pool: asyncpg.Pool, table: str, thread_id: str) -> dict[tuple[str, ...], dict[str, Any]]:
    """Return the rows by primary key."""
    keys = [
        row["column_name"]
        for row in await pool.fetch(
            "SELECT a.attname AS column_name FROM pg_index i JOIN pg_attribute a "
            "ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) WHERE i.indrelid = $1::regclass AND i.indisprimary",
            table,
        )
    ]
    rows = [dict(row) for row in await pool.fetch(f"SELECT * FROM {table} WHERE thread_id = $1", thread_id)]  # noqa: S608
    return {tuple(str(row[key]) for key in keys): row for row in rows}


async def _aggregate(pool: asyncpg.Pool, history: History) -> list[str]:
    """Compare the deciders' state of the thread with its row and its runs."""
    from langlog_schemas.aggregates.thread import ThreadState, evolve

    state = ThreadState(thread_id=history.thread_id) if history.base is None else history.base.state()
    for recorded in history.entries:
        if recorded.event is not None:
            state = evolve(state, recorded.event, recorded.record.headers["ce_time"])
    row = await pool.fetchrow("SELECT status FROM threads WHERE thread_id = $1", history.thread_id)
    if row is None or not state.exists:
        return [] if (row is None) == (not state.exists) else ["thread: it exists in one of log and read model alone"]
    differences = []
    if row["status"] != state.status:
        differences.append(f"thread status: the read model has {row['status']}, the aggregate {state.status}")
    active = await pool.fetch(
        "SELECT run_id, attempt FROM runs WHERE thread_id = $1 AND status IN ('pending', 'running') ORDER BY ordinal",
        history.thread_id,
    )
    mine, other = [tuple(r) for r in active], [(r.run_id, r.attempt) for r in state.runs.values()]
    if mine != other:
        differences.append(f"runs in flight: the read model has {mine}, the aggregate {other}")
    return differences


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= VALUE_WIDTH else f"{text[: VALUE_WIDTH - 1]}…"
