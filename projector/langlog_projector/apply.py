"""Writing `Changes` to Postgres, in one transaction with the positions: removals first, then all new and changed rows of threads, runs
and checkpoints in one statement, since a round trip costs more than the rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import cache
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

import asyncpg
from langlog_backbone.postgres.database import load_sql
from langlog_schemas.envelope import Cause

from .folding.changes import WRITE_RUN, Changes, RunRow, WebhookDue, WebhookTry

SQL = load_sql("langlog_projector", "apply.sql")


WEBHOOKS_KEPT = timedelta(days=7)
"""Time for which the log of a delivery can be read after its end."""


class PositionsMoved(Exception):
    """Another projector folds these partitions now; nothing was written."""


class Step(NamedTuple):
    """Positions of a partition before and after a batch."""

    before: int
    after: int
    cause: Cause | None


def columns_of(statement: str) -> tuple[str, ...]:
    """Return the columns of a statement's rows: its ``AS n (…)``. Values are passed in this order, by name."""
    (columns,) = re.findall(r"\bAS n \(([\w\s,]+)\)", statement)
    return tuple(name.strip() for name in columns.split(","))


_PARAMETER = re.compile(r"\$(\d+)")
_NEW_THREAD = attrgetter(*columns_of(SQL["insert_threads"])[1:])
_CHANGED_THREAD = attrgetter(*columns_of(SQL["update_threads"])[1:])
_NEW_RUN = columns_of(SQL["insert_runs"])[1:]
_CHANGED_RUN = attrgetter(*columns_of(SQL["update_runs"])[1:])


