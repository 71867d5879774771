"""Plans of the statements of a run, of those who follow it, and of lists: they read as little of a thread of thousands of runs as of a short
one, and as little of thousands of threads as of few.

Plans are made once for all threads, from what the planner takes to be the usual length of one, often while the tables are still small; here
they are made on empty tables, and anew on full ones, without and with statistics.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from langlog_backbone.embedded.servers import EmbeddedPostgres
from langlog_backbone.postgres.database import connect_pool, ensure_read_model, load_sql
from langlog_backbone.process.settings import Settings

RUNS = 2_000
"""Runs of the long thread; each has three checkpoints."""
THREADS = 8_000
"""Number of threads in all; the table has more than two hundred pages."""
PAGES_MAX = 100
"""Maximum number of pages that a statement may read. A join that reads the checkpoints of the long thread reads more than a thousand."""

FILL = f"""
CREATE TEMP TABLE lives AS
    SELECT 'thread-' || n AS thread_id, CASE WHEN n = 1 THEN {RUNS} WHEN n <= 500 THEN 3 ELSE 0 END AS runs
    FROM generate_series(1, {THREADS}) n;
INSERT INTO threads (thread_id, created_at, updated_at, state_updated_at, metadata, status, config)
    SELECT thread_id, at, at, at, '{{}}', 'idle', '{{}}'
    FROM (SELECT thread_id, now() - random() * interval '1 day' AS at FROM lives) AS made;
INSERT INTO runs (run_id, thread_id, ordinal, assistant_id, graph_id, created_at, updated_at, status, metadata, kwargs,
                  multitask_strategy, attempt)
    SELECT thread_id || '-' || n, thread_id, n, 'a', 'a', now() - interval '1 day', now(), 'success', '{{}}', '{{}}', 'enqueue', 1
    FROM lives, generate_series(1, runs) n;
INSERT INTO checkpoints (thread_id, ns, checkpoint_id, parent_id, run_id, type, data, metadata, versions, log_position)
    SELECT thread_id, '', to_char(n, '000000'), to_char(n - 1, '000000'), thread_id || '-' || (n + 2) / 3, 'msgpack', '\\x00', '{{}}',
           jsonb_build_object('total', n::text), n
    FROM lives, generate_series(1, 3 * runs) n;
INSERT INTO checkpoint_blobs (thread_id, ns, channel, version, type, data)
    SELECT thread_id, ns, 'total', versions ->> 'total', 'msgpack', decode(repeat('ab', 200), 'hex') FROM checkpoints;
INSERT INTO checkpoint_writes (thread_id, ns, checkpoint_id, task_id, idx, task_path, channel, type, data)
    SELECT thread_id, ns, checkpoint_id, 'task', 0, '', 'total', 'msgpack', '\\x00' FROM checkpoints;
"""

THREAD, RUN, HEAD = "thread-1", f"thread-1-{RUNS}", f" {3 * RUNS:06}"
_READS: list[tuple[str, str, str, tuple[Any, ...]]] = [
    ("executor", "checkpoints", "latest", (THREAD, "", 1)),
    ("executor", "checkpoints", "one", (THREAD, "", 1, HEAD)),
    ("executor", "checkpoints", "page", (THREAD, "", 1 << 62, "", "{}", 10, "~")),
    ("executor", "checkpoints", "blobs", ([THREAD], [""], ["total"], ["7"])),
    ("executor", "checkpoints", "lineage", (THREAD, "", HEAD, ["total"], False)),
    ("executor", "checkpoints", "latest_without_run", (THREAD, RUN)),
    ("executor", "aggregates", "load_threads", ([THREAD],)),
    ("executor", "aggregates", "load_runs_in_flight", ([THREAD],)),
    ("gateway", "threads", "graph", (THREAD,)),
    ("gateway", "threads", "graph_if_started", (THREAD,)),
    ("gateway", "threads", "head", (THREAD,)),
    ("gateway", "runs", "run", (THREAD, RUN)),
    ("gateway", "runs", "progress", (THREAD, RUN)),
    ("gateway", "runs", "young", (THREAD, 10.0, 10)),
    ("gateway", "runs", "answer", (THREAD, RUN)),
    ("gateway", "runs", "last_of", ([THREAD],)),
    ("gateway", "runs", "statuses", (THREAD, [RUN])),
    ("gateway", "frames", "ended", (THREAD, [RUN])),
]


_SEARCH = load_sql("langlog_gateway", "threads.sql")["search"]
STATEMENTS: dict[str, tuple[str, tuple[Any, ...]]] = {
    f"{file}_{name}": (load_sql(f"langlog_{package}", f"{file}.sql")[name], values)
    for package, file, name, values in _READS
} | {
    f"threads_by_{column}_{direction}": (
        _SEARCH.format(
            columns="*",
            filters="TRUE",
            order=f"{column} {direction}" + (f", thread_id {direction}" if column != "thread_id" else ""),
            limit="$1::bigint",
            offset="$2::bigint",
        ),
        (11, 0),
    )
    for column in ("thread_id", "created_at", "updated_at", "state_updated_at")
    for direction in ("ASC", "DESC")
}
"""Name -> statement and its parameters."""


def _literal(value: Any) -> str:
    if isinstance(value, list):
        return f"ARRAY[{', '.join(map(_literal, value))}]"
    return f"'{value}'" if isinstance(value, str) else str(value)


@pytest.fixture
async def connection(postgres: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    settings = Settings(database_uri=postgres.uri, projection="plans")
    pool = await connect_pool(settings, size=1, plan_cache_mode="force_generic_plan")
    try:
        await ensure_read_model(pool, settings)
        async with pool.acquire() as connection:
            yield connection
            await connection.execute("DROP SCHEMA plans CASCADE")
    finally:
        await pool.close()


async def _prepared(connection: asyncpg.Connection, plans: str) -> None:
    for name, (statement, _) in STATEMENTS.items():
        await connection.execute(f"PREPARE {plans}_{name} AS {statement}")


def _call(plans: str, name: str) -> str:
    return f"EXECUTE {plans}_{name}({', '.join(map(_literal, STATEMENTS[name][1]))})"


async def _far_reaching(connection: asyncpg.Connection, plans: str) -> dict[str, int]:
    """Return the statements that read more than they may, with the number of pages."""
    found = {}
    for name in STATEMENTS:
        rows = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, SUMMARY OFF) {_call(plans, name)}")
        [pages, *_] = (line[0] for line in rows if "Buffers: " in line[0])
        read = sum(int(count) for count in re.findall(r"(?:hit|read)=(\d+)", pages))
        if read > PAGES_MAX:
            found[name] = read
    return found


async def test_statements_read_as_little_of_what_is_long(connection: asyncpg.Connection) -> None:
    await _prepared(connection, "empty")
    for name in STATEMENTS:  # the plan of each is kept from its first execution on
        await connection.fetch(_call("empty", name))
    await connection.execute(FILL)
    assert await _far_reaching(connection, "empty") == {}, "planned on empty tables"
    await _prepared(connection, "full")
    assert await _far_reaching(connection, "full") == {}, "planned on full tables without statistics"
    await connection.execute("ANALYZE")
    await _prepared(connection, "known")
    assert await _far_reaching(connection, "known") == {}, "planned by statistics"
