"""Runs: creating, reading, joining, cancelling, removing (wire contract §5 and §7)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, get_args

import msgspec
from aiohttp import hdrs, web
from langlog_schemas import commands as cmd
from msgspec import UNSET

from ..auth.access import admit, authorize
from ..auth.visibility import seen
from ..core import Core, encoded_response, json_response, no_content, origin_of
from ..http.backends import UserCodeError
from ..http.errors import ApiError, missing_thread, not_found, unprocessable
from ..http.validation import invalid, path_uuid, query_int, query_names, read_body, truthy, uuid_of
from ..requests.members import NULL
from ..requests.runs import CANCEL_MANY, RUN_BATCH, RUN_CREATE, RunColumn
from ..responses import runs
from ..streams.watch import Watch
from .search import run_columns
from .streaming import RunStreams
from .submission import SQL, Particulars, RunSubmission
from .waiting import RunWaits, join_headers, run_headers, tied_to_client

NONE_FOUND = "No runs found to cancel."
NONE_MATCHING = (
    "No matching runs to cancel. Please verify the thread ID and run IDs are correct, "
    "and the runs haven't been deleted or completed."
)
COLUMNS: tuple[str, ...] = get_args(RunColumn)
TAKEN = "taken: interrupt requested via POST /threads/{thread_id}/runs/{run_id}/cancel"
"""Error of a run whose input another run has adopted: the clients' ``reason``."""
BAD_REASON = 'reason may be "taken", with action "interrupt": got {!r} with {!r}'
CANCEL_GRACE_S = 0.05
"""Maximum seconds before the response to a cancel that does not wait: a client that queries at once then mostly sees the run stopped."""


