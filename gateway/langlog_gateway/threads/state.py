"""State and history of a thread (wire contract §4). Only the graph object can interpret them, so a worker answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web
from langlog_backbone.history.as_of import NotInLog, thread_as_of
from langlog_backbone.log import LogUnavailable
from langlog_schemas.runs.request import Checkpoint
from msgspec import Raw

from ..auth.access import admit
from ..core import Core, encoded_response, json_response, origin_of
from ..http.errors import ApiError, missing_thread, not_found, unavailable, unprocessable
from ..http.validation import check_sizes, path_uuid, query_names, read_body, truthy, whole_number
from ..requests.states import HISTORY_SEARCH, STATE_AT_CHECKPOINT, STATE_UPDATE
from ..responses.members import NULL
from ..responses.states import StateUpdated, empty_state
from .events import moment
from .search import SQL
from .select import checked
from .splitting import execute_update

NO_GRAPH = (
    "Thread '{}' has no assigned graph ID. This usually occurs when no runs have been made on this particular thread. "
    "This operation requires a graph ID. Please ensure a run has been made for the thread or manually update the thread "
    "metadata (by setting the 'graph_id' field) before running this operation."
)
HISTORY_MAX = 1000
CATCH_UP_S = 2.0
"""Maximum seconds that a request for a thread without a checkpoint waits for the read model."""
NOT_KEPT = "Checkpoint {} of that time is kept in the log alone: langlog log state shows it"


class ThreadState:
    def __init__(self, core: Core) -> None:
        self._core = core

    def routes(self) -> list[web.RouteDef]:
        one = "/threads/{thread_id}"
        return [
            web.get(f"{one}/state", self.get),
            web.post(f"{one}/state", self.update),
            web.post(f"{one}/state/checkpoint", self.at),
            web.get(f"{one}/state/{{checkpoint_id}}", self.get),
            web.get(f"{one}/history", self.recent),
            web.post(f"{one}/history", self.history),
        ]

    async def get(self, request: web.Request) -> web.Response:
        """Returns the state of a thread: the latest, that of a checkpoint, or with `as_of` that of a time in the
        past. An unknown checkpoint returns an empty state.
        """
        thread_id = path_uuid(request, "thread")
        if "as_of" in request.query and "checkpoint_id" not in request.match_info:
            return await self._then(request, thread_id, request.query["as_of"])
        at = Checkpoint(checkpoint_id=request.match_info.get("checkpoint_id"))
        select = checked(query_names(request, "select"))
        return await self._state(
            request, thread_id, at, subgraphs=truthy(request.query.get("subgraphs")), select=select
        )

    async def at(self, request: web.Request) -> web.Response:
        """Returns the state of a thread or of one of its subgraphs at a checkpoint. An unknown checkpoint returns an
        empty state.
        """
        thread_id = path_uuid(request, "thread")
        body = await read_body(request, STATE_AT_CHECKPOINT)
        select = checked(body.select or [])
        return await self._state(request, thread_id, body.checkpoint, subgraphs=bool(body.subgraphs), select=select)

    async def _state(
        self, request: web.Request, thread_id: str, at: Checkpoint, *, subgraphs: bool, select: list[str]
    ) -> web.Response:
        await admit(request, "threads", "read", {"thread_id": thread_id}, missing_thread(thread_id))
        state = await self.read(request, thread_id, at, subgraphs=subgraphs, select=select)
        if state is None:
            raise missing_thread(thread_id)
        return json_response(state)

    async def _then(self, request: web.Request, thread_id: str, text: str) -> web.Response:
        """Return the past state (langlog's own, docs/how-to/audit.md): that of the last checkpoint, with what the thread
        was beside it."""
        select = checked(query_names(request, "select"))
        position = whole_number(text)
        at = moment(text, "as_of") if position is None else position
        if at is None:
            raise unprocessable("Invalid as_of: must be a time in ISO 8601 or a position")
        await admit(request, "threads", "read", {"thread_id": thread_id}, missing_thread(thread_id))
        if await self._core.reads.row(SQL["graph"], thread_id) is None:
            raise missing_thread(thread_id)
        try:
            then = await thread_as_of(self._core.audit, thread_id, at)
        except LogUnavailable:
            raise unavailable("The log") from None
        except NotInLog as error:
            raise ApiError(410, str(error)) from None
        if not then.exists:
            raise not_found(f"Thread with ID {thread_id} did not exist then")
        state = empty_state(select=select)
        if then.checkpoint_id is not None:
            if not await self._core.reads.value(SQL["has_checkpoint"], thread_id, then.checkpoint_id):
                raise ApiError(410, NOT_KEPT.format(then.checkpoint_id))
            checkpoint = Checkpoint(checkpoint_id=then.checkpoint_id)
            subgraphs = truthy(request.query.get("subgraphs"))
            read = self.read(request, thread_id, checkpoint, subgraphs=subgraphs, select=select, then=then.metadata)
            state = await read or state
        members = _members.decode(state)
        if (handlers := self._core.code.json_handlers) is not None:
            then = msgspec.structs.replace(then, metadata=await handlers.open(then.metadata))
        members["as_of"] = Raw(msgspec.json.encode(then))
        return encoded_response(members)

    async def read(
        self,
        request: web.Request,
        thread_id: str,
        at: Checkpoint,
        *,
        subgraphs: bool,
        select: Sequence[str] = (),
        then: dict[str, Any] | None = None,
        to_store: bool = False,
    ) -> bytes | None:
        """Return the state as JSON, as the request's caller sees it; None if the thread does not exist. Raises ApiError.

        ``select``: as `state_select.checked`. ``then``: the thread's metadata of another time, which names the graph of that time.
        ``to_store``: with values and interrupts as they are stored, where the project seals JSON.
        """
        row = await self._row(thread_id)
        if row is None:
            return None
        if _is_empty(row):
            if at.checkpoint_id is None:
                return empty_state(select=select)
            ns = at.checkpoint_ns or ""
            checkpoint = {"checkpoint_id": at.checkpoint_id, "thread_id": thread_id, "checkpoint_ns": ns}
            return empty_state(checkpoint, select)
        graph = {name: then[name] for name in ("graph_id", "assistant_id") if then and then.get(name)}
        question = {
            **_question(thread_id, row),
            **await self._core.caller_of(request),
            **graph,
            **_checkpoint_members(at),
            "subgraphs": subgraphs,
            "to_store": to_store,
        }
        if select:
            question["select"] = list(select)
        return await self._core.queries.query("state", question)

    async def update(self, request: web.Request) -> web.Response:
        """Writes values into the state of a thread, as if a node had returned them, and creates a checkpoint. 409
        if a run is pending or running.
        """
        thread_id = path_uuid(request, "thread")
        body = await read_body(request, STATE_UPDATE)
        visible = await admit(request, "threads", "update", {"thread_id": thread_id}, missing_thread(thread_id))
        await admit(request, "threads", "read", {"thread_id": thread_id}, missing_thread(thread_id))
        row = await self._core.reads.row(SQL["graph"], thread_id)
        if row is None:
            raise missing_thread(thread_id)
        if row["graph_id"] is None:
            raise ApiError(400, NO_GRAPH.format(thread_id))
        at = body.checkpoint or Checkpoint()
        if at.checkpoint_id is None:
            at.checkpoint_id = body.checkpoint_id
        metadata = {"graph_id": row["graph_id"]}
        if at.checkpoint_id is not None:
            metadata["checkpoint_id"] = at.checkpoint_id
        question = {
            **_question(thread_id, row),
            **await self._core.caller_of(request),
            **_checkpoint_members(at),
            "values": body.values,
            "metadata": {**metadata, "thread_id": thread_id},
        }
        if body.as_node is not None:
            question["as_node"] = body.as_node
        answer = _members.decode(await self._core.queries.query("update_state", question))
        encoded = bytes(answer["command"])
        if visible:
            encoded = b'{"visible":' + msgspec.json.encode(visible) + b"," + encoded[1:]
        for reply in await execute_update(self._core.commands, thread_id, encoded, origin_of(request)):
            if reply.status != 200:
                raise ApiError(reply.status, reply.detail or "")
        checkpoint = answer["checkpoint"]
        id = _members.decode(checkpoint).get("checkpoint_id", NULL)
        return encoded_response(StateUpdated(checkpoint, checkpoint, id))

    async def recent(self, request: web.Request) -> web.Response:
        """Returns states of a thread, newest first; without `limit` the latest alone."""
        thread_id = path_uuid(request, "thread")
        text = request.query.get("limit", "1")
        try:
            limit = min(int(text), HISTORY_MAX)
        except ValueError:
            raise unprocessable(f"Invalid limit {text}") from None
        select = checked(query_names(request, "select"))
        return await self._history(request, thread_id, limit, request.query.get("before"), select=select)

    async def history(self, request: web.Request) -> web.Response:
        """Returns states of a thread or subgraph that meet all conditions, newest first; without `limit` the
        latest alone.
        """
        thread_id = path_uuid(request, "thread")
        body = await read_body(request, HISTORY_SEARCH)
        before = None
        if body.before is not None:
            before = body.before.configurable.checkpoint_id or body.before.checkpoint_id
        check_sizes(self._core.settings, metadata=body.metadata)
        select = checked(body.select or [])
        return await self._history(
            request, thread_id, body.limit, before, body.metadata, body.checkpoint, select=select
        )

    async def _history(
        self,
        request: web.Request,
        thread_id: str,
        limit: int,
        before: str | None,
        metadata: dict[str, Any] | None = None,
        at: Checkpoint | None = None,
        *,
        select: Sequence[str] = (),
    ) -> web.Response:
        """Return the history like the library's `get_state_history`: with a checkpoint's id in ``at`` only that checkpoint."""
        await admit(request, "threads", "read", {"thread_id": thread_id}, missing_thread(thread_id))
        row = await self._row(thread_id)
        if row is None:
            raise missing_thread(thread_id)
        if limit <= 0 or _is_empty(row):
            return json_response(b"[]")
        question = {
            **_question(thread_id, row),
            **await self._core.caller_of(request),
            **_checkpoint_members(at or Checkpoint()),
            "limit": limit,
        }
        for name, value in (("before", before), ("metadata", metadata or None), ("select", list(select) or None)):
            if value is not None:
                question[name] = value
        return json_response(await self._core.queries.query("history", question))

    async def _row(self, thread_id: str) -> Any:
        """Return the members of the thread that a query needs; None if it does not exist.

        A run in flight may have recorded the thread's first checkpoint while the read model does not hold it yet. Then the row is read
        once more when the read model has caught up, with whether a run has been `started`: as long as none has, the thread has no
        state, and no worker is needed.
        """
        row = await self._core.reads.row(SQL["graph"], thread_id)
        if row is None or row["graph_id"] is None or row["has_checkpoints"] or row["status"] != "busy":
            return row
        try:
            async with asyncio.timeout(CATCH_UP_S):
                await self._core.folding.caught_up(thread_id)
        except (TimeoutError, LogUnavailable):
            return row  # a worker answers, which knows what it has recorded
        return await self._core.reads.row(SQL["graph_if_started"], thread_id)


_members = msgspec.json.Decoder(dict[str, Raw])


def _is_empty(row: Any) -> bool:
    """Return whether the thread certainly has no state. Where a run in flight may have recorded its first checkpoint, a
    worker answers."""
    if row["graph_id"] is None:
        return True
    return not row["has_checkpoints"] and (row["status"] != "busy" or row.get("started") is False)


def _question(thread_id: str, row: Any) -> dict[str, Any]:
    """Return the members of every query about a thread."""
    return {
        "graph_id": row["graph_id"],
        "thread_id": thread_id,
        "assistant_id": row["assistant_id"],
        "config": Raw(row["config"].encode()),
        "busy": row["status"] == "busy",
    }


def _checkpoint_members(at: Checkpoint) -> dict[str, Any]:
    named = {
        "checkpoint_id": at.checkpoint_id,
        "checkpoint_ns": at.checkpoint_ns,
        "checkpoint_map": at.checkpoint_map,
    }
    return {name: value for name, value in named.items() if value is not None}
