"""Erasure of a thread: its key is destroyed in the transaction that removes its rows, and its other data is removed too.

A rebuild removes the same rows, but destroys no key: the thread may have been created again since. Records of an erased
thread have no body, and are skipped; so both models hold the same.

Part of a `Projection`; without state of its own.
"""

from __future__ import annotations

from collections.abc import Collection

import asyncpg
from langlog_backbone.log.encryption.keys import FORGOTTEN_DAYS, statements
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.process.settings import Settings

from .folding.changes import Changes

SQL = load_sql("langlog_projector", "erasure.sql")


class Erasure:
    def __init__(self, settings: Settings, *, keys: bool) -> None:
        self._keys = statements(settings) if keys else None

    async def before(self, connection: asyncpg.Connection, threads: Collection[str]) -> None:
        """Run before the batch in which these threads are removed, in its transaction."""
        ids = list(threads)
        for name in ("outcomes", "webhooks", "dead_letters"):
            await connection.execute(SQL[name], ids)
        if self._keys is not None:
            await connection.execute(self._keys["destroy"], ids)
            await connection.execute(self._keys["forget"], FORGOTTEN_DAYS)

    async def after(self, connection: asyncpg.Connection, changes: Changes) -> None:
        """Run after the batch, in its transaction."""
        runs = list({row.run_id for row in changes.webhook_steps})
        if runs:
            await connection.execute(SQL["settled_webhooks"], runs)


async def take_along(connection: asyncpg.Connection, live: str, rebuilt: str) -> None:
    """Copy webhooks of erased threads that are not settled from the live model into one beside it, at the same positions.

    Their content is no longer in the log. Others were rebuilt from the log and stay. Names of schemas are those
    that `ensure_read_model` has checked.
    """
    names = ", ".join(f'"{name}"' for name in await connection.fetchval(SQL["columns_of_webhooks"], rebuilt))
    await connection.execute(
        f"INSERT INTO {rebuilt}.webhooks ({names}) SELECT {names} FROM {live}.webhooks w WHERE w.settled_at IS NULL "  # noqa: S608
        f"AND NOT EXISTS (SELECT FROM {live}.threads t WHERE t.thread_id = w.thread_id AND t.created_at <= w.created_at) "
        "ON CONFLICT DO NOTHING"
    )
