"""The stream of an A2A task (wire contract §14): what its run says, as status updates; then what it came to.

The frames are those of any run's stream (`runs.streaming`); what is shown of them differs. A gateway that goes down leaves the stream
without an end, and the client asks for the task elsewhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web
from langlog_backbone.time.clock import now_iso
from langlog_backbone.time.sources import uuid4
from langlog_schemas.json_types import Object

from ..core import Core
from ..http.errors import ApiError
from ..runs.steps import PreparedRun
from ..runs.streaming import Reader
from ..streams import sse
from ..streams.frame_order import FrameOrder
from ..streams.merge import Piece
from ..streams.stream_out import StreamOut
from ..streams.watch import Watch
from . import json_rpc
from .a2a_tasks import Dialect, Task, artifact, status, task_id, text_of, text_part
from .json_rpc import Id

Look = Callable[[str, str], Awaitable[Task]]
"""Thread and run -> the task."""

MESSAGES = ("messages/partial", "messages/complete")
EVENTS = "text/event-stream"
"""Without a charset, unlike the streams of runs: as recorded."""


class TaskOut(StreamOut):
    """Ends with what the task came to."""

    def __init__(
        self, request: web.Request, core: Core, watch: Watch, run: PreparedRun, id: Id, dialect: Dialect
    ) -> None:
        super().__init__(request, core.settings.heartbeat_s, {"content-type": EVENTS})
        self._watch = watch
        self._run = run
        self._id = id
        self._dialect = dialect
        self.look: Look | None = None

    def event(self, kind: str, value: Object) -> bytes:
        """One update, in the wrapping of 1.0 besides when it is asked for."""
        run, dialect = self._run, self._dialect
        whole: Object = {"taskId": task_id(run.thread_id, run.run_id), "contextId": run.thread_id}
        shown = {**whole, "kind": kind, **value}
        if dialect.v1:
            name = "statusUpdate" if kind == "status-update" else "artifactUpdate"
            bare = {key: part for key, part in value.items() if key != "final"}
            shown[name] = {**whole, **bare}
        return sse.event("message", json_rpc.result(self._id, shown))

    async def begin(self, task: Object) -> None:
        await self.open()
        await self.write(sse.event("message", json_rpc.result(self._id, {"task": task} if self._dialect.v1 else task)))

    async def fail(self, error: str, message: str) -> None:
        """The task's last status says it."""

    async def refuse(self, error: ApiError) -> None:
        self.look = None  # what the task came to is not the caller's to read any more
        await super().refuse(error)

    async def close(self) -> web.StreamResponse:
        if self.look is not None and not self._watch.closing and not self._watch.overrun:
            run = self._run
            task = await self.look(run.thread_id, run.run_id)
            if task.state == "completed":
                found = {"artifact": artifact(task, run.command.assistant_id), "append": False, "lastChunk": True}
                await self.write(self.event("artifact-update", found))
            await self.write(self.event("status-update", {"status": status(task, self._dialect), "final": True}))
        return await super().close()


class TaskReader(Reader):
    """Shows the text said so far, again whenever there is more of it."""

    def __init__(self, core: Core, out: TaskOut, watch: Watch, run: PreparedRun, dialect: Dialect) -> None:
        frames = FrameOrder(core.backlog, run.thread_id, run.run_id, recorded=False)
        super().__init__(core, out, watch, run.run_id, frames)
        self._events = out
        self._run = run
        self._dialect = dialect

    def _encoded(self, piece: Piece) -> bytes:
        frames = [f for f in piece.batch.frames if f.sequence > piece.after and f.event.partition("|")[0] in MESSAGES]
        said = [text for frame in frames for text in _said(msgspec.json.decode(frame.data))]
        return b"".join(self._working(text) for text in said)

    def _working(self, text: str) -> bytes:
        run = self._run
        message = {
            "kind": "message",
            "role": self._dialect.role("agent"),
            "parts": [text_part(text)],
            "messageId": uuid4(),
            "taskId": task_id(run.thread_id, run.run_id),
            "contextId": run.thread_id,
        }
        now = {"state": self._dialect.state("working"), "message": message, "timestamp": now_iso()}
        return self._events.event("status-update", {"status": now, "final": False})


def _said(messages: Any) -> list[str]:
    found = messages if isinstance(messages, list) else []
    return [text for m in found if isinstance(m, dict) and m.get("type") == "ai" and (text := text_of(m))]
