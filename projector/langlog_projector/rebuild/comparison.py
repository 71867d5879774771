"""Two read models compared: every table, every row, every column. Executed by Postgres, which has both; reads only.

Nothing is left out (`EXCLUDED` is empty): what a row holds is a function of the log alone. Not safe for concurrent use of one
connection; both models must be at the same positions in the connection's snapshot.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import asyncpg
import msgspec
from langlog_backbone.postgres.database import load_sql

SQL = load_sql("langlog_projector", "rebuild.sql")

EXCLUDED: dict[str, str] = {}
"""``table`` or ``table.column`` -> reason why it is not compared."""
SHOWN_ROWS = 1_000
"""Maximum number of differing rows that are listed per table; all are counted."""


class Difference(NamedTuple):
    table: str
    key: str
    """The row's primary key, as JSON."""
    column: str
    """``*``: the row is missing on one side."""
    live: str | None
    """Value as JSON. None: the row, column or table does not exist."""
    rebuilt: str | None


class Comparison(NamedTuple):
    tables: dict[str, int]
    """Table -> number of compared rows."""
    differences: list[Difference]
    rows_differing: int
    """Number of differing rows, of which ``differences`` lists `SHOWN_ROWS` per table."""

    @property
    def same(self) -> bool:
        return not self.rows_differing


async def compare(connection: asyncpg.Connection, live: str, rebuilt: str) -> Comparison:
    """Compare the schemas as the connection's transaction sees them."""
    ours, theirs = await _tables(connection, live), await _tables(connection, rebuilt)
    counted: dict[str, int] = {}
    differences: list[Difference] = []
    differing = 0
    for table in sorted({*ours, *theirs}):
        if table in EXCLUDED:
            continue
        a, b = ours.get(table, {}), theirs.get(table, {})
        differing_columns = [
            Difference(table, "", column, _type(a, column), _type(b, column))
            for column in {**a, **b}
            if _type(a, column) != _type(b, column)
        ]
        if differing_columns:
            differences += differing_columns
            differing += len(differing_columns)
            continue
        columns = {column: column_type for column, (column_type, _) in a.items() if f"{table}.{column}" not in EXCLUDED}
        keys = [column for column in a if a[column][1]]
        rows = await connection.fetch(_statement(table, columns, keys, live, rebuilt), SHOWN_ROWS)
        counted[table] = await connection.fetchval(f'SELECT count(*) FROM {live}."{table}"')  # noqa: S608
        if rows:
            differing += rows[0]["differing"]
            for row in rows:
                differences += _of_row(table, columns, keys, row)
    return Comparison(counted, differences, differing)


async def _tables(connection: asyncpg.Connection, schema: str) -> dict[str, dict[str, tuple[str, bool]]]:
    columns: dict[str, dict[str, tuple[str, bool]]] = {}
    for row in await connection.fetch(SQL["columns"], schema):
        columns.setdefault(row["table_name"], {})[row["column_name"]] = (row["type"], bool(row["is_key"]))
    return columns


def _type(columns: Mapping[str, tuple[str, bool]], name: str) -> str | None:
    return columns[name][0] if name in columns else None


def _statement(table: str, columns: Mapping[str, str], keys: list[str], live: str, rebuilt: str) -> str:
    """Return the statement that compares a table. Names come from Postgres' own catalog and from `ensure_read_model`'s check."""
    same_key = " AND ".join(f'a."{key}" = b."{key}"' for key in keys)
    ours, theirs = (
        # Postgres does not compare json
        ", ".join(
            f'{side}."{column}"{"::text" if column_type == "json" else ""}' for column, column_type in columns.items()
        )
        for side in "ab"
    )
    return f"""
        SELECT to_jsonb(a)::text AS live, to_jsonb(b)::text AS rebuilt, count(*) OVER () AS differing
        FROM {live}."{table}" a FULL JOIN {rebuilt}."{table}" b ON {same_key}
        WHERE ROW({ours}) IS DISTINCT FROM ROW({theirs})
        LIMIT $1
    """  # noqa: S608


def _of_row(table: str, columns: Collection[str], keys: list[str], row: Mapping[str, Any]) -> list[Difference]:
    live: dict[str, Any] | None = None if row["live"] is None else msgspec.json.decode(row["live"])
    rebuilt: dict[str, Any] | None = None if row["rebuilt"] is None else msgspec.json.decode(row["rebuilt"])
    some = live if live is not None else rebuilt
    assert some is not None
    key = _text({name: some[name] for name in keys})
    if live is None or rebuilt is None:
        return [
            Difference(
                table, key, "*", None if live is None else _text(live), None if rebuilt is None else _text(rebuilt)
            )
        ]
    return [
        Difference(table, key, column, _text(live[column]), _text(rebuilt[column]))
        for column in columns
        if live[column] != rebuilt[column]
    ]


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
