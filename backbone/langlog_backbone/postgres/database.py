"""Postgres: the pool, the read model's schema, and SQL kept in ``.sql`` files.

Every connection has the projection's schema as its search path, so that statements name bare tables and a
new projection version can be built beside the old one. JSON travels as text: it is passed on without being parsed.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from importlib.resources import files
from typing import Any

import asyncpg

from ..process.service import StartError
from ..process.settings import Settings
from ..time.range import in_range
from .connection import Connection
from .ddl import ensure_objects

MIN_VERSION = 14
CONNECT_TIMEOUT_S = 10.0

_SECTION = re.compile(r"^-- (name|part): (\w+)\s*$", re.MULTILINE)


def load_sql(package: str, file: str) -> dict[str, str]:
    """Return the statements of ``sql/<file>`` in a package: each opens with ``-- name: <name>``. A section ``-- part: <name>`` is text
    that several statements share, as ``{<name>}``."""
    text = files(package).joinpath("sql", file).read_text()
    _, *pieces = _SECTION.split(text)
    sections = list(zip(pieces[::3], pieces[1::3], (body.strip() for body in pieces[2::3]), strict=True))
    statements = {name: body for kind, name, body in sections if kind == "name"}
    for part, shared in ((name, body) for kind, name, body in sections if kind == "part"):
        statements = {name: body.replace(f"{{{part}}}", shared) for name, body in statements.items()}
    return statements


class Parameters:
    """Parameters of a composed statement, in the order of their first use."""

    def __init__(self, *values: Any) -> None:
        self.values: list[Any] = list(values)

    def add(self, value: Any, cast: str = "") -> str:
        """Return the placeholder of the value in the statement. A time to compare with is brought into range: asyncpg
        refuses what is beyond."""
        self.values.append(in_range(value) if isinstance(value, datetime) else value)
        return f"${len(self.values)}{cast}"


async def _nothing_to_reset(connection: object) -> None:
    """Skip the reset of a released connection: langlog leaves no session state behind, and asyncpg's own reset would be a
    round trip for every query."""


Opened = Callable[[asyncpg.Connection], Awaitable[None]]
"""Called with each new connection before it is used. The caller that wanted the connection gets what it raises."""


async def connect_pool(
    settings: Settings, *, size: int | None = None, opened: Opened | None = None, **session: str
) -> asyncpg.Pool:
    """Return a pool on the read model; ``session`` are settings of its connections.

    Raises StartError when Postgres cannot be reached or is too old.
    """
    try:
        pool = await asyncpg.create_pool(
            settings.database_uri,
            min_size=1,
            max_size=size or settings.postgres_pool_size,
            timeout=CONNECT_TIMEOUT_S,
            reset=_nothing_to_reset,
            init=opened,
            connection_class=Connection,
            server_settings={
                "search_path": f"{settings.projection},public",
                "application_name": "langlog",
                # prepared while a table is small, a plan that reads all of it would be kept when it has grown
                "enable_seqscan": "off",
                "jit": "off",
                **session,
            },
        )
    except (OSError, asyncpg.PostgresError, ValueError, TimeoutError) as error:
        raise StartError(f"Postgres cannot be reached (DATABASE_URI): {error}") from None
    try:
        check_version(await pool.fetchval("SHOW server_version_num"))
    except StartError:
        await pool.close()
        raise
    return pool


def of_services(settings: Settings) -> dict[str, str]:
    """Return session settings for the pools of services. A process that stands still, or is cut off, amid a transaction keeps its locks
    for a lease and no longer: those that take over its work wait for them."""
    return {"idle_in_transaction_session_timeout": f"{settings.lease_s * 1000:.0f}ms"}


def check_version(number: str) -> None:
    """Check the server's version. ``number``: its ``server_version_num`` (140011 is 14.11). Raises StartError for a server
    that is too old."""
    major = int(number) // 10_000
    if major < MIN_VERSION:
        raise StartError(f"Postgres {major} is too old: {MIN_VERSION} or newer is needed")


async def ensure_read_model(pool: asyncpg.Pool, settings: Settings) -> None:
    """Create the schema, its tables and indexes where they are missing. Several processes may call it at once. ``pool``: on
    that schema."""
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", settings.projection):
        raise StartError(f"LANGLOG_PROJECTION must be a plain identifier, not {settings.projection!r}")
    await ensure_objects(
        pool, settings.projection, files("langlog_backbone").joinpath("sql", "read_model.sql").read_text()
    )
