"""Data outside the log that cannot be derived from it: keys of threads, credentials of runs under way, the secret of the deployment.

All else in Postgres is folded from the log, and Redis holds only data that may be lost. The secret is set (``LANGLOG_SECRET``), in a
file beside an embedded log, or in Postgres (`credentials.deployment_secret`); the rest is in Postgres, in the schema of the keys.

Concurrency: reads are pages, each a statement; rows that are inserted meanwhile may be missing. So the log is read first where both
change: a thread's key is on disk before its first record.
Death: written rows stay, and writing them again changes nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import cast

import asyncpg
import msgspec

from ..credentials.deployment_secret import SQLITE, keep_in_file
from ..log import LogFault
from ..log.encryption.keys import PLAIN_NAME
from ..postgres.database import connect_pool, load_sql
from ..postgres.ddl import ensure_objects
from ..process.settings import Settings

PAGE_ROWS = 1_000


class KeyOfThread(msgspec.Struct, frozen=True, array_like=True, tag="thread_key"):
    thread_id: str
    key_id: str | None
    """The key, or None if it was erased."""
    key: bytes | None
    wrapped: bool
    """Whether a master key wraps it, without which it is of no use."""
    erased_at: datetime | None


class Credentials(msgspec.Struct, frozen=True, array_like=True, tag="credentials"):
    """Credentials of a run's caller, sealed under the secret of the deployment."""

    run_id: str
    sealed: bytes
    kept_at: datetime


class Secret(msgspec.Struct, frozen=True, array_like=True, tag="secret"):
    """The secret of the deployment, if LANGLOG_SECRET does not set it."""

    secret: bytes


Row = KeyOfThread | Credentials | Secret


class OtherKeys(LogFault):
    """The deployment already has another key of the same thread."""


def _statements(settings: Settings, name: str) -> dict[str, str]:
    if not re.fullmatch(PLAIN_NAME, settings.keys_schema):
        raise LogFault(f"LANGLOG_KEYS_SCHEMA must be a plain identifier, not {settings.keys_schema!r}")
    texts = load_sql("langlog_backbone", name)
    return {key: text.replace("{schema}", settings.keys_schema) for key, text in texts.items()}


async def rows_beside(settings: Settings, *, secret: bool) -> AsyncIterator[list[Row]]:
    """Yield all rows, in pages. ``secret``: include the secret of the deployment, if it is not set.

    Raises StartError and what Postgres raises; OSError.
    """
    sql = _statements(settings, "beside.sql")
    if secret and (own := await made_secret(settings)) is not None:
        yield [Secret(own)]
    pool = await connect_pool(settings, size=1)
    try:
        for table, kind in (("thread_keys", KeyOfThread), ("credentials", Credentials)):
            of = "thread_keys" if table == "thread_keys" else "run_credentials"
            last = ""
            if not await pool.fetchval(sql["there"], f"{settings.keys_schema}.{of}"):
                continue
            while page := await pool.fetch(sql[table], last, PAGE_ROWS):
                last = page[-1][0]
                yield [kind(*row) for row in page]
    finally:
        await pool.close()


async def unwrapped(settings: Settings) -> int:
    """Return the number of keys of threads that no master key wraps. Raises the errors of `rows_beside`."""
    sql = _statements(settings, "beside.sql")
    pool = await connect_pool(settings, size=1)
    try:
        if not await pool.fetchval(sql["there"], f"{settings.keys_schema}.thread_keys"):
            return 0
        return cast("int", await pool.fetchval(sql["unwrapped"]))
    finally:
        await pool.close()


async def made_secret(settings: Settings) -> bytes | None:
    """Return the secret that was created for this deployment, or None if it is set or none was created. Raises as `rows_beside`."""
    if settings.secret:
        return None
    if settings.log_uri.startswith(SQLITE):
        path = _secret_file(settings)
        return await asyncio.to_thread(lambda: path.read_bytes() if path.exists() else None)
    pool = await connect_pool(settings, size=1)
    try:
        sql = _statements(settings, "deployment_secret.sql")
        if not await pool.fetchval("SELECT to_regclass($1) IS NOT NULL", f"{settings.keys_schema}.secrets"):
            return None
        return cast("bytes | None", await pool.fetchval(sql["get"]))
    finally:
        await pool.close()


def _secret_file(settings: Settings) -> Path:
    return Path(settings.log_uri.removeprefix(SQLITE) + ".secret")


class Writer:
    """Stores rows for the deployment with these ``settings``. A context manager that returns itself.

    Raises OtherKeys, StartError, Postgres' errors, OSError.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sql = _statements(settings, "beside.sql")
        self._pool: asyncpg.Pool | None = None
        self.keys = self.credentials = 0
        self.secret = False

    async def __aenter__(self) -> Writer:
        settings = self._settings
        # as those that write them: none of this can be made again from the log
        self._pool = await connect_pool(settings, size=1, synchronous_commit="on")
        for name in ("thread_keys.sql", "run_credentials.sql"):
            await ensure_objects(self._pool, settings.keys_schema, _statements(settings, name)["schema"])
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._pool is not None:
            await self._pool.close()

    async def put(self, rows: Sequence[Row]) -> None:
        keys = [row for row in rows if isinstance(row, KeyOfThread)]
        credentials = [row for row in rows if isinstance(row, Credentials)]
        for row in rows:
            if isinstance(row, Secret):
                await self._put_secret(row.secret)
        if keys:
            assert self._pool is not None
            columns = zip(*((k.thread_id, k.key_id, k.key, k.wrapped, k.erased_at) for k in keys), strict=True)
            other = await self._pool.fetch(self._sql["put_thread_keys"], *map(list, columns))
            if other:
                raise OtherKeys(
                    f"{self._settings.keys_schema} holds another key of thread {other[0]['thread_id']} and {len(other) - 1} more: it belongs to "
                    "another langlog. Use an empty database, or LANGLOG_KEYS_SCHEMA"
                )
        if credentials:
            assert self._pool is not None
            columns = zip(*((c.run_id, c.sealed, c.kept_at) for c in credentials), strict=True)
            await self._pool.execute(self._sql["put_credentials"], *map(list, columns))
        self.keys += len(keys)
        self.credentials += len(credentials)

    async def _put_secret(self, secret: bytes) -> None:
        settings = self._settings
        there = await made_secret(settings)
        if there not in (None, secret):
            raise OtherKeys(
                "the target has a secret of its own (LANGLOG_SECRET was never set there): it belongs to another langlog"
            )
        self.secret = True
        if there is not None or settings.secret:
            return
        if settings.log_uri.startswith(SQLITE):
            await asyncio.to_thread(keep_in_file, _secret_file(settings), secret)
            return
        assert self._pool is not None
        sql = _statements(settings, "deployment_secret.sql")
        await self._pool.execute(sql["schema"])
        await self._pool.execute(sql["add"], secret)
