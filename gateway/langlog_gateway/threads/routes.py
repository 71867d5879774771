"""``/threads`` (wire contract §3); their state is in `state`."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web
from langlog_backbone.time.sources import uuid4
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev

from ..auth.access import admit, authorize, guarded
from ..auth.visibility import seen
from ..core import Core, encoded_response, no_content, origin_of, page_headers
from ..http.backends import Origin, UserCodeError
from ..http.errors import ApiError, ErrorAnswer, missing_thread, not_found
from ..http.run_config import check_command
from ..http.validation import canonical_uuid, check_sizes, path_uuid, read_body, uuid_of
from ..requests.members import given
from ..requests.threads import (
    THREAD_COUNT,
    THREAD_CREATE,
    THREAD_PATCH,
    THREAD_PRUNE,
    THREAD_SEARCH,
    ThreadCreate,
    ThreadTtl,
)
from ..resources.crons import remove_crons_of
from ..responses import threads
from . import search as thread_search
from .copy import copied_state, waiting_state
from .search import SQL
from .splitting import execute_update


class Threads:
    def __init__(self, core: Core) -> None:
        self._core = core

    def routes(self) -> list[web.RouteDef]:
        one = "/threads/{thread_id}"
        return [
            web.post("/threads", self.create),
            web.post("/threads/search", self.search),
            web.post("/threads/count", self.count),
            web.post("/threads/prune", self.prune),
            web.get(one, self.get),
            web.patch(one, self.patch),
            web.delete(one, self.delete),
            web.post(f"{one}/copy", self.copy),
            web.get(f"{one}/storage", self.storage),
        ]

    async def create(self, request: web.Request) -> web.Response:
        """Creates a thread. With `supersteps` the state is set too; if that fails the thread stays, and the
        response is 201 or 400 with the reason.
        """
        body = await read_body(request, THREAD_CREATE)
        check_sizes(self._core.settings, metadata=body.metadata)
        for superstep in body.supersteps or ():
            for update in superstep.updates:
                check_command(update.command)
        origin = origin_of(request)
        fresh = body.thread_id is None
        thread_id = origin.mint("thread") if body.thread_id is None else uuid_of(body.thread_id, "thread")
        value: dict[str, Any] = {"thread_id": thread_id, "metadata": body.metadata, "if_exists": body.if_exists}
        visible = await authorize(request, "threads", "create", value)
        body.metadata = value["metadata"]
        reply = await self._core.commands.execute(
            cmd.CreateThread(
                thread_id=thread_id,
                metadata=body.metadata,
                ttl=_kept(body.ttl) or self._core.default_ttl,
                if_exists=body.if_exists,
                fresh=fresh and origin.key is None,
                visible=visible,
            ),
            origin,
        )
        event = ev.decode(reply.type, reply.body)
        if isinstance(event, ev.ThreadCreated) and not event.existed:
            if body.supersteps:
                trouble = await self._apply(request, thread_id, body, origin)
                if trouble is not None:
                    return trouble
            elif origin.key is None:
                return encoded_response(threads.created_thread(event, reply.time))
        return encoded_response(threads.thread(await self._row(thread_id)))

    async def _apply(
        self, request: web.Request, thread_id: str, body: ThreadCreate, origin: Origin
    ) -> web.Response | None:
        """Apply the supersteps of a created thread; return the error, or None. The thread stays in any case (wire contract §3)."""

        def trouble(why: str) -> web.Response:
            detail = f"Thread {thread_id} was created, but there were problems updating the state: {why}"
            return encoded_response(ErrorAnswer(detail), status=201)

        graph_id = body.metadata.get("graph_id")
        if not isinstance(graph_id, str):
            return trouble("metadata has no graph_id")
        graphs = [row["graph_id"] for row in await self._core.reads.rows("SELECT graph_id FROM graphs")]
        if graph_id not in graphs:
            return trouble(f"Graph {graph_id!r} not found. Expected one of: {sorted(graphs)}")
        question = {
            "graph_id": graph_id,
            "thread_id": thread_id,
            "config": {},
            "supersteps": body.supersteps,
            **await self._core.caller_of(request),
            "metadata": {"graph_id": graph_id, "thread_id": thread_id},
        }
        try:
            answer = _Prepared.decode(await self._core.queries.query("supersteps", question))
            replies = await execute_update(
                self._core.commands, thread_id, bytes(answer["command"]), origin, "supersteps"
            )
        except ApiError as error:
            if error.status == 400:
                raise
            return trouble(error.detail)
        except UserCodeError as error:
            return trouble(str(error))
        refused = next((reply for reply in replies if reply.status != 200), None)
        return None if refused is None else trouble(refused.detail or "")

    async def get(self, request: web.Request) -> web.Response:
        """Returns a thread with the values of its latest state."""
        thread_id = path_uuid(request, "thread")
        await admit(request, "threads", "read", {"thread_id": thread_id}, missing_thread(thread_id))
        row = await self._row(thread_id)
        wants_ttl = any("ttl" in part.split(",") for part in request.query.getall("include", []))
        return encoded_response(threads.thread(row, ttl=wants_ttl))

    async def patch(self, request: web.Request) -> web.Response:
        """Merges metadata into that of a thread, or changes its time to live."""
        thread_id = path_uuid(request, "thread")
        body = await read_body(request, THREAD_PATCH)
        check_sizes(self._core.settings, metadata=body.metadata)
        value: dict[str, Any] = {"thread_id": thread_id, "metadata": body.metadata}
        visible = await authorize(request, "threads", "update", value)
        command = cmd.PatchThread(
            thread_id=thread_id,
            metadata=value["metadata"],
            ttl=_kept(body.ttl),
            metadata_limit=self._core.settings.max_metadata_bytes,
            visible=visible,
        )
        await self._core.commands.execute(command, origin_of(request))
        if "return=minimal" in request.headers.get("prefer", ""):
            return no_content()
        return encoded_response(threads.thread(await self._row(thread_id)))

    async def delete(self, request: web.Request) -> web.Response:
        """Deletes a thread with its runs, checkpoints and crons. Runs in progress are stopped."""
        thread_id = path_uuid(request, "thread")
        visible = await authorize(request, "threads", "delete", {"thread_id": thread_id})
        await self._core.commands.execute(cmd.DeleteThread(thread_id=thread_id, visible=visible), origin_of(request))
        await remove_crons_of(self._core, thread_id)
        return no_content()

    async def search(self, request: web.Request) -> web.Response:
        """Returns threads that meet all conditions, the last changed first by default.

        `X-Pagination-Next` is the offset of the next page; it is absent on the last page.
        """
        body = await read_body(request, THREAD_SEARCH)
        value: dict[str, Any] = {
            "metadata": body.metadata,
            "values": body.values,
            "status": given(body.status),
            "limit": body.limit,
            "offset": body.offset,
        }
        visible = await authorize(request, "threads", "search", value)
        body.metadata = value["metadata"]
        page = await thread_search.search(self._core.reads, body, visible)
        return encoded_response(page.threads, headers=page_headers(body.offset, body.limit, page.rows_read, page.after))

    async def count(self, request: web.Request) -> web.Response:
        """Returns the number of threads that meet all conditions."""
        body = await read_body(request, THREAD_COUNT)
        value: dict[str, Any] = {"metadata": body.metadata, "values": body.values, "status": given(body.status)}
        visible = await authorize(request, "threads", "search", value)
        body.metadata = value["metadata"]
        return encoded_response(await thread_search.count(self._core.reads, body, visible))

    async def prune(self, request: web.Request) -> web.Response:
        """Deletes threads, or all of their checkpoints but the latest, and returns how many threads that were."""
        body = await read_body(request, THREAD_PRUNE)
        thread_ids = list(dict.fromkeys(uuid_of(text, "thread") for text in body.thread_ids))
        if not thread_ids:
            return encoded_response(threads.Pruned(0))
        visible = await authorize(request, "threads", "delete", {"thread_ids": thread_ids})
        readable = await seen(self._core.reads, "threads", thread_ids, visible)
        if guarded(request) and len(readable) < len(thread_ids):
            raise not_found("At least one thread not found or not authorized")
        commands: list[cmd.Body] = [
            cmd.DeleteThread(thread_id=thread_id, visible=visible)
            if body.strategy == "delete"
            else cmd.DeleteCheckpoints(thread_id=thread_id, keep_latest=True, visible=visible)
            for thread_id in thread_ids
            if thread_id in readable
        ]
        replies = await self._core.commands.execute_all(commands, origin_of(request))
        pruned = sum(reply.status == 200 for reply in replies)
        return encoded_response(threads.Pruned(pruned))

    async def copy(self, request: web.Request) -> web.Response:
        """Creates a thread with the metadata and checkpoints of another. Runs are not copied.

        The copy of a thread that waits for an answer waits for it too, with the same open interrupts.
        """
        thread_id = canonical_uuid(request.match_info["thread_id"])
        if thread_id is None:
            raise ApiError(400, "badly formed hexadecimal UUID string")
        await admit(request, "threads", "read", {"thread_id": thread_id}, ApiError(409, "Conflict"))
        row = await self._core.reads.row(SQL["get"], thread_id)
        if row is None:
            raise ApiError(409, "Conflict")
        origin = origin_of(request)
        target = uuid4() if origin.key is None else origin.mint("thread")
        value: dict[str, Any] = {"thread_id": target}
        await authorize(request, "threads", "create", value)
        metadata = msgspec.json.decode(row["metadata"], type=dict[str, Any]) | (value.get("metadata") or {})
        record_bytes = self._core.commands.max_record_bytes
        commands: list[cmd.Body] = [
            cmd.CreateThread(thread_id=target, metadata=metadata, ttl=_ttl_of(row), if_exists="do_nothing"),
            *await copied_state(self._core.reads, thread_id, target, record_bytes),
            *await waiting_state(self._core.reads, row, target, record_bytes),
        ]
        for reply in await self._core.commands.execute_all(commands, origin, "copy"):
            if reply.status != 200:
                raise ApiError(reply.status, reply.detail or "")
        return encoded_response(threads.selected_thread(await self._row(target), COPIED))

    async def storage(self, request: web.Request) -> web.Response:
        """Returns the size of a thread's checkpoints, channel values and writes in the database, in bytes."""
        thread_id = path_uuid(request, "thread")
        await admit(request, "threads", "read", {"thread_id": thread_id}, missing_thread(thread_id))
        reads = self._core.reads
        await self._row(thread_id)
        checkpoints = await reads.row(SQL["checkpoint_sizes"], thread_id)
        blobs = await reads.rows(SQL["blob_sizes"], thread_id)
        writes = await reads.row(SQL["write_sizes"], thread_id)
        values = sum(int(row["bytes"]) for row in blobs)
        by_channel = {row["channel"]: threads.ChannelSize(row["versions"], int(row["bytes"])) for row in blobs}
        return encoded_response(
            threads.Storage(
                thread_id=thread_id,
                total_bytes=int(checkpoints["bytes"]) + values + int(writes["bytes"]),
                checkpoints=threads.Amount(checkpoints["count"], int(checkpoints["bytes"])),
                channel_values=threads.ChannelSizes(sum(row["versions"] for row in blobs), values, by_channel),
                pending_writes=threads.Amount(writes["count"], int(writes["bytes"])),
            )
        )

    async def _row(self, thread_id: str) -> Any:
        row = await self._core.reads.row(SQL["get"], thread_id)
        if row is None:
            raise missing_thread(thread_id)
        return row


COPIED = ("thread_id", "created_at", "updated_at", "state_updated_at", "metadata", "status", "config")


def _kept(ttl: ThreadTtl | None) -> cmd.Ttl | None:
    return None if ttl is None else ttl.kept


def _ttl_of(row: Any) -> cmd.Ttl | None:
    """Return the time to live of a copy: that of the copied thread."""
    return None if row["ttl_minutes"] is None else cmd.Ttl(row["ttl_minutes"], row["ttl_strategy"])


_Prepared = msgspec.json.Decoder(dict[str, msgspec.Raw])
