"""One attempt of a run whose graph is in JavaScript, the graph's part: begins it on the graph host, and returns its end.

Replaces `GraphAttempt`; the graph runs on the host, so this runs on the I/O loop. Cancelled, it has the host stop the graph
and waits for the thread's state; the supervisor (`run_execution`) limits that time. When the host dies, the attempt is lost
(``Ended.stopped``), and the run continues as if its worker had died.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from langlog_backbone.credentials.run_credentials import Private
from langlog_backbone.process import tracing
from langlog_backbone.values.json_shape import without_nul
from langlog_schemas.commands import RunError
from langlog_schemas.runs.errors import Refusal
from msgspec.structs import replace

from ..frames.protocol_events import ProtocolEvents
from ..frames.run_stream import Emit
from ..graph_host.checkpoint_calls import CheckpointCalls
from ..graph_host.hosted_stream import HostedStream
from ..graph_host.jobs import HostLost
from ..graph_host.process import GraphHostError, GraphRefused
from ..graph_host.protocol import ProtocolFault, Run
from ..graph_host.run_body import run_body
from ..graph_host.store_calls import StoreCalls
from ..graphs.run_input import NOTHING, Kwargs, build_config
from ..values import encoding
from ..values.error_text import INTERNAL_ERROR, MESSAGE_LIMIT, NAME_LIMIT, described
from ..values.redaction import shown
from .graph_attempt import TIMED_OUT, USER_INTERRUPT, USER_ROLLBACK, Ended, Stop
from .langsmith_traces import FeedbackUnavailable, feedback_urls

if TYPE_CHECKING:
    from langgraph.store.base import BaseStore
    from langlog_backbone.process.settings import Settings
    from langlog_schemas.messages import Task

    from ..checkpoints.reader import CheckpointReader
    from ..graph_host.hosts import GraphHosts
    from ..graph_host.jobs import Job
    from ..runtime.records import RecordSink

logger = structlog.get_logger(__name__)

CANCELLED = RunError(error="CancelledError", message="The run was cancelled by its own graph.")


class HostedAttempt:
    """Made and run on the I/O loop."""

    def __init__(
        self,
        task: Task,
        kwargs: Kwargs,
        host: GraphHosts,
        records: RecordSink,
        reader: CheckpointReader,
        store: BaseStore | None,
        settings: Settings,
        emit: Emit,
        private: Private = NOTHING,
        mark: Callable[[str], None] | None = None,
        room: Callable[[], Awaitable[None] | None] = lambda: None,
        checkpoints: CheckpointCalls | None = None,
    ) -> None:
        """As in `GraphAttempt`. ``records``: sink of the checkpoints. ``room``: None while more frames can be taken, or else what to
        wait for. ``checkpoints``: answers the graph's calls instead of ``records`` and ``reader``."""
        self._task = task
        self._kwargs = kwargs
        self._host = host
        self._emit = emit
        self._private = private
        self._settings = settings
        self._room = room
        self._holding: asyncio.Future[None] | None = None
        self._stop: Stop | None = None
        self._job: Job | None = None
        self.traceparent: str | None = None
        self.protocol = ProtocolEvents(emit, task.graph_id)
        self.stream = HostedStream(emit, self.protocol, nested=kwargs.protocol, mark=mark if kwargs.resumable else None)
        config = build_config(task, kwargs, settings, private)
        if host.loaded is not None:
            config["metadata"]["langgraph_version"] = host.loaded.langgraph
        self._config: Mapping[str, Any] = config
        self._checkpoints = checkpoints or CheckpointCalls(
            records, reader, task=task, configurable=config["configurable"]
        )
        self._store = StoreCalls(store, config)

    def stop(self, reason: Stop) -> None:
        """Set the reason of the coming cancellation. ``drain`` alone requests a stop at the next step boundary."""
        self._stop = reason
        if reason == "drain" and self._job is not None:
            self._job.stop("drain")

    async def run(self) -> Ended:
        """Execute the graph. Never raises the graph's errors; CancelledError only when it must drop or drain at once."""
        with tracing.span(f"graph {self._task.graph_id}", parent=self.traceparent) as span:
            if span.traceparent is not None:
                from ..graph_host.hosted_spans import HostedSpans  # imported here: without traces it costs nothing

                self.stream.spans = HostedSpans(span.traceparent)
            try:
                ended = await self._run()
            except HostLost as error:
                logger.warning(
                    "run.host_lost", run_id=self._task.run_id, graph_id=self._task.graph_id, error=str(error)
                )
                return Ended(stopped="lost")
            except GraphHostError as error:
                if not isinstance(error, GraphRefused):  # of the machine: another try may go well, here or elsewhere
                    logger.warning(
                        "run.no_host", run_id=self._task.run_id, graph_id=self._task.graph_id, error=str(error)
                    )
                    return Ended(stopped="lost")
                return replace(self._failed(described(error)), state_known=self._task.fresh)
            except ProtocolFault as error:
                return replace(self._failed(described(error)), state_known=self._task.fresh)
        await self._checkpoints.settled()
        return ended

    async def _run(self) -> Ended:
        task = self._task
        about = {"run_id": task.run_id, "thread_id": task.thread_id, "graph_id": task.graph_id}
        traced = self.stream.spans is not None
        body = run_body(task, self._kwargs, self._config, self._private, marks=self._kwargs.resumable, spans=traced)
        job = self._job = await self._host.job(lambda id: Run(id, body), self._call, self._take, about)
        if self._stop == "drain":
            job.stop("drain")
        try:
            result = await self._result(job)
        except asyncio.CancelledError:
            if self._stop in ("drain", "drop", None):
                job.drop()
                raise
            job.stop("cancel")
            try:
                result = await self._result(job)
            except asyncio.CancelledError:
                job.drop()
                raise
        if job.fault is not None:
            return self._failed(described(job.fault), _State.of(result))
        return await self._ended(result)

    async def _result(self, job: Job) -> dict[str, Any]:
        result = await asyncio.shield(job.done)
        return result if isinstance(result, dict) else {}

    def _take(self, items: list[list[Any]]) -> None:
        self.stream.take(items)
        if self._holding is None and (waiting := self._room()) is not None:
            self._holding = asyncio.ensure_future(self._hold(waiting))

    async def _hold(self, waiting: Awaitable[None]) -> None:
        """Have the host keep what it streams until the frames that are here have left."""
        assert self._job is not None
        self._job.hold(on=True)
        await waiting
        self._holding = None
        self._job.hold(on=False)

    def _call(self, name: str, args: list[Any]) -> Awaitable[Any] | None:
        return self._store.call(*args) if name == "store" else self._checkpoints.call(name, args)

    async def _ended(self, result: dict[str, Any]) -> Ended:
        state = _State.of(result)
        unopened = bool(result.get("unopened"))
        match result.get("how"):
            case "drained":
                return Ended(stopped="drain")
            case "cancelled":
                ended = self._stopped(state)
            case "failed":
                error = result["error"]
                logger.warning(
                    "run.failed",
                    run_id=self._task.run_id,
                    graph_id=self._task.graph_id,
                    error=error["error"],
                    traceback=error["stack"],
                )
                refusal = result.get("refusal")
                described_error = RunError(
                    error=error["error"][:NAME_LIMIT],
                    message=shown(error["message"], MESSAGE_LIMIT),
                    refusal=None if refusal is None else msgspec.convert(refusal, Refusal),
                )
                ended = self._failed(described_error, state)
            case "done":
                return await self._done(state)
            case _:
                ended = self._failed(RunError(error="InternalError", message=INTERNAL_ERROR))
        return replace(ended, state_known=self._task.fresh) if unopened else ended

    async def _done(self, state: _State | None) -> Ended:
        if self._kwargs.feedback_keys:
            try:
                urls = await feedback_urls(self._task.run_id, self._kwargs.feedback_keys)
            except FeedbackUnavailable as error:
                return self._failed(RunError(error=str(error), message=INTERNAL_ERROR), state)
            self._emit("feedback", encoding.encode(urls))
        last = self.stream.last
        if state is None:
            values = self.stream.values_json
            return Ended(values=values, output=last.output(values))
        if not state.next:
            return Ended(values=state.values, output=last.output(state.values))
        output = last.output(state.output or state.values) or state.output
        return Ended(values=state.values, output=output, next=state.next, interrupts=state.interrupts)

    def _stopped(self, state: _State | None) -> Ended:
        if self._stop is None:
            return self._failed(CANCELLED, state)
        if self._stop == "rollback":
            return Ended(outcome="rolled_back", output=self.stream.values_json, error=USER_ROLLBACK)
        timed_out = self._stop == "timeout"
        ended = Ended(
            outcome="timeout" if timed_out else "interrupted",
            values=self.stream.values_json,
            error=TIMED_OUT if timed_out else USER_INTERRUPT,
        )
        return ended if state is None else state.in_end(ended)

    def _failed(self, error: RunError, state: _State | None = None) -> Ended:
        self._emit("error", encoding.encode({"error": error.error, "message": error.message}))
        ended = Ended(outcome="error", error=error)
        return ended if state is None else state.in_end(ended)


class HostedWork:
    """An attempt under way, like `Work` on a graph loop."""

    def __init__(self, attempt: HostedAttempt) -> None:
        self.done = asyncio.ensure_future(attempt.run())

    def cancel(self) -> None:
        self.done.cancel()


class _State(msgspec.Struct, frozen=True):
    """The thread's state as the host read it after the run: JSON, but for ``next``."""

    values: bytes
    next: list[str]
    interrupts: bytes
    output: bytes | None

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> _State | None:
        state = result.get("state")
        if state is None:
            return None
        output = state.get("output")
        return cls(
            without_nul(state["values"]),
            list(state["next"]),
            without_nul(state["interrupts"]),
            None if output is None else without_nul(output),
        )

    def in_end(self, ended: Ended) -> Ended:
        return replace(ended, values=self.values, next=self.next, interrupts=self.interrupts)
