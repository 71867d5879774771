"""Finds expired threads and store items (wire contract §3, §11 and §16) every few minutes.

The decider decides: the command for a thread means only that it may be due, and the decider, which knows runs in flight and
changes that are not folded yet, expires it or leaves it. An item is removed only if it still expires by the time of the query.
Ids are derived, so that two schedulers append the same.
"""

from __future__ import annotations

import asyncpg
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.project.config import Configuration
from langlog_backbone.project.ttl import store_ttl, thread_ttl
from langlog_backbone.time.clock import iso, now
from langlog_schemas import commands as cmd

SQL = load_sql("langlog_scheduler", "expiry.sql")

ITEMS_AT_ONCE = 10_000


class Expiry:
    """Raises StartError if the project's TTL sections are invalid."""

    def __init__(self, pool: asyncpg.Pool, configuration: Configuration) -> None:
        self._pool = pool
        self._threads, self._items = thread_ttl(configuration), store_ttl(configuration)

    @property
    def threads_every_s(self) -> float:
        return self._threads.sweep_interval_minutes * 60

    @property
    def items_every_s(self) -> float:
        return self._items.sweep_interval_minutes * 60

    async def threads(self) -> list[tuple[str, cmd.Body]]:
        """Return expire commands for threads that have not changed for their TTL."""
        rows = await self._pool.fetch(SQL["expired_threads"], cmd.TTL_MAX_MINUTES, self._threads.sweep_limit)
        return [
            (
                f"{row['thread_id']}-expire-{int(row['updated_at'].timestamp() * 1_000_000)}",
                cmd.ExpireThread(thread_id=row["thread_id"]),
            )
            for row in rows
        ]

    async def items(self) -> list[tuple[str, cmd.Body]]:
        """Return writes that remove store items, one for each namespace."""
        looked = now()
        moment = iso(looked)
        by_namespace: dict[tuple[str, ...], list[cmd.StoreOp]] = {}
        for row in await self._pool.fetch(SQL["expired_items"], looked, ITEMS_AT_ONCE):
            op = cmd.StoreOp(key=row["key"], expired_by=moment)
            by_namespace.setdefault(tuple(row["namespace"]), []).append(op)
        return [
            (f"{'.'.join(namespace)}-expire-{moment}", cmd.WriteStore(namespace=list(namespace), ops=ops))
            for namespace, ops in by_namespace.items()
        ]
