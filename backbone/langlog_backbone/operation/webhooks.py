"""Deliveries of webhooks that have not reached their receivers: list those that wait and those that were given up, send these again.

Reading queries Postgres. Sending again appends the operator's request to the log (`commands.SendWebhookAgain`): the decider makes it
an event, with which the projector makes the delivery due, and a scheduler attempts it. See docs on webhooks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

import asyncpg
import msgspec
from langlog_schemas import commands as cmd

from ..log.port import Log
from ..log.records import command_record
from ..postgres.database import load_sql
from ..time.clock import new_id

SQL = load_sql("langlog_backbone", "webhooks.sql")
SOURCE = "/langlog/operator"
PAGE = 500
"""Maximum number of deliveries that are read, or sent again, at once."""
URL_CHARACTERS_MAX = 2_000
LAST = "\U0010ffff"
"""A text behind every id."""

State = Literal["given up", "waiting"]


class Undelivered(msgspec.Struct, frozen=True):
    """A delivery that has not reached its receiver."""

    run_id: str
    """Run whose end is delivered."""
    thread_id: str
    """Thread of the run."""
    status: State
    """`waiting` for its next attempt, or `given up`."""
    url: str
    """Address of the receiver, without credentials and query."""
    attempts: int
    """Attempts so far."""
    error: str | None
    """Reason why the last attempt failed. None: there was none yet."""
    run_ended_at: datetime
    """Time of the run's end."""
    last_attempt_at: datetime | None
    """Time of the last attempt."""
    next_attempt_at: datetime | None
    """Time of the next attempt. None: it was given up."""
    given_up_at: datetime | None
    """Time at which it was given up. None: it waits."""
    kept: bool
    """Whether its content is still there, so that it can be sent again."""


class Counts(NamedTuple):
    """Numbers of deliveries as of ``at``, by Postgres' clock."""

    waiting: int
    given_up: int
    sendable: int
    """Those of the given up whose content is still there."""
    at: datetime


class NotSendable(NamedTuple):
    """A run whose delivery cannot be sent again, and why."""

    run_id: str
    reason: str


def shown_url(url: str) -> str:
    """Return the address of a receiver without what may be secret: user, password, values of the query, fragment. Pure; any text is
    accepted."""
    address, query, _ = url.partition("#")[0].partition("?")
    scheme, separator, rest = address.partition("://")
    if separator:
        authority, slash, path = rest.partition("/")
        address = f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
    return address[:URL_CHARACTERS_MAX] + ("?…" if query else "")


async def undelivered(
    pool: asyncpg.Pool, status: State, thread_id: str | None = None, *, limit: int
) -> AsyncIterator[list[Undelivered]]:
    """Yield pages of deliveries, ``limit`` in all: the last given up first, or the next one to be attempted first."""
    given_up = status == "given up"
    statement = SQL["given_up" if given_up else "waiting"]
    after: tuple[datetime | None, str] = (None, LAST if given_up else "")
    while limit > 0:
        rows = await pool.fetch(statement, *after, thread_id, min(limit, PAGE))
        if not rows:
            return
        yield [delivery(row) for row in rows]
        limit -= len(rows)
        after = rows[-1]["settled_at" if given_up else "next_attempt_at"], rows[-1]["run_id"]


async def counts(pool: asyncpg.Pool, thread_id: str | None = None) -> Counts:
    """Return how many deliveries wait and were given up, of one thread or in all."""
    row = await pool.fetchrow(SQL["counts"], thread_id)
    assert row is not None, "an aggregate without GROUP BY gives a row"
    return Counts(*row.values())


async def send_again(pool: asyncpg.Pool, log: Log, run_ids: Sequence[str]) -> tuple[int, list[NotSendable]]:
    """Request that the deliveries of these runs be attempted again. Return how many that are, and which runs have none to be sent.

    Raises LogUnavailable, AppendUnknown."""
    sent, refused = 0, []
    wanted = list(dict.fromkeys(run_ids))
    for first in range(0, len(wanted), PAGE):
        some = wanted[first : first + PAGE]
        rows = {row["run_id"]: row for row in await pool.fetch(SQL["of_runs"], some)}
        reasons = {run_id: _reason(rows.get(run_id)) for run_id in some}
        refused += [NotSendable(run_id, reason) for run_id, reason in reasons.items() if reason]
        sent += await _append(log, [rows[run_id] for run_id, reason in reasons.items() if not reason])
    return sent, refused


async def send_all_again(
    pool: asyncpg.Pool, log: Log, until: datetime, thread_id: str | None = None
) -> AsyncIterator[int]:
    """Request that all deliveries given up until a time be attempted again, the first given up first; yield how many, page by page.

    Raises LogUnavailable, AppendUnknown."""
    after: tuple[datetime | None, str] = (None, "")
    while rows := await pool.fetch(SQL["to_send_again"], *after, thread_id, PAGE, until):
        yield await _append(log, rows)
        after = rows[-1]["settled_at"], rows[-1]["run_id"]


async def _append(log: Log, rows: Sequence[Any]) -> int:
    requests = [
        cmd.SendWebhookAgain(thread_id=row["thread_id"], run_id=row["run_id"], attempts=row["attempts"]) for row in rows
    ]
    if requests:
        await log.append([command_record(request, id=new_id(), source=SOURCE) for request in requests])
    return len(requests)


def _reason(row: Any) -> str | None:
    """Return why a delivery cannot be sent again; None: it can."""
    if row is None:
        return "it has no webhook, or its delivery ended more than a week ago"
    if row["delivered"]:
        return f"its webhook was delivered at {row['settled_at'].isoformat(timespec='seconds')}"
    if row["settled_at"] is None:
        return f"its webhook waits for its next attempt at {row['next_attempt_at'].isoformat(timespec='seconds')}"
    if not row["kept"]:
        return "its webhook was given up by a version of langlog that kept no content"
    return None


def delivery(row: Any) -> Undelivered:
    """Return the delivery of a row of ``webhooks``."""
    last = {} if row["last_attempt"] is None else msgspec.json.decode(row["last_attempt"])
    at = last.get("attempted_at")
    return Undelivered(
        run_id=row["run_id"],
        thread_id=row["thread_id"],
        status="waiting" if row["settled_at"] is None else "given up",
        url=shown_url(row["url"]),
        attempts=row["attempts"],
        error=last.get("error"),
        run_ended_at=row["ended_at"],
        last_attempt_at=None if at is None else datetime.fromisoformat(at),
        next_attempt_at=row["next_attempt_at"],
        given_up_at=row["settled_at"],
        kept=row["kept"],
    )
