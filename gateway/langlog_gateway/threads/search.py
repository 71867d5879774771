"""Search and count of threads: one statement from fixed fragments, values as parameters only (wire contract §3)."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from langlog_backbone.postgres.database import load_sql
from langlog_schemas.rules.filters import Filter
from msgspec import UNSET

from ..auth.visibility import Parameters, conditions
from ..http.backends import Reads
from ..http.errors import ApiError, unprocessable
from ..http.requests import ThreadCount, ThreadSearch
from ..http.validation import uuid_of
from ..responses.members import raw
from ..responses.threads import THREAD_COLUMNS, Thread, selected_thread, thread

SQL = load_sql("langlog_gateway", "threads.sql")
EXTRACT_MAX = 10
EXTRACT_CHARACTERS_MAX = 1_000
"""Characters of one path. Postgres takes time for each step, in each row of the page."""
EXTRACT_ROOTS = {"config": "config", "interrupts": "interrupts", "metadata": "metadata", "values": "state_values"}

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(-?\d+)\]")
_ALL = (
    "thread_id, created_at, updated_at, state_updated_at, metadata, status, config, state_values, interrupts, error, "
    "has_checkpoints"
)


def filters(body: ThreadSearch | ThreadCount, visible: Filter | None, parameters: Parameters) -> str:
    """The WHERE clause."""
    found = conditions(visible, parameters)
    if isinstance(body, ThreadSearch) and body.ids:
        found.append(f"thread_id = ANY ({parameters.add([_id(x) for x in body.ids], '::text[]')})")
    if body.metadata:
        found.append(f"metadata @> {parameters.add(_json(body.metadata), '::jsonb')}")
    if body.values:
        found.append(f"state_values @> {parameters.add(_json(body.values), '::jsonb')}")
    if body.status is not UNSET:
        # said twice where the partial index has it, as text, so that the planner sees that it fits
        found.append(f"status = {parameters.add(body.status)}")
        if body.status != "idle":
            found.append("status <> 'idle'")
    return " AND ".join(found) or "TRUE"


def _column(member: str) -> str:
    expression = THREAD_COLUMNS[member]
    return f"{expression} AS context" if member == "context" else expression


async def search(reads: Reads, body: ThreadSearch, visible: Filter | None) -> tuple[list[Thread], int]:
    """The page, and how many rows were found (one over the limit: there is more). Raises ApiError."""
    parameters = Parameters()
    where = filters(body, visible, parameters)
    columns = ", ".join(_column(name) for name in dict.fromkeys(body.select)) if body.select else _ALL
    extracted = extractions(body.extract)
    for n, (_, column, path) in enumerate(extracted):
        columns += f", {column} #> {parameters.add(path, '::text[]')} AS extract_{n}"
    direction = "DESC" if body.sort_order == "desc" else "ASC"
    order = f"{body.sort_by} {direction}"
    if body.sort_by != "thread_id":
        order += f", thread_id {direction}"
    sql = SQL["search"].format(
        columns=columns,
        filters=where,
        order=order,
        limit=parameters.add(body.limit + 1, "::bigint"),
        offset=parameters.add(body.offset, "::bigint"),
    )
    rows = await reads.rows(sql, *parameters.values)
    page = []
    for row in rows[: body.limit]:
        shown = selected_thread(row, body.select) if body.select else thread(row)
        if body.extract:
            shown.extracted = {name: raw(row[f"extract_{n}"]) for n, (name, _, _) in enumerate(extracted)}
        page.append(shown)
    return page, len(rows)


async def count(reads: Reads, body: ThreadCount, visible: Filter | None) -> int:
    parameters = Parameters()
    where = filters(body, visible, parameters)
    return int(await reads.value(SQL["count"].format(filters=where), *parameters.values))


def extractions(extract: dict[str, str]) -> list[tuple[str, str, list[str]]]:
    """(alias, column, path inside it) of each entry. Raises ApiError 422."""
    if len(extract) > EXTRACT_MAX:
        raise unprocessable(f"At most {EXTRACT_MAX} extract paths are allowed")
    found = []
    for alias, path in extract.items():
        if len(path) > EXTRACT_CHARACTERS_MAX:
            raise unprocessable(
                f"The extract path of {alias!r} has {len(path)} characters, more than {EXTRACT_CHARACTERS_MAX}. Use a shorter one"
            )
        root = re.match(r"[^.\[]*", path)
        name = root.group() if root else ""
        if name not in EXTRACT_ROOTS:
            raise unprocessable(f"Extract path {path!r} must start with one of: {', '.join(sorted(EXTRACT_ROOTS))}")
        steps, at = [], len(name)
        while at < len(path):
            step = _STEP.match(path, at)
            if step is None:
                raise unprocessable(f"Extract path {path!r} is not understood at position {at}")
            steps.append(step.group(1) or step.group(2))
            at = step.end()
        found.append((alias, EXTRACT_ROOTS[name], steps))
    return found


def _id(text: str) -> str:
    try:
        return uuid_of(text, "thread")
    except ApiError:
        raise ApiError(400, f"Invalid thread ID {text}") from None


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
