"""``POST /threads/{thread_id}/fork``: a new thread that begins at a checkpoint of another one (langlog's own).

The history up to the checkpoint is appended to the new thread as in a copy (`copy`); then a worker reads the state there, and the new
thread gets its values, status and open interrupts. A gateway that dies in between leaves a thread without them; the request can be
repeated under its ``Idempotency-Key``.
"""

from __future__ import annotations

import functools
from typing import Any

import msgspec
from aiohttp import web
from langlog_backbone.time.sources import uuid4
from langlog_schemas import commands as cmd
from langlog_schemas.runs.request import Checkpoint

from ..auth.access import admit, authorize
from ..core import Core, encoded_response, origin_of
from ..http.backends import UserCodeError
from ..http.errors import ApiError, missing_thread, not_found, unprocessable
from ..http.validation import check_sizes, path_uuid, read_body, uuid_of
from ..requests.threads import THREAD_FORK, ThreadFork
from ..responses.threads import thread
from .copy import SQL, forked_state
from .splitting import fitting
from .state import ThreadState
from .summary import StateSummary

CHECKPOINT_MISSING = "Thread {} has no checkpoint {}. GET /threads/{{thread_id}}/history returns those that it has"
NOTHING_TO_FORK = "Thread {} has no checkpoint yet: there is nothing to fork"
OF_SUBGRAPH = (
    "checkpoint_ns is {!r}: a thread is forked at a checkpoint of the graph itself, whose checkpoint_ns is empty"
)


class Forks:
    def __init__(self, core: Core, state: ThreadState) -> None:
        self._core = core
        self._state = state

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/threads/{thread_id}/fork", self.fork)]

    async def fork(self, request: web.Request) -> web.Response:
        """Creates a thread with the history of this one up to a checkpoint, and with its state there.

        At the latest checkpoint the new thread waits for the same answers as this one, with the same open interrupts. At an
        earlier one the next nodes are executed anew when the new thread is run: their writes here, including answers, are
        not copied. Checkpoints keep their ids; runs are not copied. Metadata and time to live are those of this thread, and
        the metadata member `forked_from` holds `thread_id` and `checkpoint_id`. This thread does not change.
        """
        source = path_uuid(request, "thread")
        body = await read_body(request, THREAD_FORK)
        check_sizes(self._core.settings, metadata=body.metadata)
        wanted = _checkpoint_id(body)
        origin = origin_of(request)
        target = uuid_of(body.thread_id, "thread") if body.thread_id is not None else _new_id(origin)
        await admit(request, "threads", "read", {"thread_id": source}, missing_thread(source))
        row = await self._core.reads.row(SQL["get"], source)
        if row is None:
            raise missing_thread(source)
        checkpoint_id = wanted or await self._core.reads.value(SQL["head"], source)
        if checkpoint_id is None:
            raise ApiError(409, NOTHING_TO_FORK.format(source))
        state = await forked_state(
            self._core.reads, source, target, checkpoint_id, self._core.commands.max_record_bytes
        )
        if not state:
            raise not_found(CHECKPOINT_MISSING.format(source, checkpoint_id[:200]))
        value: dict[str, Any] = {
            "thread_id": target,
            "metadata": {
                **msgspec.json.decode(row["metadata"]),
                **body.metadata,
                "forked_from": {"thread_id": source, "checkpoint_id": checkpoint_id},
            },
            "if_exists": "raise",
        }
        visible = await authorize(request, "threads", "create", value)
        made = cmd.CreateThread(
            thread_id=target, metadata=value["metadata"], ttl=_ttl_of(row), if_exists="raise", visible=visible
        )
        await self._core.commands.execute(made, origin, "fork")
        for reply in await self._core.commands.execute_all(state, origin, "fork's checkpoints"):
            if reply.status != 200:
                raise ApiError(reply.status, reply.detail or "")
        await self._read_state(request, target, checkpoint_id, origin)
        return encoded_response(thread(await self._core.reads.row(SQL["get"], target)))

    async def _read_state(self, request: web.Request, target: str, checkpoint_id: str, origin: Any) -> None:
        """Set the new thread's values, status and interrupts to those of its state."""
        read = functools.partial(self._state.read, request, target, Checkpoint(), subgraphs=False, to_store=True)
        try:
            answer = await read()
        except UserCodeError:
            return  # a graph that no longer loads does not prevent forks of its threads
        except ApiError as error:
            if error.status != web.HTTPRequestEntityTooLarge.status_code:
                raise
            answer = await read(select=("next", "tasks"))  # the fork has the values in its checkpoint
        state = StateSummary.decode(answer or b"{}")
        command = cmd.UpdateState(
            thread_id=target,
            checkpoints=[],
            values=state.values,
            next=state.next,
            interrupts=state.interrupts(),
            checkpoint_id=checkpoint_id,
        )
        (fits,) = fitting(command, self._core.commands.max_record_bytes)
        await self._core.commands.execute(fits, origin, "fork's state")


def _checkpoint_id(body: ThreadFork) -> str | None:
    """Return the requested checkpoint; None: the latest. Raises ApiError 422."""
    at = body.checkpoint
    if at is None:
        return body.checkpoint_id or None
    if at.checkpoint_ns:
        raise unprocessable(OF_SUBGRAPH.format(at.checkpoint_ns[:200]))
    if body.checkpoint_id and at.checkpoint_id and body.checkpoint_id != at.checkpoint_id:
        raise unprocessable("checkpoint_id and checkpoint.checkpoint_id differ. Send one of them")
    return at.checkpoint_id or body.checkpoint_id or None


def _new_id(origin: Any) -> str:
    thread_id: str = uuid4() if origin.key is None else origin.mint("thread")
    return thread_id


def _ttl_of(row: Any) -> cmd.Ttl | None:
    """Return the time to live of a fork: that of the forked thread."""
    return None if row["ttl_minutes"] is None else cmd.Ttl(row["ttl_minutes"], row["ttl_strategy"])
