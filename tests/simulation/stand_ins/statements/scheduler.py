"""Stand-ins of the statements of the scheduler."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from ..memory_postgres import PostgresServer
from .registration import FLIGHT, now, parked, reads


@reads("scheduler", "scheduler", "runs_in_flight")
def runs_in_flight(server: PostgresServer, ids: list[str]) -> list[dict[str, Any]]:
    names = ("run_id", "thread_id", "attempt", "crashes", "cancel", "graph_id", "temporary")
    return [
        {
            **{n: r[n] for n in names},
            "started": r["status"] == "running",
            "config": server.tables["threads"][r["thread_id"],]["config"],
        }
        for r in (server.tables["runs"].get((id,)) for id in ids)
        if r is not None
        and r["status"] in FLIGHT
        and (r["thread_id"],) in server.tables["threads"]
        and not parked(server, r["thread_id"])
    ]


@reads("scheduler", "scheduler", "dispatched_runs")
def dispatched_runs(server: PostgresServer, seconds: float) -> list[dict[str, Any]]:
    before = now(server) - timedelta(seconds=seconds)
    return [
        {
            **{n: r[n] for n in ("run_id", "thread_id", "attempt")},
            "started": r["status"] == "running"
            and (None if r["started_at"] is None else r["started_at"] >= r["dispatched_at"]),
        }
        for r in server.tables["runs"].values()
        if r["status"] in FLIGHT
        and r["attempt"] > 0
        and r["dispatched_at"] is not None
        and r["dispatched_at"] < before
        and not parked(server, r["thread_id"])
    ]


@reads("scheduler", "scheduler", "overdue_runs")
def overdue_runs(server: PostgresServer, seconds: float) -> list[dict[str, Any]]:
    before = now(server) - timedelta(seconds=seconds)
    names = ("run_id", "thread_id", "attempt", "graph_id", "temporary")
    return [
        {**{n: r[n] for n in names}, "config": server.tables["threads"][r["thread_id"],]["config"]}
        for r in server.tables["runs"].values()
        if r["status"] == "running"
        and r["started_at"] is not None
        and r["started_at"] < before
        and (r["thread_id"],) in server.tables["threads"]
        and not parked(server, r["thread_id"])
    ]


def _delayed(server: PostgresServer) -> Iterator[dict[str, Any]]:
    for r in server.tables["runs"].values():
        if r["status"] == "pending" and r["attempt"] == 0 and r["not_before"] is not None:
            yield r


@reads("scheduler", "scheduler", "due_runs")
def due_runs(server: PostgresServer) -> list[dict[str, Any]]:
    at = now(server)
    due = [{"at": at, **{n: r[n] for n in ("run_id", "thread_id")}} for r in _delayed(server) if r["not_before"] <= at]
    return due or [{"at": at, "run_id": None, "thread_id": None}]


def _until(server: PostgresServer, moments: list[datetime]) -> list[dict[str, Any]]:
    return [{"seconds": (min(moments) - now(server)).total_seconds() if moments else None}]


@reads("scheduler", "scheduler", "next_due")
def next_due_run(server: PostgresServer, after: datetime) -> list[dict[str, Any]]:
    return _until(server, [r["not_before"] for r in _delayed(server) if r["not_before"] > after])


@reads("scheduler", "scheduler", "run_positions")
def run_positions(server: PostgresServer) -> list[dict[str, Any]]:
    return [
        {"part": p, "offset": row["offset"]} for (t, p), row in server.tables["positions"].items() if t == "run-events"
    ]


@reads("scheduler", "expiry", "expired_threads")
def expired_threads(server: PostgresServer, longest: float, limit: int) -> list[dict[str, Any]]:
    at = now(server)
    return sorted(
        (
            {"thread_id": t["thread_id"], "updated_at": t["updated_at"]}
            for t in server.tables["threads"].values()
            if t["ttl_minutes"] is not None
            and t["status"] != "busy"
            and t["updated_at"] + timedelta(minutes=min(t["ttl_minutes"], longest)) <= at
            and (t["ttl_strategy"] == "delete" or t["thinned_at"] is None or t["thinned_at"] < t["updated_at"])
        ),
        key=lambda t: t["updated_at"],
    )[:limit]


@reads("scheduler", "expiry", "expired_items")
def expired_items(server: PostgresServer, at: datetime, limit: int) -> list[dict[str, Any]]:
    return []


def _waiting_crons(server: PostgresServer, fired: set[tuple[str, datetime]]) -> list[dict[str, Any]]:
    return [
        c
        for c in server.tables["crons"].values()
        if c["enabled"]
        and (c["ends_at"] is None or c["next_run_date"] <= c["ends_at"])
        and (c["cron_id"], c["next_run_date"]) not in fired
        and not parked(server, c["cron_id"])
    ]


@reads("scheduler", "crons", "due")
def due_crons(server: PostgresServer, limit: int, ids: list[str], dates: list[datetime]) -> list[dict[str, Any]]:
    at, rows = now(server), []
    waiting = _waiting_crons(server, set(zip(ids, dates, strict=True)))
    for c in sorted((c for c in waiting if c["next_run_date"] <= at), key=lambda c: c["next_run_date"])[:limit]:
        a = server.tables["assistants"].get((c["assistant_id"],), {})
        of = {f"assistant_{name}": a.get(name) for name in ("config", "context", "metadata")}
        rows.append({**c, "now": at, "graph_id": a.get("graph_id"), **of})
    return rows


@reads("scheduler", "crons", "next_due")
def next_due_cron(server: PostgresServer, ids: list[str], dates: list[datetime]) -> list[dict[str, Any]]:
    return _until(server, [c["next_run_date"] for c in _waiting_crons(server, set(zip(ids, dates, strict=True)))])


@reads("scheduler", "crons", "shown")
def shown_crons(server: PostgresServer, ids: list[str]) -> list[dict[str, Any]]:
    found = (server.tables["crons"].get((id,)) for id in ids)
    return [{n: c[n] for n in ("cron_id", "next_run_date")} for c in found if c is not None]


@reads("scheduler", "crons", "pending")
def pending_runs(server: PostgresServer, limit: int) -> list[dict[str, Any]]:
    return [{"count": min(limit, sum(r["status"] == "pending" for r in server.tables["runs"].values()))}]


@reads("scheduler", "webhooks", "due")
def due_webhooks(
    server: PostgresServer, passed: list[str], most: int, share: int, users: list[str], taken: list[int]
) -> list[dict[str, Any]]:
    at, under_way = now(server), dict(zip(users, taken, strict=True))
    due = [
        w
        for w in server.tables["webhooks"].values()
        if w["next_attempt_at"] is not None and w["next_attempt_at"] <= at and w["run_id"] not in passed
    ]
    rows = []
    for w in sorted(due, key=lambda w: w["next_attempt_at"]):
        user = w["user_id"]
        if user and under_way.get(user, 0) >= share:
            continue
        under_way[user] = under_way.get(user, 0) + 1
        rows.append({n: w[n] for n in ("run_id", "attempts", "user_id")})
    return rows[:most]


@reads("scheduler", "webhooks", "next_due")
def next_due_webhook(server: PostgresServer, passed: list[str], full: list[str]) -> list[dict[str, Any]]:
    return _until(
        server,
        [
            w["next_attempt_at"]
            for w in server.tables["webhooks"].values()
            if w["next_attempt_at"] is not None and w["run_id"] not in passed and w["user_id"] not in full
        ],
    )


@reads("scheduler", "webhooks", "attempts")
def webhook_attempts(server: PostgresServer, ids: list[str]) -> list[dict[str, Any]]:
    found = (server.tables["webhooks"].get((id,)) for id in ids)
    return [{n: w[n] for n in ("run_id", "attempts")} for w in found if w is not None]


@reads("scheduler", "webhooks", "delivery")
def delivery(server: PostgresServer, run_id: str, attempts: int) -> list[dict[str, Any]]:
    w = server.tables["webhooks"].get((run_id,))
    if w is None or w["attempts"] != attempts or w["next_attempt_at"] is None:
        return []
    return [{**w, "attempts_before": max(map(int, re.findall(r"again after (\d+), ", w["attempt_log"])), default=0)}]