class Runs:
    def __init__(self, core: Core) -> None:
        self._core = core
        self._submission = RunSubmission(core)
        self._waits = RunWaits(core)
        self._streams = RunStreams(core)

    def routes(self) -> list[web.RouteDef]:
        of_thread = "/threads/{thread_id}/runs"
        one = f"{of_thread}/{{run_id}}"
        return [
            web.get(of_thread, self.list),
            web.post(of_thread, self.create),
            web.post(f"{of_thread}/wait", self.wait),
            web.post(f"{of_thread}/stream", self.stream),
            web.post("/runs", self.create),
            web.post("/runs/wait", self.wait),
            web.post("/runs/stream", self.stream),
            web.post("/runs/batch", self.batch),
            web.post("/runs/cancel", self.cancel_many),
            web.get("/runs/{run_id}/stream", self.join_stream_by_run),
            web.get(one, self.get),
            web.delete(one, self.delete),
            web.get(f"{one}/join", self.join),
            web.get(f"{one}/stream", self.join_stream),
            web.post(f"{one}/cancel", self.cancel),
        ]

    # creating

    async def create(self, request: web.Request) -> web.Response:
        """Creates a run and returns at once; the run is executed in the background. Without a thread the server
        creates one for the run, and deletes it when the run has ended unless `on_completion` is `keep`.
        """
        body = await read_body(request, RUN_CREATE)
        run = await self._submission.prepare(request, body, _target(request))
        reply = await self._submission.submit(run)
        return encoded_response(await self._submission.created(run, reply), headers=run_headers(run))

    async def wait(self, request: web.Request) -> web.StreamResponse:
        """Creates a run, waits until it ends, and returns its output. A failed run is status 200 with `__error__`,
        an interrupted one has `__interrupt__`.

        Newlines before the JSON keep the connection alive.
        """
        body = await read_body(request, RUN_CREATE)
        run = await self._submission.prepare(request, body, _target(request), Particulars(waits=True))
        del body
        watch = await self._core.watches.open(run.thread_id, run.run_id)
        try:
            with tied_to_client(self._core, run.thread_id, run.run_id, tied=run.cancel_on_disconnect):
                watch.sent = True
                await self._submission.submit_unconfirmed(run)
                run = run.without_kwargs()
                watch.missed = run.origin.key is not None  # the run of a repetition may be over already
                check = self._core.permissions.running(request, run.command)
                return await self._waits.answer(request, watch, run.run_id, check, exists=not run.cannot_be_rejected)
        finally:
            self._core.watches.close(watch)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Creates a run and streams its events as server-sent events. The stream ends with the run; a failed run's
        last event is `error`.

        `Location` is the path to continue the stream from, with `Last-Event-ID`, if the run is resumable.
        """
        body = await read_body(request, RUN_CREATE)
        run = await self._submission.prepare(request, body, _target(request), Particulars(waits=True))
        recorded = body.stream_resumable
        del body  # a stream lasts, and must not hold the input
        self._core.enter_stream(request)
        watch = self._core.watches.enter(run.thread_id, run.run_id, frames=True)
        watch.unread = True  # a quick run may publish large states before its creation is confirmed
        try:
            # frames before the subscription exists are found in the backlog: they are numbered
            with tied_to_client(self._core, run.thread_id, run.run_id, tied=run.cancel_on_disconnect):
                await self._core.watches.ready_beside(watch, self._submission.submit(run))
                watch.sent = watch.seen = True
                run = run.without_kwargs()
                return await self._streams.follow_new(request, watch, run, recorded=recorded)
        finally:
            self._core.watches.close(watch)
            self._core.leave_stream(request)

    async def batch(self, request: web.Request) -> web.Response:
        """Creates runs without a thread, all or none."""
        submitted = await self._submission.prepare_batch(request, await read_body(request, RUN_BATCH))
        replies = await self._submission.submit_batch(request, submitted)
        shown = [await self._submission.created(run, reply) for run, reply in zip(submitted, replies, strict=True)]
        return encoded_response(shown)

    # reading

    async def list(self, request: web.Request) -> web.Response:
        """Returns runs of a thread, newest first."""
        thread_id = path_uuid(request, "thread")
        limit, offset = query_int(request, "limit", 10), query_int(request, "offset", 0)
        select = query_names(request, "select")
        unknown = [name for name in select if name not in COLUMNS]
        if unknown:
            raise unprocessable(f"Invalid select columns: {unknown}. Expected: {set(COLUMNS)}")
        await admit(request, "threads", "read", {"thread_id": thread_id}, missing_thread(thread_id))
        await admit(request, "threads", "search", {"thread_id": thread_id, "metadata": {}}, missing_thread(thread_id))
        if not await self._core.reads.value(SQL["thread_exists"], thread_id):
            raise missing_thread(thread_id)
        status = request.query.get("status") or None
        if offset < 0:  # counted from the oldest run
            offset = max(0, offset + int(await self._core.reads.value(SQL["count"], thread_id, status)))
        sql = SQL["list"].format(columns=run_columns(select))
        limit = max(0, min(limit, self._core.settings.max_page))
        rows = await self._core.reads.rows(sql, thread_id, status, limit, offset)
        return encoded_response([runs.run(row, select) for row in rows])

    async def get(self, request: web.Request) -> web.Response:
        """Returns a run."""
        thread_id, run_id = path_uuid(request, "thread"), path_uuid(request, "run")
        await admit(request, "threads", "read", {"thread_id": thread_id}, missing_thread(thread_id))
        row = await self._core.reads.row(SQL["run"], thread_id, run_id)
        if row is None:
            if not await self._core.reads.value(SQL["thread_exists"], thread_id):
                raise missing_thread(thread_id)
            raise not_found()
        return encoded_response(runs.run(row))

    async def join(self, request: web.Request) -> web.StreamResponse:
        """Waits until a run ends, and returns its output. A failed run is status 200 with `__error__`, an
        interrupted one has `__interrupt__`.
        """
        thread_id, run_id = path_uuid(request, "thread"), path_uuid(request, "run")
        await admit(request, "threads", "read", {"thread_id": thread_id}, not_found("Thread not found"))
        if request.method == hdrs.METH_HEAD:
            return await self._waits.head(request, thread_id, run_id)
        tied = await self._tied(request, thread_id)
        watch = await self._core.watches.open(thread_id, run_id)
        try:
            watch.missed = True  # it may have ended: check once
            with tied_to_client(self._core, thread_id, run_id, tied=tied):
                check = self._core.permissions.reading(request, thread_id)
                return await self._waits.answer(request, watch, run_id, check)
        finally:
            self._core.watches.close(watch)

    async def join_stream(self, request: web.Request) -> web.StreamResponse:
        """Streams the events of a run from now on, or from `Last-Event-ID` if the run is resumable. The stream
        ends with the run.
        """
        thread_id, run_id = path_uuid(request, "thread"), path_uuid(request, "run")
        try:
            await admit(request, "threads", "read", {"thread_id": thread_id}, not_found("Thread not found"))
        except ApiError as error:
            return await self._streams.refuse(request, thread_id, run_id, error)
        return await self._join_stream(request, thread_id, run_id)

    async def join_stream_by_run(self, request: web.Request) -> web.StreamResponse:
        """Streams the events of a run, as `/threads/{thread_id}/runs/{run_id}/stream` does."""
        run_id = path_uuid(request, "run")
        thread_id: str | None = await self._core.reads.value(SQL["thread_of"], run_id)
        # handlers are called before the response reveals whether the run exists
        await admit(request, "threads", "read", {"thread_id": thread_id or run_id}, not_found())
        if thread_id is None:
            raise not_found()
        return await self._join_stream(request, thread_id, run_id)

    async def _join_stream(self, request: web.Request, thread_id: str, run_id: str) -> web.StreamResponse:
        tied = await self._tied(request, thread_id)
        self._core.enter_stream(request)
        watch: Watch | None = None
        try:
            watch = await self._core.watches.open(thread_id, run_id, frames=True)
            with tied_to_client(self._core, thread_id, run_id, tied=tied):
                return await self._streams.join(request, watch, run_id)
        finally:
            if watch is not None:
                self._core.watches.close(watch)
            self._core.leave_stream(request)

    async def _tied(self, request: web.Request, thread_id: str) -> bool:
        """Return whether the run is cancelled when the client disconnects: it requested that, and may cancel runs of the thread."""
        if not truthy(request.query.get("cancel_on_disconnect")):
            return False
        value = {"thread_id": thread_id, "action": "interrupt", "metadata": {}}
        try:
            await admit(request, "threads", "update", value, not_found(NONE_FOUND))
        except ApiError as error:
            if error.status >= 500:
                raise
            return False
        return True

    # stopping

    async def cancel(self, request: web.Request) -> web.Response:
        """Cancels a run: `action=interrupt` keeps its checkpoints, `action=rollback` deletes run and checkpoints.
        Returns 202 at once, or with `wait=true` 200 when the run has stopped.
        """
        thread_id, run_id = path_uuid(request, "thread"), path_uuid(request, "run")
        action = _action(request)
        given = request.query.get("reason")
        if given is not None and (given != "taken" or action != "interrupt"):
            raise unprocessable(BAD_REASON.format(given, action))
        value = {"thread_id": thread_id, "action": action, "metadata": {}}
        visible = await admit(request, "threads", "update", value, not_found(NONE_FOUND))
        await self._check_cancellable(thread_id, [run_id])
        reason = None if given is None else TAKEN
        command = cmd.CancelRuns(thread_id=thread_id, run_ids=[run_id], action=action, reason=reason, visible=visible)
        wait = truthy(request.query.get("wait"))
        watch = await self._core.watches.open(thread_id, run_id)
        try:
            await self._core.commands.execute(command, origin_of(request))
            with contextlib.suppress(*([] if wait else [TimeoutError, ConnectionResetError])):
                async with asyncio.timeout(None if wait else CANCEL_GRACE_S):
                    await self._waits.until_ended(watch, run_id)
        finally:
            self._core.watches.close(watch)
        if not wait:
            return no_content(202)
        return json_response(b"{}", headers=join_headers(thread_id, run_id))

    async def cancel_many(self, request: web.Request) -> web.Response:
        """Cancels runs by status, or by thread and ids. 404 if none matches."""
        body = await read_body(request, CANCEL_MANY)
        by_status, by_ids = body.status is not UNSET, body.thread_id is not UNSET and body.run_ids is not UNSET
        if by_status == by_ids:
            given = {k: v for k, v in msgspec.structs.asdict(body).items() if v is not UNSET}
            which = "under more than one" if by_status else "under any"
            word = "valid" if by_status else "not valid"
            filters = (
                f"{msgspec.json.encode(given).decode()} is {word} {which} of the schemas listed in the 'oneOf' keyword"
            )
            raise invalid(filters, "oneOf", [], given)
        action = _action(request)
        by_thread: dict[str, list[str]] = {}
        if body.thread_id is not UNSET and body.run_ids is not UNSET:
            thread_id = uuid_of(body.thread_id, "thread")
            run_ids = [uuid_of(text, "run") for text in body.run_ids]
            value = {"thread_id": thread_id, "action": action, "metadata": {}}
            visible = await admit(request, "threads", "update", value, not_found(NONE_FOUND))
            await self._check_cancellable(thread_id, run_ids)
            by_thread[thread_id] = run_ids
        else:
            visible = await authorize(request, "threads", "update", {"action": action, "metadata": {}})
            status = None if body.status == "all" else body.status
            for row in await self._core.reads.rows(SQL["in_flight"], status):
                by_thread.setdefault(row["thread_id"], []).append(row["run_id"])
            if visible:
                there = await seen(self._core.reads, "threads", list(by_thread), visible)
                by_thread = {thread_id: run_ids for thread_id, run_ids in by_thread.items() if thread_id in there}
        commands: list[cmd.Body] = [
            cmd.CancelRuns(thread_id=thread_id, run_ids=run_ids, action=action, visible=visible)
            for thread_id, run_ids in by_thread.items()
        ]
        replies = await self._core.commands.execute_all(commands, origin_of(request))
        if not any(reply.status == 200 for reply in replies):
            raise not_found(NONE_FOUND)
        return no_content()

    async def _check_cancellable(self, thread_id: str, run_ids: Any) -> None:
        rows = await self._core.reads.rows(SQL["statuses"], thread_id, run_ids)
        if not rows:
            raise not_found(NONE_FOUND)
        if not any(row["status"] in ("pending", "running") for row in rows):
            raise not_found(NONE_MATCHING)

    # removing

    async def delete(self, request: web.Request) -> web.Response:
        """Deletes a run and its checkpoints; a run in progress is stopped."""
        thread_id, run_id = path_uuid(request, "thread"), path_uuid(request, "run")
        value = {"thread_id": thread_id, "run_id": run_id}
        visible = await admit(request, "threads", "delete", value, not_found("Run not found"))
        row = await self._core.reads.row(SQL["removal"], thread_id, run_id)
        if row is None:
            raise not_found("Run not found")
        command = cmd.DeleteRun(thread_id=thread_id, run_id=run_id, visible=visible)
        if row["status"] not in ("pending", "running") and row["graph_id"] is not None and row["has_checkpoints"]:
            command = await self._with_state(request, command, row)
        await self._core.commands.execute(command, origin_of(request))
        return no_content()

    async def _with_state(self, request: web.Request, command: cmd.DeleteRun, row: Any) -> cmd.DeleteRun:
        """Return the command with the thread's state without the run."""
        question = {
            "graph_id": row["graph_id"],
            "thread_id": command.thread_id,
            "config": msgspec.Raw(row["config"].encode()),
            "run_id": command.run_id,
            **await self._core.caller_of(request),
        }
        try:
            state = _state_left.decode(await self._core.queries.query("state_without_run", question))
        except UserCodeError:
            return command  # a graph that no longer loads must not prevent the removal of its runs
        return cmd.DeleteRun(
            thread_id=command.thread_id,
            run_id=command.run_id,
            visible=command.visible,
            values=state.values,
            next=state.next,
            interrupts=state.interrupts,
        )


class StateLeft(msgspec.Struct):
    values: msgspec.Raw = NULL
    next: list[str] = []
    interrupts: msgspec.Raw = msgspec.Raw(b"{}")


_state_left = msgspec.json.Decoder(StateLeft)


def _target(request: web.Request) -> str | None:
    """Return the thread to run on; None: stateless."""
    text = request.match_info.get("thread_id")
    if text is None:
        return None
    try:
        return uuid_of(text, "thread")
    except ApiError:
        raise unprocessable("Invalid thread ID") from None


def _action(request: web.Request) -> cmd.CancelAction:
    """Return the requested action. Unknown actions are not rejected (wire contract §7.3)."""
    return "rollback" if request.query.get("action") == "rollback" else "interrupt"
