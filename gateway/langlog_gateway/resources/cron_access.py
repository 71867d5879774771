"""Permissions to see, delete and fire crons (wire contract §10 and §18).

A cron creates runs later, so creating one requires the permissions of its runs: its run passes the steps of every run's submission up to
the handlers of ``threads.create_run`` and ``assistants.read``, and their result is stored with the cron (`CronAuthority`), because
schedulers have no handlers to call.
A cron on a thread can also be seen and removed by the callers who may update that thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import structlog
from aiohttp import web
from langlog_backbone.postgres.database import load_sql
from langlog_schemas.rules.cron_authority import CronAuthority, changes_between
from langlog_schemas.rules.filters import Filter
from langlog_schemas.runs.request import Assistant

from ..auth.access import authorize, guarded
from ..auth.sight import Sight
from ..auth.visibility import Parameters, conditions, seen
from ..core import Core, origin_of
from ..http.errors import ApiError
from ..runs.submission import RunIds, RunSubmission, ValidRun

SQL = load_sql("langlog_gateway", "crons.sql")

logger = structlog.get_logger(__name__)


CronAction = Literal["read", "delete"]


class CronAccess:
    def __init__(self, core: Core, submission: RunSubmission) -> None:
        self._core = core
        self._submission = submission

    async def authority(
        self,
        request: web.Request,
        run: ValidRun,
        assistant: Assistant,
        thread_id: str | None,
        missing: ApiError,
        *,
        temporary: bool,
    ) -> CronAuthority | None:
        """Return the permissions of the cron's runs by the project's handlers; None: there are no handlers. The run's
        metadata is the cron's.

        Raises ``missing`` if the caller may not run on the thread, and ApiError if a handler refuses.
        """
        origin = origin_of(request)
        stateless = thread_id is None
        ids = RunIds(
            thread_id=origin.mint("cron's thread") if thread_id is None else thread_id,
            run_id=origin.mint("cron's run"),
            stateless=stateless,
            temporary=temporary,
        )
        merged = await self._submission.merge_config(request, run, assistant, ids)
        before: dict[str, Any] = {"metadata": _copy(merged.layered.metadata)}
        authorised = await self._submission.authorise(request, merged)
        if not guarded(request):
            return None
        if thread_id is not None and not await seen(self._core.reads, "threads", [thread_id], authorised.visible):
            raise missing
        before["kwargs"] = msgspec.json.decode(merged.layered.kwargs)
        after = {"metadata": authorised.metadata, "kwargs": authorised.kwargs}
        return CronAuthority(
            thread=authorised.visible,
            assistant=await self._submission.assistants.filter(request, assistant),
            changes=list(changes_between(before, after)),
        )

    async def admit(self, request: web.Request, action: CronAction, cron_id: str, missing: ApiError) -> Filter | None:
        """Return the filter for a command to the cron. Raises ``missing`` when the cron is neither the caller's nor on a
        thread of theirs."""
        visible = await authorize(request, "crons", action, {"cron_id": cron_id})
        if not visible or await seen(self._core.reads, "crons", [cron_id], visible):
            return visible
        thread_id = await self._core.reads.value(SQL["thread_of"], cron_id)
        threads = None if thread_id is None else await self._threads(request, thread_id)
        if threads:
            parameters = Parameters(cron_id)
            sql = f"SELECT EXISTS (SELECT FROM crons WHERE cron_id = $1 AND {_on_thread(threads, parameters)})"  # noqa: S608
            if await self._core.reads.value(sql, *parameters.values):
                return None  # a thread's id is part of a cron for good: the decider has nothing to compare
        raise missing

    async def narrowed(
        self, request: web.Request, sql: str, value: Mapping[str, Any], *values: Any
    ) -> tuple[str, list[Any]]:
        """Return a statement about ``crons`` whose ``{visible}`` is a condition, with its parameters. Raises ApiError.

        ``value`` is what the handlers of ``crons.search`` are shown: what they add to its metadata narrows the caller's own crons.
        """
        sight = await self.sight(request, value)
        parameters = Parameters(*values)
        filters = " AND ".join(sight.conditions(parameters)) or "TRUE"
        return sql.replace("{visible}", filters), parameters.values

    async def sight(self, request: web.Request, value: Mapping[str, Any]) -> Sight:
        """Return what the caller sees of crons, for a search with the conditions in ``value``. Raises ApiError."""
        shown: dict[str, Any] = {**value, "metadata": dict(value["metadata"])}
        visible = await authorize(request, "crons", "search", shown)
        added = shown["metadata"] if shown["metadata"] != value["metadata"] else {}
        own = Sight(visible=visible or {}, metadata=added)
        threads = None if own.everything else await self._threads(request, value.get("thread_id"))
        return Sight(visible=own.visible, metadata=own.metadata, on_threads=threads or {})

    async def _threads(self, request: web.Request, thread_id: str | None) -> Filter | None:
        """Return the filter of threads that the caller may update; None: the handler names none, so crons are judged by themselves alone.

        A handler that fails, perhaps because no thread is named, widens nothing.
        """
        value: dict[str, Any] = {"metadata": {}} if thread_id is None else {"thread_id": thread_id, "metadata": {}}
        try:
            return await authorize(request, "threads", "update", value)
        except ApiError:
            return None
        except Exception as error:
            logger.warning("gateway.handler_failed", resource="threads", action="update", error=repr(error))
            return None


def _on_thread(threads: Filter, parameters: Parameters) -> str:
    filters = " AND ".join(conditions(threads, parameters, "t.metadata"))
    return f"EXISTS (SELECT FROM threads t WHERE t.thread_id = crons.thread_id AND {filters})"


def _copy(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))
