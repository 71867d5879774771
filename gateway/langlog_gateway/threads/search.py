"""Search and count of threads: one statement from fixed fragments, values as parameters only (wire contract §3)."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec
from langlog_backbone.postgres.database import load_sql
from langlog_schemas.rules.filters import Filter
from msgspec import UNSET

from ..auth.visibility import Parameters, conditions
from ..http.backends import Reads
from ..http.errors import ApiError, unprocessable
from ..http.page_cursor import Cursor, cursor_of
from ..http.validation import metadata_filter, uuid_of
from ..requests.threads import ThreadCount, ThreadSearch
from ..responses.members import raw
from ..responses.threads import THREAD_COLUMNS, Thread, selected_thread, thread

SQL = load_sql("langlog_gateway", "threads.sql")
EXTRACT_MAX = 10
EXTRACT_CHARACTERS_MAX = 1_000
"""Maximum length of one path, in characters. Postgres needs time for each step, in each row of the page."""
EXTRACT_ROOTS = {"config": "config", "interrupts": "interrupts", "metadata": "metadata", "values": "state_values"}

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(-?\d+)\]")
_ALL = (
    "thread_id, created_at, updated_at, state_updated_at, metadata, status, config, state_values, interrupts, error, "
    "has_checkpoints"
)


def filters(body: ThreadSearch | ThreadCount, visible: Filter | None, parameters: Parameters) -> str:
    """Return the WHERE clause."""
    parts = conditions(visible, parameters)
    if isinstance(body, ThreadSearch) and body.ids:
        parts.append(f"thread_id = ANY ({parameters.add([_id(x) for x in body.ids], '::text[]')})")
    named = {"graph_id": body.graph_id, "assistant_id": body.assistant_id}
    metadata = {**body.metadata, **{name: value for name, value in named.items() if value is not None}}
    if metadata:
        parts.append(f"metadata @> {parameters.add(metadata_filter(metadata), '::jsonb')}")
    if body.id_prefix:
        # as a range, which the index knows: ids are in C order
        begins = parameters.add(body.id_prefix.lower(), "::text")
        parts.append(f"thread_id >= {begins} AND thread_id < {begins} || '~'")
    for column, sign, moment in (
        ("created_at", ">=", body.created_after),
        ("created_at", "<", body.created_before),
        ("updated_at", ">=", body.updated_after),
        ("updated_at", "<", body.updated_before),
    ):
        if moment is not None:
            parts.append(f"{column} {sign} {parameters.add(moment, '::timestamptz')}")
    if body.values:
        parts.append(f"state_values @> {parameters.add(_json(body.values), '::jsonb')}")
    if body.status is not UNSET:
        # repeated as text in the query, so that the planner can use the partial index
        parts.append(f"status = {parameters.add(body.status)}")
        if body.status != "idle":
            parts.append("status <> 'idle'")
    return " AND ".join(parts) or "TRUE"


def _column(member: str) -> str:
    expression = THREAD_COLUMNS[member]
    return f"{expression} AS context" if member == "context" else expression


class Page(NamedTuple):
    threads: list[Thread]
    rows_read: int
    """Rows of the page; one more than the limit if there is a next page."""
    after: str | None
    """Cursor of the next page."""


async def search(reads: Reads, body: ThreadSearch, visible: Filter | None) -> Page:
    """Return one page. Raises ApiError."""
    parameters = Parameters()
    where = filters(body, visible, parameters)
    if body.after is not None:
        where += f" AND {_beyond(body, body.after, parameters)}"
    columns = ", ".join(_column(name) for name in dict.fromkeys(body.select)) if body.select else _ALL
    extracted = extractions(body.extract)
    for n, (_, column, path) in enumerate(extracted):
        columns += f", {column} #> {parameters.add(path, '::text[]')} AS extract_{n}"
    columns += f", {body.sort_by} AS cursor_at, thread_id AS cursor_id"
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
    more = len(rows) > body.limit and body.sort_by != "status"
    return Page(page, len(rows), _cursor(body, rows[body.limit - 1]).text() if more else None)


def _cursor(body: ThreadSearch, row: Any) -> Cursor:
    at = None if body.sort_by == "thread_id" else row["cursor_at"]
    return Cursor(body.sort_by, body.sort_order, row["cursor_id"], at)


def _beyond(body: ThreadSearch, after: str, parameters: Parameters) -> str:
    """Return the condition of rows after the cursor. Raises ApiError 422."""
    if body.sort_by == "status":
        raise unprocessable("after does not go with sort_by status: sort by a time or by thread_id, or use offset")
    at = cursor_of(after, body.sort_by, body.sort_order)
    sign = "<" if body.sort_order == "desc" else ">"
    if at.at is None:
        return f"thread_id {sign} {parameters.add(at.id, '::text')}"
    cursor = f"({parameters.add(at.at, '::timestamptz')}, {parameters.add(at.id, '::text')})"
    return f"({body.sort_by}, thread_id) {sign} {cursor}"


async def count(reads: Reads, body: ThreadCount, visible: Filter | None) -> int:
    parameters = Parameters()
    where = filters(body, visible, parameters)
    return int(await reads.value(SQL["count"].format(filters=where), *parameters.values))


def extractions(extract: dict[str, str]) -> list[tuple[str, str, list[str]]]:
    """Return (alias, column, path inside it) of each entry. Raises ApiError 422."""
    if len(extract) > EXTRACT_MAX:
        raise unprocessable(f"At most {EXTRACT_MAX} extract paths are allowed")
    columns = []
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
        columns.append((alias, EXTRACT_ROOTS[name], steps))
    return columns


def _id(text: str) -> str:
    try:
        return uuid_of(text, "thread")
    except ApiError:
        raise ApiError(400, f"Invalid thread ID {text}") from None


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
