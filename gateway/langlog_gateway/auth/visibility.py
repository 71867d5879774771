"""A caller's filter in SQL: the one place where it becomes a condition (wire contract §18). Values are parameters only.

Objects that do not match do not exist for the caller. `langlog_schemas.rules.filters` defines filters; deciders apply them
to the state that a command changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from langlog_backbone.postgres.database import Parameters
from langlog_schemas.rules.filters import Filter, Group, terms

from ..http.backends import Reads

__all__ = ["KEYS", "Parameters", "Table", "conditions", "narrowed", "seen"]

Table = Literal["threads", "assistants", "crons"]
KEYS: dict[Table, str] = {"threads": "thread_id", "assistants": "assistant_id", "crons": "cron_id"}


def conditions(visible: Filter | None, parameters: Parameters, column: str = "metadata") -> list[str]:
    """Return conditions to AND to a query; none without a filter. Raises FilterError.

    Each has the form that the GIN index of the metadata supports; where containment is weaker than equality, equality is added.
    """
    filters: list[str] = []
    for term in terms(visible or {}):
        if isinstance(term, Group):
            inner = [" AND ".join(conditions(one, parameters, column)) or "TRUE" for one in term.filters]
            filters.append("(" + f" {term.operator.upper()} ".join(f"({one})" for one in inner) + ")")
            continue
        contained = parameters.add(_json({term.key: term.value}), "::jsonb")
        filters.append(f"{column} @> {contained}")
        if term.operator == "contains":
            key = parameters.add(term.key, "::text")
            filters.append(f"jsonb_typeof({column} -> {key}) = 'array'")
        elif isinstance(term.value, dict | list | tuple):
            key = parameters.add(term.key, "::text")
            filters.append(f"{column} -> {key} = {parameters.add(_json(term.value), '::jsonb')}")
    return filters


def narrowed(sql: str, visible: Filter | None, *values: Any, column: str = "metadata") -> tuple[str, list[Any]]:
    """Return a statement whose ``{visible}`` is a condition, with its parameters; TRUE without a filter."""
    parameters = Parameters(*values)
    filters = " AND ".join(conditions(visible, parameters, column)) or "TRUE"
    return sql.replace("{visible}", filters), parameters.values


async def seen(reads: Reads, table: Table, ids: Sequence[str], visible: Filter | None) -> set[str]:
    """Return those of the ids that exist for the caller. Raises ApiError 503, FilterError."""
    key = KEYS[table]
    parameters = Parameters(list(ids))
    filters = [f"{key} = ANY ($1::text[])", *conditions(visible, parameters)]
    rows = await reads.rows(f"SELECT {key} AS id FROM {table} WHERE {' AND '.join(filters)}", *parameters.values)  # noqa: S608
    return {row["id"] for row in rows}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
