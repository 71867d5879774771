"""Runs over all threads: ``POST /runs/search`` and ``POST /runs/count`` (langlog's own). One statement from fixed fragments."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from aiohttp import web

from ..auth.sight import Sight, sight_of
from ..auth.visibility import Parameters
from ..core import Core, encoded_response, page_headers
from ..http.page_cursor import Cursor, cursor_of
from ..http.validation import metadata_filter, read_body, uuid_of
from ..requests.runs import RUNS_COUNT, RUNS_SEARCH, RunsCount, RunsSearch
from ..responses import runs
from .submission import SQL

CANCEL_REASON = """CASE WHEN status <> 'interrupted' THEN NULL WHEN cancel_reason IS NOT NULL THEN cancel_reason
    WHEN superseded_by IS NOT NULL THEN 'superseded by run ' || superseded_by ELSE coalesce(error ->> 'message', 'interrupt') END"""
"""Reason of a run's cancellation; null: it was not cancelled. Shown if a reason was given, and when selected."""
PARTIAL = ("pending", "running"), ("error", "timeout", "interrupted")
"""Statuses that a partial index holds: repeated as text in the query, so that the planner can use the index."""


class RunSearch:
    def __init__(self, core: Core) -> None:
        self._core = core

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/runs/search", self.search), web.post("/runs/count", self.count)]

    async def search(self, request: web.Request) -> web.Response:
        """Returns runs of all threads that meet all conditions, newest first; a run is seen by those who see its thread.

        Runs that were deleted with the thread of a run without a thread are not there any more. For the next page send the response
        header `x-pagination-after` as `after`, or `x-pagination-next` as `offset`.
        """
        body = await read_body(request, RUNS_SEARCH)
        sight = await self._sight(request, body)
        parameters = Parameters()
        where = conditions(body, sight, parameters)
        if body.after is not None:
            where += f" AND {_beyond(body, body.after, parameters)}"
        sql = SQL["search"].format(
            columns=run_columns(body.select),
            filters=where,
            direction="DESC" if body.sort_order == "desc" else "ASC",
            limit=parameters.add(body.limit + 1, "::bigint"),
            offset=parameters.add(body.offset, "::bigint"),
        )
        rows = await self._core.reads.rows(sql, *parameters.values)
        after = None
        if len(rows) > body.limit:
            last = rows[body.limit - 1]
            after = Cursor("created_at", body.sort_order, last["run_id"], last["created_at"]).text()
        headers = page_headers(body.offset, body.limit, len(rows), after)
        return encoded_response([runs.run(row, body.select) for row in rows[: body.limit]], headers=headers)

    async def count(self, request: web.Request) -> web.Response:
        """Returns the number of runs of all threads that meet all conditions."""
        body = await read_body(request, RUNS_COUNT)
        sight = await self._sight(request, body)
        parameters = Parameters()
        sql = SQL["count_all"].format(filters=conditions(body, sight, parameters))
        return encoded_response(int(await self._core.reads.value(sql, *parameters.values)))

    async def _sight(self, request: web.Request, body: RunsCount) -> Sight:
        """Return what the caller sees, after checking the ids in the body. Raises ApiError."""
        for name in ("thread", "assistant", "cron"):
            given: str | None = getattr(body, f"{name}_id")
            if given is not None:
                setattr(body, f"{name}_id", uuid_of(given, name))
        return await sight_of(request, "threads")


def conditions(body: RunsCount, sight: Sight, parameters: Parameters) -> str:
    """Return the WHERE clause. Raises FilterError."""
    clauses = []
    if not sight.everything:
        visible = " AND ".join(sight.conditions(parameters, "t.metadata"))
        clauses.append(f"EXISTS (SELECT FROM threads t WHERE t.thread_id = runs.thread_id AND {visible})")
    wanted = [body.status] if isinstance(body.status, str) else body.status
    if wanted:
        clauses.append(f"status = ANY ({parameters.add(list(wanted), '::text[]')})")
        for held in PARTIAL:
            if set(wanted) <= set(held):
                clauses.append(f"status IN ({', '.join(repr(status) for status in held)})")
    for column, value in (
        ("thread_id", body.thread_id),
        ("assistant_id", body.assistant_id),
        ("graph_id", body.graph_id),
        ("metadata ->> 'cron_id'", body.cron_id),
    ):
        if value is not None:
            clauses.append(f"{column} = {parameters.add(value, '::text')}")
    if body.cron_id is not None:
        clauses.append("metadata ? 'cron_id'")
    if body.metadata:
        clauses.append(f"metadata @> {parameters.add(metadata_filter(body.metadata), '::jsonb')}")
    for sign, moment in ((">=", body.created_after), ("<", body.created_before)):
        if moment is not None:
            clauses.append(f"created_at {sign} {parameters.add(moment, '::timestamptz')}")
    return " AND ".join(clauses) or "TRUE"


def _beyond(body: RunsSearch, after: str, parameters: Parameters) -> str:
    """Return the condition of rows after the cursor. Raises ApiError 422."""
    at = cursor_of(after, "created_at", body.sort_order)
    sign = "<" if body.sort_order == "desc" else ">"
    cursor = f"({parameters.add(at.at, '::timestamptz')}, {parameters.add(at.id, '::text')})"
    return f"(created_at, run_id) {sign} {cursor}"


def run_columns(select: Collection[Any]) -> str:
    """Return the columns for `runs.run`; ``kwargs``, which may be big, only when selected."""
    columns = "run_id, thread_id, assistant_id, metadata, status, multitask_strategy, created_at, updated_at, attempt, started_at"
    columns += f", {CANCEL_REASON} AS cancel_reason" if "cancel_reason" in select else ", cancel_reason"
    return columns if select and "kwargs" not in select else f"{columns}, kwargs"
