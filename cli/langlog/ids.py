"""Ids on the command line: their spelling, and the kind of an id where another kind is required. Reads Postgres only."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    import asyncpg

RUNS_SHOWN = 10
"""Maximum number of a thread's runs in a message, the newest first."""


def as_uuid(text: str, what: str) -> str:
    """Return the id in its canonical spelling. ``what``: the argument or option. Raises click.BadParameter."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not an id: ids are UUIDs", param_hint=what) from None


async def other_kind(pool: asyncpg.Pool, id: str, wanted: Literal["run", "thread"]) -> list[str]:
    """Return lines that explain an id of another kind than ``wanted``; for a thread, its runs.

    Empty if the read model does not know the id, or knows a ``wanted`` with it.
    """
    from langlog_backbone.postgres.database import load_sql

    sql = load_sql("langlog", "ids.sql")
    rows = {row["kind"]: row["of"] for row in await pool.fetch(sql["kinds"], id)}
    if wanted in rows:
        return []
    match rows:
        case {"thread": _} if wanted == "run":
            return [f"{id} is a thread.", *await runs_of_thread(pool, id)]
        case {"run": thread_id} if wanted == "thread":
            return [f"{id} is a run of thread {thread_id}."]
        case {"assistant": graph_id}:
            return [f"{id} is an assistant of graph {graph_id}."]
        case {"cron": assistant_id}:
            return [f"{id} is a cron of assistant {assistant_id}."]
        case _:
            return []


async def runs_of_thread(pool: asyncpg.Pool, thread_id: str) -> list[str]:
    """Return a line for each of the newest runs: id, status, when it was created."""
    from langlog_backbone.postgres.database import load_sql

    rows = await pool.fetch(load_sql("langlog", "ids.sql")["runs"], thread_id, RUNS_SHOWN)
    if not rows:
        return ["It has no runs."]
    total = rows[0]["total"]
    shown = f"the newest {len(rows)} of {total:,}" if total > len(rows) else f"{total}"
    return [
        f"Its runs ({shown}), the newest first:",
        *(
            f"  {row['run_id']}  {row['status']:<11}  {row['created_at'].isoformat(timespec='seconds')}  {row['graph_id']}"
            for row in rows
        ),
    ]
