"""The stream of an A2A task (wire contract §14): the messages of its run as status updates, then the outcome.

The frames are those of any run's stream (`runs.streaming`), written in another form. A gateway that stops leaves the stream
without an end, and the client queries the task elsewhere.
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
from ..runs.streaming import RunFollower
from ..runs.submission import PreparedRun
from ..streams import sse
from ..streams.sequencer import FrameSequencer, FrameSlice
from ..streams.stream_out import StreamOut
from ..streams.watch import Watch
from . import json_rpc
from .a2a_tasks import Dialect, Task, artifact, status, task_id, text_of, text_part
from .json_rpc import Id

ReadTask = Callable[[str, str], Awaitable[Task]]
"""(thread id, run id) -> the task."""

MESSAGES = ("messages/partial", "messages/complete")
EVENTS = "text/event-stream"
"""Content type without a charset, unlike the streams of runs: as recorded."""


class TaskOut(StreamOut):
    """An A2A stream. Ends with the outcome of the task."""

    def __init__(
        self, request: web.Request, core: Core, watch: Watch, run: PreparedRun, id: Id, dialect: Dialect
    ) -> None:
        super().__init__(request, core.settings.heartbeat_s, {"content-type": EVENTS})
        self._watch = watch
        self._run = run
        self._id = id
        self._dialect = dialect
        self.read_task: ReadTask | None = None

    def event(self, kind: str, value: Object) -> bytes:
        """Return one update, additionally wrapped as in 1.0 if that version was requested."""
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
        """End the stream; the task's last status has the error."""

    async def refuse(self, error: ApiError) -> None:
        self.read_task = None  # the caller may not read the outcome any more
        await super().refuse(error)

    async def close(self) -> web.StreamResponse:
        if self.read_task is not None and not self._watch.closing and not self._watch.overrun:
            run = self._run
            task = await self.read_task(run.thread_id, run.run_id)
            if task.state == "completed":
                update = {"artifact": artifact(task, run.command.assistant_id), "append": False, "lastChunk": True}
                await self.write(self.event("artifact-update", update))
            await self.write(self.event("status-update", {"status": status(task, self._dialect), "final": True}))
        return await super().close()


class TaskFollower(RunFollower):
    """Writes the text so far, again whenever there is more of it."""

    def __init__(self, core: Core, out: TaskOut, watch: Watch, run: PreparedRun, dialect: Dialect) -> None:
        frames = FrameSequencer(core.backlog, run.thread_id, run.run_id, recorded=False)
        super().__init__(core, out, watch, run.run_id, frames)
        self._events = out
        self._run = run
        self._dialect = dialect

    def _encoded(self, new: FrameSlice) -> bytes:
        frames = [frame for frame in new.frames if frame.event.partition("|")[0] in MESSAGES]
        texts = [text for frame in frames for text in _texts(msgspec.json.decode(frame.data))]
        return b"".join(self._working(text) for text in texts)

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


def _texts(messages: Any) -> list[str]:
    listed = messages if isinstance(messages, list) else []
    return [text for m in listed if isinstance(m, dict) and m.get("type") == "ai" and (text := text_of(m))]
