"""Sizes of the embedded log and the read model, read from their files and catalogs beside the server."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import NamedTuple

import asyncpg
from langlog_backbone.embedded.servers import LOG_FILE, EmbeddedPostgres

_RECORDS = "SELECT coalesce(sum(length(key) + length(headers) + length(value)), 0) FROM records"
_TABLES = """
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname LIKE 'langlog%'
"""


class StoredBytes(NamedTuple):
    log: int | None
    """Keys, headers and values of all records; None: the log is not the embedded one."""
    postgres: int
    """Tables with their indexes, in whole pages."""

    @classmethod
    async def now(cls, data: Path) -> StoredBytes:
        return cls(await asyncio.to_thread(_log_bytes, data / LOG_FILE), await _postgres_bytes(data))

    def since(self, before: StoredBytes) -> dict[str, float]:
        """Return the growth in bytes, by part."""
        grown: dict[str, float] = {"postgres": self.postgres - before.postgres}
        if self.log is not None and before.log is not None:
            grown["log"] = self.log - before.log
        return grown


def _log_bytes(path: Path) -> int | None:
    if not path.exists():
        return None
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return int(db.execute(_RECORDS).fetchone()[0])
    finally:
        db.close()


async def _postgres_bytes(data: Path) -> int:
    connection = await asyncpg.connect(EmbeddedPostgres(data).uri)
    try:
        return int(await connection.fetchval(_TABLES))
    finally:
        await connection.close()
