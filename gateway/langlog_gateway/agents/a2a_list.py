"""``ListTasks`` of A2A: a page of tasks, of which each conversation is read and decoded once, and other values only where an
artifact shows them. No state; on the gateway's event loop."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from langlog_backbone.postgres.database import load_sql
from langlog_schemas.json_types import Object

from ..auth.access import authorize
from ..auth.visibility import narrowed
from ..core import Core
from ..http.backends import Reads
from . import a2a_tasks as tasks
from .a2a_call import Call, context_of
from .a2a_tasks import Task
from .json_rpc import INVALID_PARAMS, RpcError, flag_of

SQL = load_sql("langlog_gateway", "agents.sql")

SCOPE = "LangGraph-A2A-History-Scope"
TASKS_MAX = 100
"""Maximum number of tasks of a page."""

RunsByMark = Mapping[str, Mapping[str, str]]
"""Thread -> ``task_start_id`` -> run."""


class TaskLists:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def page(self, call: Call) -> Object:
        """Return the response of ``ListTasks``. Raises RpcError, and ApiError where the caller may not search threads."""
        params = call.params
        context = context_of(params) if params.get("contextId") else None
        wanted = call.dialect.state_of(str(params["status"])) if params.get("status") else None
        if params.get("status") and wanted is None and "UNSPECIFIED" not in str(params["status"]):
            raise RpcError(INVALID_PARAMS, f"Unknown task state: {params['status']}")
        size, offset = _number(params, "pageSize", 50) or 50, _number(params, "pageToken", 0)
        value: Object = {"metadata": {}, "limit": size, "offset": offset}
        visible = await authorize(call.request, "threads", "search", value)
        sql, values = narrowed(
            SQL["runs"],
            visible,
            context,
            call.assistant_id,
            None if wanted is None else tasks.STATUSES_OF_STATE[wanted],
            min(size, TASKS_MAX),
            offset,
            column="t.metadata",
        )
        artifacts = bool(flag_of(params, "includeArtifacts"))
        rows = await self._core.reads.rows(sql, *values)
        page = [tasks.task_of(row, row["thread_id"]) for row in rows]
        page = [task for task in page if wanted is None or task.state == wanted]
        spoken: dict[str, Any] = {}
        runs: RunsByMark = {}
        if call.history_length != 0:
            spoken = await self._conversations({task.thread_id for task in page})
            runs = await runs_by_mark(self._core.reads, spoken)
        ended = {task.thread_id for task in page if artifacts and task.state == "completed"}
        results = {**spoken, **await self._conversations(ended - spoken.keys())}
        silent = {thread_id for thread_id in ended if tasks.answer_of(results.get(thread_id)) is None}
        results |= await self._conversations(silent, whole=True)
        shown_tasks = [
            {
                "kind": "task",
                "id": task.id,
                "contextId": task.thread_id,
                "status": tasks.status(task, call.dialect),
                "artifacts": [tasks.artifact(task._replace(values=results.get(task.thread_id)), call.assistant_id)]
                if task.thread_id in ended and task.state == "completed"
                else [],
                "history": history(call, task._replace(values=spoken.get(task.thread_id)), runs),
            }
            for task in page
        ]
        total = rows[0]["total"] if rows else 0
        following = offset + len(rows)
        return {
            "tasks": shown_tasks,
            "totalSize": total,
            "pageSize": len(shown_tasks),
            "nextPageToken": str(following) if following < total else "",
        }

    async def _conversations(self, threads: Collection[str], *, whole: bool = False) -> dict[str, Any]:
        """Return the messages of threads, as ``{messages}``; ``whole``: all values. What the project has encrypted is whole
        in any case: its parts cannot be told."""
        if not threads:
            return {}
        reads = self._core.reads
        rows = await reads.rows(SQL["conversations"], list(threads), whole or reads.handlers() is not None)
        return {row["thread_id"]: tasks.values_of(row) for row in rows}


async def runs_by_mark(reads: Reads, threads: Collection[str]) -> RunsByMark:
    """Return the runs of threads by the marks that their messages carry."""
    runs: dict[str, dict[str, str]] = {thread_id: {} for thread_id in threads}
    for row in await reads.rows(SQL["marks"], list(runs)):
        runs[row["thread_id"]][row["mark"]] = row["run_id"]
    return runs


def history(call: Call, task: Task, runs: RunsByMark) -> list[Object]:
    """Return the messages of the task's context, or of the task alone, as the request wants them."""
    if call.history_length == 0:
        return []
    only = task.run_id if call.request.headers.get(SCOPE, "").lower() == "task" else None
    messages = tasks.history(task.values, task.thread_id, runs.get(task.thread_id, {}), call.dialect, only)
    return messages if call.history_length is None else messages[-call.history_length :]


def _number(params: Object, name: str, default: int) -> int:
    try:
        return max(0, min(int(params.get(name) or default), 2**31))
    except (TypeError, ValueError):
        raise RpcError(INVALID_PARAMS, f"{name} must be a number") from None
