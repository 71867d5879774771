"""Making tables and indexes in Postgres, only those that are missing.

``CREATE INDEX IF NOT EXISTS`` locks its table against writers even where the index is there, and a transaction of many such
statements deadlocks with transactions that write the same tables. So Postgres' catalog is read first, which locks nothing, and each
statement that is needed is a transaction of its own.

Concurrency: who makes objects holds one advisory lock, so that several processes may start at once; who renames schemas (a swap) holds
it too. Death: what was made stays, and the next start makes the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncpg

_STATEMENT = re.compile(r"(?:\$\$.*?\$\$|[^;])+", re.DOTALL)
_COMMENT = re.compile(r"--[^\n]*")
_MAKES = re.compile(r"CREATE (?:TABLE|(?:UNIQUE )?INDEX) IF NOT EXISTS (?:\w+\.)?(\w+)")

_LOCK = "SELECT pg_advisory_lock(hashtext('langlog.read_model'))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtext('langlog.read_model'))"
_OBJECTS = "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace($1)"


def statements(ddl: str) -> Iterator[tuple[str | None, str]]:
    """Yield each statement of a script with the name of the table or index that it creates, or None if it checks by itself
    whether it is needed."""
    for statement in _STATEMENT.findall(_COMMENT.sub("", ddl)):
        text = statement.strip()
        if text:
            made = _MAKES.match(text)
            yield (made[1] if made else None), text


async def ensure_objects(pool: asyncpg.Pool, schema: str, ddl: str) -> None:
    """Create the schema, and the script's missing tables and indexes.

    ``schema``: a plain identifier. ``ddl``: statements that end in semicolons: ``CREATE TABLE`` and ``CREATE INDEX`` with ``IF NOT
    EXISTS``, and ``DO`` blocks, which check by themselves and are executed each time. Raises asyncpg.PostgresError.
    """
    async with pool.acquire() as connection:
        await connection.execute(_LOCK)
        try:
            if await connection.fetchval("SELECT to_regnamespace($1) IS NULL", schema):
                await connection.execute(f"CREATE SCHEMA {schema}")
            there = {row["relname"] for row in await connection.fetch(_OBJECTS, schema)}
            for name, statement in statements(ddl):
                if name is None or name not in there:
                    await connection.execute(statement)
        finally:
            await connection.execute(_UNLOCK)