def _new_run(row: RunRow, new: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple([new[name] if name in new else getattr(row, name) for name in _NEW_RUN])


TOGETHER = (
    "index_events",
    *("insert_threads", "update_threads", "insert_runs", "update_runs"),
    *("insert_checkpoints", "insert_blobs", "keep_replaced_writes", "insert_writes", "insert_frames"),
)
"""Statements that write different rows, and read none of each other's but as they were before: those of a batch are executed as one."""
INDEX_AND_CLAIM = ("index_events", "claim_positions")
"""Statements with which a transaction begins, executed as one."""
REPLACED = "replaced "
"""Prefix of the checkpoint id of a write that another run has replaced: no reader asks for it."""


@cache
def together(*names: str) -> str:
    """Return one statement for several, with the parameters of the first before those of the second, and so on. Postgres executes all
    on the same snapshot, in any order: none of them may write a row of another, or read one as the other leaves it."""
    statements, used = [], 0
    for name in names:
        moved = _moved(SQL[name], used)
        used = max(int(number) for number in _PARAMETER.findall(moved))
        statements.append(moved)
    *first, last = statements
    if not first:
        return last
    return "WITH " + ",\n".join(f"{name} AS (\n{one}\n)" for name, one in zip(names, first, strict=False)) + f"\n{last}"


@cache
def claiming(*names: str) -> str:
    """Return one statement that advances the positions (parameters 1 to 7) and executes the others, with their parameters from the
    ninth on. It fails by a division by zero, and changes nothing, unless it has advanced as many positions as parameter 8 says."""
    others, used = [], 8
    for name in names:
        moved = _moved(SQL[name], used)
        used = max(int(number) for number in _PARAMETER.findall(moved))
        others.append(f"{name} AS (\n{moved}\n)")
    parts = ",\n".join([f"claimed AS (\n{SQL['claim_positions']}\nRETURNING 1\n)", *others])
    return f"WITH {parts}\nSELECT 1 / (count(*) = $8::bigint)::int FROM claimed"


def _moved(statement: str, by: int) -> str:
    """Return the statement with its parameters ``by`` places further on."""
    return _PARAMETER.sub(lambda parameter: f"${int(parameter[1]) + by}", statement)


Removed = Mapping[str, str | None]
"""Removed thread that was in Postgres -> its last metadata (JSON); None: unknown."""


async def apply(connection: asyncpg.Connection, changes: Changes, steps: Mapping[tuple[str, int], Step]) -> Removed:
    """Write all changes, or raise `PositionsMoved` or Postgres' error."""
    if changes.empty:
        # stateless runs that began and ended within the batch: one round trip instead of three
        await _claim(connection, steps)
        return {}
    if steps and changes.of_threads_alone:
        await _write_at_once(connection, changes, steps)
        return {}
    async with connection.transaction():
        index = changes.index.rows()
        again = [row for row in index if row[0] in changes.removed_threads and row[-1]]
        if again:
            index = [row for row in index if row[0] not in changes.removed_threads]
        await _claim(connection, steps, index)
        await _write_webhooks(connection, changes)  # first, because removals would also remove rows written below
        removed = await _remove(connection, changes)
        if again:
            await connection.execute(SQL["index_again"], *_columns([row[:-1] for row in again], 6))
        await _write_rows(connection, changes)
        await _write_parts_and_thin(connection, changes)
        await _write_rest(connection, changes)
    return removed


async def _claim(
    connection: asyncpg.Connection, steps: Mapping[tuple[str, int], Step], index: list[tuple[Any, ...]] | None = None
) -> None:
    rows = _positions(steps)
    if index:
        # in one statement, since a round trip costs more than the rows
        columns = (*_columns(index, 7), *_columns(rows, 7))
        answer: str = await connection.execute(together(*INDEX_AND_CLAIM), *columns)
    else:
        answer = await connection.execute(SQL["claim_positions"], *_columns(rows, 7))
    if int(answer.rpartition(" ")[2]) != len(rows):
        raise PositionsMoved


def _positions(steps: Mapping[tuple[str, int], Step]) -> list[tuple[Any, ...]]:
    return [
        (
            topic,
            part,
            step.before,
            step.after,
            *((step.cause.offset, step.cause.index, step.cause.count) if step.cause else (-1, 0, 0)),
        )
        for (topic, part), step in steps.items()
    ]


async def _write_at_once(
    connection: asyncpg.Connection, changes: Changes, steps: Mapping[tuple[str, int], Step]
) -> None:
    """Write rows that no removal precedes by one statement, which is a transaction by itself: three round trips less, and most batches of
    runs on threads are such."""
    rows = _gathered(changes, changes.index.rows())
    claimed = _positions(steps)
    columns = [_shortened(column) for gathered in rows.values() for column in zip(*gathered, strict=True)]
    try:
        await connection.execute(claiming(*rows), *_columns(claimed, 7), len(claimed), *columns)
    except asyncpg.DivisionByZeroError:
        raise PositionsMoved from None


async def _write_webhooks(connection: asyncpg.Connection, changes: Changes) -> None:
    if changes.webhooks:
        rows = [(run_id, *row) for run_id, row in changes.webhooks.items()]
        await connection.execute(SQL["insert_webhooks"], *_columns(rows, 17))
    for due, steps in groupby(changes.webhook_steps, lambda step: isinstance(step, WebhookDue)):  # in log order
        if due:
            await connection.executemany(SQL["webhook_due_again"], list(steps))
        else:
            tries = [
                (*step[:7], step.attempted_at - WEBHOOKS_KEPT, step.kept)
                for step in steps
                if isinstance(step, WebhookTry)
            ]
            await connection.executemany(SQL["note_webhook_try"], tries)


async def _remove(connection: asyncpg.Connection, changes: Changes) -> Removed:
    removed: Removed = {}
    if changes.removed_threads:
        rows = await connection.fetch(SQL["remove_threads"], list(changes.removed_threads))
        removed = {row["thread_id"]: row["metadata"] for row in rows}
    if changes.removed_checkpoints:
        await connection.execute(SQL["remove_checkpoints"], list(changes.removed_checkpoints))
    pairs = [
        (thread_id, run_id)
        for gathered in (changes.removed_runs, changes.removed_run_checkpoints)
        for thread_id, runs in gathered.items()
        for run_id in runs
    ]
    if pairs:
        await connection.execute(SQL["restore_replaced_writes"], *_columns(pairs, 2))
        await connection.execute(SQL["remove_run_checkpoints"], *_columns(pairs, 2))
    if changes.removed_runs:
        await connection.execute(SQL["remove_runs"], [r for runs in changes.removed_runs.values() for r in runs])
    if changes.removed_assistants:
        await connection.execute(SQL["remove_assistants"], list(changes.removed_assistants))
    return removed


async def _write_rows(connection: asyncpg.Connection, changes: Changes) -> None:
    rows = _gathered(changes, [])
    if rows:
        columns = [_shortened(column) for gathered in rows.values() for column in zip(*gathered, strict=True)]
        await connection.execute(together(*rows), *columns)


def _shortened(column: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a column; empty if it has no value: unnest fills up with NULL what is shorter than the first column, an id. Most columns
    have none, and asyncpg's work on an element costs more than this look at all of them."""
    return () if column[0] is None and column.count(None) == len(column) else column


def _gathered(changes: Changes, index: list[tuple[Any, ...]]) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of those statements of `TOGETHER` that have any."""
    return {name: rows for name, rows in zip(TOGETHER, _rows_of(changes, index), strict=True) if rows}


def _rows_of(changes: Changes, index: list[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of each statement of `TOGETHER`."""
    yield index
    threads, runs = changes.threads.items(), changes.runs.items()
    yield [(id, *_NEW_THREAD(row)) for id, row in threads if row.created_at is not None]
    yield [(id, *_CHANGED_THREAD(row)) for id, row in threads if row.created_at is None]
    yield [(id, *_new_run(row, row.new)) for id, row in runs if row.new is not None]
    yield [(id, *_CHANGED_RUN(row)) for id, row in runs if row.new is None]
    yield [(t, *key, *row) for t, rows in changes.checkpoints.items() for key, row in rows.items()]
    yield [(t, *key, *row) for t, rows in changes.blobs.items() for key, row in rows.items()]
    yield list(_special_writes(changes))
    writes = [(t, *key, *row) for t, rows in changes.writes.items() for key, row in rows.items()]
    yield writes + list(_replaced_writes(changes))
    yield [(*key, t, data) for t, rows in changes.frames.items() for key, data in rows.items()]


def _special_writes(changes: Changes) -> Iterator[tuple[Any, ...]]:
    """Yield the special writes of the batch, each with each run that wrote it."""
    for thread_id, rows in changes.writes.items():
        replaced = changes.replaced_writes.get(thread_id, {})
        for key, row in rows.items():
            if key[-1] < 0:
                yield from ((thread_id, *key, run_id) for run_id in {row[WRITE_RUN], *replaced.get(key, ())})


def _replaced_writes(changes: Changes) -> Iterator[tuple[Any, ...]]:
    """Yield rows of writes that another run of the same batch has replaced, as ``keep_replaced_writes`` makes them."""
    for thread_id, replaced in changes.replaced_writes.items():
        for (namespace, checkpoint_id, task_id, index), by_run in replaced.items():
            current = changes.writes[thread_id][namespace, checkpoint_id, task_id, index][WRITE_RUN]
            for run_id, row in by_run.items():
                if run_id != current:
                    yield (thread_id, namespace, REPLACED + checkpoint_id, f"{task_id} {run_id or ''}", index, *row)


async def _write_parts_and_thin(connection: asyncpg.Connection, changes: Changes) -> None:
    """Write parts of large bodies, and remove checkpoints that are not kept, this batch's among them."""
    if changes.parts_done:
        await connection.execute(SQL["remove_parts"], list(changes.parts_done))
    if changes.parts:
        parts = [(*key, *row) for key, row in changes.parts.items()]
        await connection.execute(SQL["insert_parts"], *_columns(parts, 4))
    if changes.kept_latest:
        await connection.execute(SQL["keep_latest"], list(changes.kept_latest))
        await connection.execute(SQL["note_thinned"], list(changes.kept_latest), list(changes.kept_latest.values()))
    thinned = {*changes.kept_latest, *changes.removed_runs, *changes.removed_run_checkpoints}
    if thinned:
        await connection.execute(SQL["remove_orphan_blobs"], list(thinned))


async def _write_rest(connection: asyncpg.Connection, changes: Changes) -> None:
    if changes.assistants:
        await connection.execute(
            SQL["upsert_assistants"], *_columns([(id, *row) for id, row in changes.assistants.items()], 10)
        )
    if changes.versions:
        await connection.execute(
            SQL["insert_versions"], *_columns([(*key, *row) for key, row in changes.versions.items()], 9)
        )
    await changes.store.apply(connection)
    await changes.crons.apply(connection)
    await changes.dead_letters.apply(connection)
    if changes.graphs:
        await connection.execute(SQL["upsert_graphs"], *_columns([(id, *row) for id, row in changes.graphs.items()], 7))
    await changes.outcomes.apply(connection)


def _columns(rows: list[tuple[Any, ...]], width: int) -> list[tuple[Any, ...]]:
    """Return the rows by column, as unnest expects them."""
    return list(zip(*rows, strict=True)) if rows else [()] * width
