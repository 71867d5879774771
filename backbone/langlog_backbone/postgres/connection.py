"""Connections that close themselves when their session has lost the statements that were prepared on it.

asyncpg prepares each statement once and remembers it by a name. A pooler that puts another session behind a connection (PgBouncer in transaction
mode) or that discards a session's state leaves names without a statement, or with another one's. asyncpg would use them for as long as the
connection lives. A pool opens another connection in place of one that is closed.

Concurrency: as `asyncpg.Connection`. Death: statements under way fail.
"""

from __future__ import annotations

from typing import Any

import asyncpg

LOST_STATEMENTS = (
    asyncpg.InvalidSQLStatementNameError,  # 26000: the session does not know the name
    asyncpg.DuplicatePreparedStatementError,  # 42P05: it knows the name from another client
    asyncpg.ProtocolViolationError,  # 08P01: another client's statement of that name has other parameters
)


class Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """asyncpg's connection, closed after an error by which the server does not know its statements."""

    async def fetch(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().fetch(*args, **options)
        except LOST_STATEMENTS:
            self.terminate()
            raise

    async def fetchrow(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().fetchrow(*args, **options)
        except LOST_STATEMENTS:
            self.terminate()
            raise

    async def fetchval(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().fetchval(*args, **options)
        except LOST_STATEMENTS:
            self.terminate()
            raise

    async def execute(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().execute(*args, **options)
        except LOST_STATEMENTS:
            self.terminate()
            raise
