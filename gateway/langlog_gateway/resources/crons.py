"""``/runs/crons`` and ``/threads/{id}/runs/crons`` (wire contract §10). Firing them is the scheduler's business."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.time.schedule import QUICK_SCHEDULE, Schedule, ScheduleError, moment_of, shown
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from langlog_schemas.rules.cron_authority import CronAuthority
from langlog_schemas.runs.request import Assistant, RunCreate, without_reserved
from msgspec import UNSET, UnsetType

from ..auth.access import admit, authorize, caller, guarded
from ..core import Core, encoded_response, no_content, origin_of, page_headers
from ..http.errors import ApiError, not_found, unprocessable
from ..http.run_config import mirrored
from ..http.validation import decode_body, metadata_filter, path_uuid, read_body, uuid_of, whole_number
from ..requests.crons import CRON_COUNT, CRON_CREATE, CRON_PATCH, CRON_SEARCH
from ..requests.runs import RUN_CREATE
from ..responses import crons
from ..responses.members import stamp
from ..runs.submission import Particulars, RunSubmission
from ..runs.waiting import run_headers
from .cron_access import CronAccess

SQL = load_sql("langlog_gateway", "crons.sql")

T = TypeVar("T")

ONLY_WHEN = frozenset({"schedule", "timezone", "end_time", "metadata", "on_run_completed", "enabled"})
"""Members of a patch about the cron itself, not about its runs."""
THREAD_MISSING = (
    "Thread with ID '{}' not found. Please verify the ID is correct and the thread hasn't been deleted or expired."
)


TOO_MANY = (
    "Cannot create the cron: its owner has {} crons already, the most that this server keeps for one "
    "(LANGLOG_MAX_CRONS_PER_OWNER). Delete some that are not needed any more."
)
CRON_RUN = Particulars(cron=True)
FIRINGS, FIRINGS_MAX = 10, 100
"""Number of due times in a response: default, and maximum."""
FINEST_S = 1.0
"""Minimum seconds between two due times of any schedule."""


class Crons:
    def __init__(self, core: Core) -> None:
        self._core = core
        self._submission = RunSubmission(core)
        self._access = CronAccess(core, self._submission)

    def routes(self) -> list[web.RouteDef]:
        one = "/runs/crons/{cron_id}"
        return [
            web.post("/runs/crons", self.create),
            web.post("/threads/{thread_id}/runs/crons", self.create),
            web.post("/runs/crons/search", self.search),
            web.post("/runs/crons/count", self.count),
            web.get(one, self.get),
            web.patch(one, self.patch),
            web.delete(one, self.delete),
            web.post(f"{one}/fire", self.fire),
            web.get(f"{one}/firings", self.firings),
        ]

    async def create(self, request: web.Request) -> web.Response:
        """Creates a cron: a schedule that creates runs, on a thread or each on a new thread."""
        thread_id = path_uuid(request, "thread") if "thread_id" in request.match_info else None
        body = await read_body(request, CRON_CREATE)
        self._check(body.schedule, body.timezone, body.end_time)
        mirrored(body.config, body.context)
        assistant = await self._assistant(request, body.assistant_id)
        origin = origin_of(request)
        cron_id = origin.mint("cron")
        payload: dict[str, Any] = msgspec.json.decode(await request.read())
        payload["assistant_id"] = assistant.assistant_id
        payload["config"] = _with_cron_id(body.config, cron_id)
        user = caller(request)
        user_id = "" if user is None else user["identity"]
        value: dict[str, Any] = {
            "cron_id": cron_id,
            "thread_id": thread_id,
            "schedule": body.schedule,
            "payload": payload,
            "end_time": body.end_time,
            "user_id": user_id,
            "metadata": body.metadata,
        }
        await authorize(request, "crons", "create", value)
        missing = not_found(THREAD_MISSING.format(thread_id))
        if thread_id is not None:
            await admit(request, "threads", "read", {"thread_id": thread_id}, missing)
            if not await self._core.reads.value(SQL["thread_exists"], thread_id):
                raise missing
        await self._check_room(user_id, cron_id)
        run = self._submission.validate(
            _run_of(value["payload"], value["metadata"]), CRON_RUN, stateless=thread_id is None
        )
        temporary = thread_id is None and body.on_run_completed == "delete"
        authority = await self._access.authority(request, run, assistant, thread_id, missing, temporary=temporary)
        command = cmd.CreateCron(
            cron_id=cron_id,
            assistant_id=assistant.assistant_id,
            thread_id=thread_id,
            user_id=user_id,
            schedule=body.schedule,
            timezone=body.timezone,
            end_time=body.end_time,
            payload=value["payload"],
            metadata=value["metadata"],
            on_run_completed=body.on_run_completed if thread_id is None else None,
            enabled=body.enabled,
            authority=authority,
        )
        reply = await self._core.commands.execute(command, origin)
        event = ev.decode(reply.type, reply.body)
        if not isinstance(event, ev.CronCreated):  # a repetition whose outcome is no longer kept
            return encoded_response(crons.cron(await self._row(cron_id)))
        return encoded_response(crons.created_cron(cron_id, event.content))

    async def get(self, request: web.Request) -> web.Response:
        """Returns a cron with the time of its next run."""
        cron_id = path_uuid(request, "cron")
        await self._access.admit(request, "read", cron_id, not_found())
        return encoded_response(crons.cron(await self._row(cron_id)))

    async def patch(self, request: web.Request) -> web.Response:
        """Changes a cron. `enabled: false` pauses it. A body without members is 400."""
        cron_id = path_uuid(request, "cron")
        body = await read_body(request, CRON_PATCH)
        given: dict[str, Any] = msgspec.json.decode(await request.read())
        if not given:
            raise ApiError(400, "Request body cannot be empty")
        missing = not_found(f"Cron '{cron_id}' not found")
        pauses, runs_change = given == {"enabled": False}, not given.keys() <= ONLY_WHEN
        value: dict[str, Any] = {"cron_id": cron_id, "payload": given}
        value |= {name: given[name] for name in ("schedule", "metadata") if name in given}
        visible = await admit(request, "crons", "update", value, missing)
        given = value["payload"]
        row = await self._core.reads.row(SQL["get"], cron_id)
        if row is None:
            raise missing
        self._check(
            _set(body.schedule, row["schedule"]), _set(body.timezone, row["timezone"]), _set(body.end_time, None)
        )
        mirrored(body.config, body.context)
        assistant: Assistant | None = None
        if body.assistant_id is not UNSET or (guarded(request) and not pauses):
            assistant = await self._assistant(request, _set(body.assistant_id, row["assistant_id"]))
        if body.assistant_id is not UNSET and assistant is not None:
            body.assistant_id = given["assistant_id"] = assistant.assistant_id
        if "config" in given:
            given["config"] = _with_cron_id(body.config, cron_id)
        # the merged payload must still be a run's body
        whole = {**msgspec.json.decode(row["payload"]), **given}
        metadata = {**msgspec.json.decode(row["metadata"]), **(value.get("metadata") or {})}
        run = self._submission.validate(_run_of(whole, metadata), CRON_RUN, stateless=row["thread_id"] is None)
        user_id: str | UnsetType = UNSET
        authority: CronAuthority | UnsetType | None = UNSET
        user = caller(request)
        if user is not None and assistant is not None:
            temporary = row["thread_id"] is None and _set(body.on_run_completed, row["on_run_completed"]) != "keep"
            allowed = await self._access.authority(
                request, run, assistant, row["thread_id"], missing, temporary=temporary
            )
            # who changes what is run is whom it runs for; who only changes when, must be allowed to run it and changes nothing else
            if runs_change or user["identity"] == row["user_id"]:
                user_id, authority = user["identity"], allowed
        command = cmd.PatchCron(
            cron_id=cron_id,
            payload=given,
            assistant_id=body.assistant_id,
            schedule=body.schedule,
            timezone=body.timezone,
            end_time=body.end_time,
            metadata=value.get("metadata", UNSET),
            on_run_completed=body.on_run_completed if row["thread_id"] is None else UNSET,
            enabled=body.enabled,
            user_id=user_id,
            authority=authority,
            metadata_limit=self._core.settings.max_metadata_bytes,
            visible=visible,
        )
        await self._core.commands.execute(command, origin_of(request))
        return encoded_response(crons.cron(await self._row(cron_id)))

    async def fire(self, request: web.Request) -> web.Response:
        """Creates a run of the cron now, whether the cron is enabled or not; its schedule does not change.

        The run is made for the caller, with the cron's input, settings and thread; its metadata has `cron_id`, as that of every run
        that the cron has created since this version (`POST /runs/search` lists them by `cron_id`).
        """
        cron_id = path_uuid(request, "cron")
        await self._access.admit(request, "read", cron_id, not_found())
        row = await self._row(cron_id)
        run = _run_of(msgspec.json.decode(row["payload"]), msgspec.json.decode(row["metadata"]) | {"cron_id": cron_id})
        run.assistant_id = row["assistant_id"]
        run.on_completion = "keep" if row["on_run_completed"] == "keep" else "delete"
        run.after_seconds = 0
        prepared = await self._submission.prepare(request, run, row["thread_id"], CRON_RUN)
        reply = await self._submission.submit(prepared)
        return encoded_response(await self._submission.created(prepared, reply), headers=run_headers(prepared))

    async def firings(self, request: web.Request) -> web.Response:
        """Returns the next times at which a cron fires, in UTC, the earliest first; none for a cron that is paused or has ended."""
        cron_id = path_uuid(request, "cron")
        text = request.query.get("limit", str(FIRINGS))
        limit = whole_number(text) or 0
        if not 1 <= limit <= FIRINGS_MAX:
            raise unprocessable(f"Invalid limit {text[:40]}: must be a number from 1 to {FIRINGS_MAX}")
        await self._access.admit(request, "read", cron_id, not_found())
        row = await self._core.reads.row(SQL["due"], cron_id)
        if row is None:
            raise not_found()
        schedule, at = Schedule(row["schedule"], row["timezone"]), row["next_run_date"]
        moments: list[datetime] = []
        while row["enabled"] and len(moments) < limit and (row["ends_at"] is None or at <= row["ends_at"]):
            moments.append(at)
            try:
                at = schedule.after(at)
            except (ValueError, OverflowError):  # croniter finds no later time within its search range
                break
        return encoded_response([stamp(moment) for moment in moments])

    async def delete(self, request: web.Request) -> web.Response:
        """Deletes a cron. Runs that it has created stay."""
        cron_id = path_uuid(request, "cron")
        visible = await self._access.admit(request, "delete", cron_id, not_found())
        await self._core.commands.execute(cmd.DeleteCron(cron_id=cron_id, visible=visible), origin_of(request))
        return no_content()

    async def search(self, request: web.Request) -> web.Response:
        """Returns crons that meet all conditions, the newest first by default.

        `X-Pagination-Next` is the offset of the next page; it is absent on the last page.
        """
        body = await read_body(request, CRON_SEARCH)
        value: dict[str, Any] = {
            "assistant_id": _uuid(body.assistant_id, "assistant"),
            "thread_id": _uuid(body.thread_id, "thread"),
            "metadata": body.metadata or {},
            "limit": body.limit,
            "offset": body.offset,
        }
        order = "DESC" if body.sort_order == "desc" else "ASC"
        by = "ends_at" if body.sort_by == "end_time" else body.sort_by
        columns = [c for c in crons.COLUMNS if not body.select or c in body.select]
        columns += ["now"] if "now" in body.select else []
        sql, values = await self._access.narrowed(
            request,
            SQL["search"]
            .replace("{columns}", ", ".join("now()" if c == "now" else c for c in columns))
            .replace("{order}", f"{by} {order}, cron_id {order}"),
            value,
            value["assistant_id"],
            value["thread_id"],
            body.enabled,
            _filter(value["metadata"]),
            body.limit + 1,
            body.offset,
        )
        rows = await self._core.reads.rows(sql, *values)
        page = [crons.cron(row, columns) for row in rows[: body.limit]]
        return encoded_response(page, headers=page_headers(body.offset, body.limit, len(rows)))

    async def count(self, request: web.Request) -> web.Response:
        """Returns the number of crons that meet all conditions."""
        body = await read_body(request, CRON_COUNT)
        value: dict[str, Any] = {
            "assistant_id": _uuid(body.assistant_id, "assistant"),
            "thread_id": _uuid(body.thread_id, "thread"),
            "metadata": body.metadata or {},
        }
        sql, values = await self._access.narrowed(
            request,
            SQL["count"],
            value,
            value["assistant_id"],
            value["thread_id"],
            _filter(value["metadata"]),
        )
        return encoded_response(await self._core.reads.value(sql, *values))

    async def _assistant(self, request: web.Request, name: str) -> Assistant:
        """Return an assistant that the caller may read, by id or graph name. Raises ApiError 404, or where a handler refuses."""
        try:
            return (await self._submission.assistants.named(request, [name]))[0]
        except ApiError as error:
            if error.status not in (404, 422):
                raise
            raise not_found(f"Assistant '{name}' not found") from None

    def _check(self, schedule: str, timezone: str | None, end_time: str | None) -> None:
        """Check the cron's members. Raises ApiError 422."""
        least_s = self._core.settings.cron_min_interval_s
        try:
            parsed = Schedule(schedule, timezone)
            if end_time is not None:
                moment_of(end_time)
        except ScheduleError as error:
            raise unprocessable(str(error)) from None
        if least_s > FINEST_S and (interval_s := parsed.least_interval_s()) < least_s:
            raise unprocessable(QUICK_SCHEDULE.format(shown(schedule), interval_s, least_s))

    async def _check_room(self, user_id: str, cron_id: str) -> None:
        """Raise ApiError 422 if the owner has the maximum number of crons, not counting this one."""
        limit = self._core.settings.max_crons_per_owner
        if limit and await self._core.reads.value(SQL["of_owner"], user_id, cron_id, limit) >= limit:
            raise unprocessable(TOO_MANY.format(limit))

    async def _row(self, cron_id: str) -> Any:
        row = await self._core.reads.row(SQL["get"], cron_id)
        if row is None:
            raise not_found()
        return row


async def remove_crons_of(core: Core, thread_id: str) -> None:
    """Delete a deleted thread's crons; those that the decider has removed already are ignored."""
    rows = await core.reads.rows(SQL["of_thread"], thread_id)
    await core.commands.execute_all([cmd.DeleteCron(cron_id=row["cron_id"]) for row in rows])


def _run_of(payload: dict[str, Any], metadata: dict[str, Any]) -> RunCreate:
    """Return a cron's payload as the body of its runs. Raises ApiError 422."""
    run: RunCreate = decode_body(msgspec.json.encode(payload), RUN_CREATE)
    run.metadata = metadata
    return run


def _with_cron_id(config: dict[str, Any], cron_id: str) -> dict[str, Any]:
    return {**config, "configurable": {**without_reserved(config.get("configurable") or {}), "cron_id": cron_id}}


def _set(given: T | UnsetType, stored: T) -> T:
    """Return the value of a patch, or the stored one if the patch does not set it."""
    return stored if given is UNSET else given


def _uuid(value: str | None, what: str) -> str | None:
    return None if value is None else uuid_of(value, what)


def _filter(metadata: dict[str, Any]) -> str | None:
    return metadata_filter(metadata) if metadata else None
