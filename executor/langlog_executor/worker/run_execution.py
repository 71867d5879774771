"""One run on this worker, supervised: from the claimed task to the report in the log.

    started ─► streaming ─► ended ─► frames published ─► checkpoints durable ─► finish report appended ─► released

Concurrency: lives on the I/O loop; the graph runs on a graph loop. Readers rely on the order at the end: a reader that sees
the report finds all frames and checkpoints. When it dies, the lease expires and the next attempt continues from the
last checkpoint; a graph that does not stop on request is abandoned, and its later records are dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from langlog_backbone.credentials.run_credentials import CredentialsGone, Private, RunCredentials
from langlog_backbone.log import LogFault, NewRecord
from langlog_backbone.metrics import table
from langlog_backbone.process import tracing
from langlog_backbone.process.activity import Activity
from langlog_backbone.process.retry import Availability, until_available
from langlog_backbone.time.clock import now_iso, now_ms
from langlog_schemas.commands import RunError
from langlog_schemas.events import RunStarted
from langlog_schemas.runs.ends import RUN_ENDS, lifecycle
from msgspec import MsgspecError

from ..checkpoints.checkpointer import LogCheckpointer
from ..checkpoints.serde import json_cipher
from ..frames.publisher import FramesOut
from ..graphs.run_input import NOTHING, Kwargs, read_kwargs
from ..runtime.records import RecordsClosed, RunRecords
from ..values import encoding
from ..values.error_text import INTERNAL_ERROR, described, traceback_of
from ..values.json_cipher import context_of
from .graph_attempt import Ended, GraphAttempt, Stop
from .hosted_attempt import HostedAttempt, HostedWork
from .run_report import RunReport, unreported

if TYPE_CHECKING:
    from langgraph.store.base import BaseStore
    from langlog_schemas.messages import Task

    from ..checkpoints.reader import CheckpointReader
    from ..graph_host.hosts import GraphHosts
    from ..graphs.loading import Graphs
    from ..runtime.graph_loops import GraphLoops
    from ..runtime.io_loop import IoLoop
    from ..runtime.loop_thread import Work

logger = structlog.get_logger(__name__)

BROKEN = RunError(error="InternalError", message=INTERNAL_ERROR)
_waited = functools.cache(table.QUEUE_WAIT.labels)
_ended = functools.cache(table.ATTEMPTS_ENDED.labels)
_took = functools.cache(table.ATTEMPT_SECONDS.labels)
_first_frame = functools.cache(table.FIRST_FRAME.labels)
STOP_GRACE_S = 5.0
"""Seconds after which a graph that has not stopped on request is reported as stopped and abandoned."""


class RunTools:
    """Objects that all runs of a worker share."""

    def __init__(
        self,
        io: IoLoop,
        graphs: Graphs,
        loops: GraphLoops,
        reader: CheckpointReader,
        store: BaseStore | None,
        host: GraphHosts | None = None,
    ) -> None:
        """``host``: of graphs in JavaScript; None for a project that has none."""
        self.io = io
        self.host = host
        self.graphs = graphs
        self.loops = loops
        self.reader = reader
        self.store = store
        self.json = json_cipher(reader.serde)
        self.credentials = RunCredentials(io.backbone.pool, io.backbone.settings)
        self.opening_credentials = Availability("worker.credentials")
        self.activity = Activity(io.backbone.settings)


class RunExecution:
    """An attempt of one run."""

    def __init__(self, tools: RunTools, task: Task, worker: str) -> None:
        self.task = task
        self._tools = tools
        self._worker = worker
        self._records = RunRecords(tools.io, task, task.thread_id)
        self._started_at = now_iso()
        self._began = tools.io.loop.time()
        self._began_ms = now_ms()
        self._attempt: GraphAttempt | HostedAttempt | None = None
        self._work: Work[Ended] | HostedWork | None = None
        self._frames: FramesOut | None = None
        self._encryption_context = context_of({})
        self._stop: Stop | None = None
        self._stop_requested: asyncio.Future[None] = tools.io.loop.create_future()

    async def run(self) -> None:
        """Returns when the run is off this worker's hands: reported, handed back, or dropped."""
        if self.task.dispatched_at:
            dispatched_s = datetime.fromisoformat(self.task.dispatched_at).timestamp()
            _waited(self.task.graph_id).observe(max(0.0, self._began_ms / 1000 - dispatched_s))
        with tracing.span(f"run {self.task.graph_id}", self._about(), parent=self._parent(), kind="consumer") as span:
            self._records.traceparent = span.traceparent
            await self._run(span)

    def _about(self) -> dict[str, str | int]:
        task = self.task
        return {
            "langlog.run_id": task.run_id,
            "langlog.thread_id": task.thread_id,
            "langlog.graph_id": task.graph_id,
            "langlog.attempt": task.attempt,
        }

    def _parent(self) -> str | None:
        if not tracing.on():
            return None
        with contextlib.suppress(MsgspecError):
            return read_kwargs(self.task).traceparent
        return None

    async def _run(self, span: tracing.Span) -> None:
        try:
            ended = await self._graph()
        except asyncio.CancelledError:
            self._close()
            raise
        except RecordsClosed:  # dropped before its graph began
            ended = None
        except Exception:
            logger.exception("run.broke", run_id=self.task.run_id)
            ended = Ended(outcome="error", error=BROKEN, state_known=self.task.fresh)
        if ended is None or self._stop == "drop":
            span.set({"langlog.outcome": "dropped"})
            self._count("dropped")
            self._close()
            return
        span.set({"langlog.outcome": ended.stopped or ended.outcome})
        if ended.error is not None:
            span.fail(ended.error.error)
        with contextlib.suppress(RecordsClosed):
            self._log_end(await self._report(ended))
        self._close()

    def _log_end(self, ended: Ended) -> None:
        task, error = self.task, ended.error
        if ended.stopped == "drop":
            return
        status: str = "handed back" if ended.stopped == "drain" else ended.outcome
        self._count(status)
        if status == "success" and ended.next:
            status = "success, waits for a human"
        self._tools.activity.run(
            graph_id=task.graph_id,
            thread_id=task.thread_id,
            run_id=task.run_id,
            attempt=task.attempt,
            status=status,
            seconds=self._tools.io.loop.time() - self._began,
            error=None if error is None else error.error,
            message=None if error is None else error.message,
        )

    def _count(self, status: str) -> None:
        graph_id, frames = self.task.graph_id, self._frames
        _ended(graph_id, status).inc()
        _took(graph_id).observe(self._tools.io.loop.time() - self._began)
        if frames is not None and frames.first_ms:
            _first_frame(graph_id).observe(max(0.0, (frames.first_ms - self._began_ms) / 1000))

    def stop(self, reason: Stop) -> None:
        """Stop the graph. ``drain``: at the next step boundary; called a second time: at once. ``drop`` wins over all."""
        again = self._stop == "drain" and reason == "drain"
        if self._stop is not None and not again and reason != "drop" and self._stop != "drain":
            return
        self._stop = reason
        if reason == "drop":
            self._close()
        if self._attempt is not None:
            self._attempt.stop(reason)
        if reason != "drain" or again:
            self._stop_now()

    @property
    def drains(self) -> bool:
        """Whether it will stop at its next step boundary, to continue elsewhere."""
        return self._stop == "drain"

    def _stop_now(self) -> None:
        if not self._stop_requested.done():
            self._stop_requested.set_result(None)

    async def _graph(self) -> Ended | None:
        """Execute the graph and return the end of the attempt; None if it was dropped."""
        tools = self._tools
        try:
            task = self.task = await self._in_clear(self.task)
        except Exception as error:  # of the project's handler
            logger.warning("run.unreadable", run_id=self.task.run_id, traceback=traceback_of(error))
            return Ended(outcome="error", error=described(error), state_known=self.task.fresh)
        try:
            kwargs = read_kwargs(task)
        except MsgspecError as error:
            logger.error("run.kwargs_unreadable", run_id=task.run_id, error=str(error))
            return Ended(
                outcome="error", error=RunError(error="ValueError", message="The run's kwargs are unreadable.")
            )
        try:
            private = await self._private() if kwargs.sealed else NOTHING
        except CredentialsGone as error:
            return Ended(outcome="error", error=described(error), state_known=task.fresh)
        self._encryption_context = context_of(kwargs.config.get("configurable") or {})
        self._frames = FramesOut(
            tools.io, task, resumable=kwargs.resumable, records=self._records, seal=self._frame_seal()
        )
        self._attempt = self._make_attempt(kwargs, self._frames, private)
        self._attempt.traceparent = self._records.traceparent
        if self._stop is not None:
            self._attempt.stop(self._stop)
        self._records.emit(
            RunStarted(thread_id=task.thread_id, run_id=task.run_id, attempt=task.attempt, worker=self._worker)
        )
        self._frames.emit("metadata", msgspec.json.encode({"run_id": task.run_id, "attempt": task.attempt}))
        self._attempt.protocol.running(kwargs.answered)
        if isinstance(self._attempt, HostedAttempt):
            self._work = HostedWork(self._attempt)
        else:
            self._work = tools.loops.submit(task.graph_id, self._attempt.run)
        return await self._watch(self._work, tools.io.backbone.settings.job_timeout_s)

    async def _in_clear(self, task: Task) -> Task:
        """Return the task with clients' values decrypted. Raises what a handler of the project raises."""
        json = self._tools.json
        if not json.any:
            return task
        kwargs, metadata = await json.open(task.kwargs), await json.open(task.metadata)
        return msgspec.structs.replace(task, kwargs=kwargs, metadata=metadata)

    def _frame_seal(self) -> Callable[[bytes], Awaitable[bytes]] | None:
        json, context = self._tools.json, self._encryption_context
        return (lambda data: json.seal(data, context, "run", "stream")) if json.any else None

    async def _sealed(self, ended: Ended) -> Ended:
        """Return the end, sealed for storing. Raises the errors of the project's handlers."""
        json, context = self._tools.json, self._encryption_context
        if not json.any:
            return ended
        return msgspec.structs.replace(
            ended,
            values=ended.values and await json.seal(ended.values, context, "thread", "values"),
            output=ended.output and await json.seal(ended.output, context, "thread", "values"),
            interrupts=await json.seal_interrupts(ended.interrupts, context),
        )

    async def _private(self) -> Private:
        """Return the credentials of the run's caller. Waits while Postgres is unavailable, unless the run has to stop. Raises
        CredentialsGone."""
        tools = self._tools
        opening = asyncio.ensure_future(
            until_available(lambda: tools.credentials.of(self.task.run_id), on=tools.opening_credentials)
        )
        try:
            waits: list[asyncio.Future[Any]] = [opening, self._stop_requested]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return opening.result() if opening.done() else NOTHING
        finally:
            opening.cancel()

    def _make_attempt(self, kwargs: Kwargs, frames: FramesOut, private: Private) -> GraphAttempt | HostedAttempt:
        task, tools = self.task, self._tools
        if tools.host is not None and task.graph_id in tools.host.graph_ids:
            return HostedAttempt(
                task,
                kwargs,
                tools.host,
                self._records,
                tools.reader,
                tools.store,
                tools.io.backbone.settings,
                frames.emit,
                private=private,
                mark=frames.mark,
                room=frames.room,
            )
        checkpointer = LogCheckpointer(self._records, tools.reader, task=task)
        return GraphAttempt(
            task,
            kwargs,
            tools.graphs,
            checkpointer,
            tools.store,
            tools.io.backbone.settings,
            frames.emit,
            recorded=self._records.flush,
            private=private,
            mark=frames.mark,
        )

    async def _watch(self, work: Work[Ended] | HostedWork, limit_s: float) -> Ended | None:
        both: list[asyncio.Future[Any]] = [work.done, self._stop_requested]
        try:
            await asyncio.wait(both, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if not work.done.done():
                if not self._stop_requested.done():
                    self.stop("timeout")
                work.cancel()
                if self._stop == "drop":
                    return None
                await asyncio.wait([work.done], timeout=STOP_GRACE_S)
        finally:
            if not work.done.done():
                work.cancel()
        return self._result(work)

    def _result(self, work: Work[Ended] | HostedWork) -> Ended | None:
        if work.done.done():
            if work.done.cancelled():
                if self._stop == "drain" or (self._stop == "interrupt" and self.task.attempt > 1):
                    # never begun here: what earlier attempts have left is found out where the requeue is decided
                    return Ended(stopped="drain")
                return None if self._stop == "drop" else self._left_behind()
            error = work.done.exception()
            if error is None:
                return work.done.result()
            if isinstance(error, RecordsClosed):  # the attempt was dropped or abandoned before, and its graph went on
                return None if self._stop == "drop" else self._left_behind()
            logger.error("run.broke", run_id=self.task.run_id, traceback=traceback_of(error))
            failure = described(error)
            if self._frames is not None:
                # the attempt could not: nothing can be awaited after a GeneratorExit of its graph
                self._frames.emit("error", encoding.encode({"error": failure.error, "message": failure.message}))
            return Ended(outcome="error", error=failure, state_known=self.task.fresh)
        logger.warning("run.left_behind", run_id=self.task.run_id, graph_id=self.task.graph_id, reason=self._stop)
        return self._left_behind()

    def _left_behind(self) -> Ended:
        """Return the end without the graph, which did not stop or never began."""
        values = self._attempt.stream.values_json if self._attempt is not None else None
        known = values is not None or self.task.fresh
        match self._stop:
            case "drain" | "drop":
                return Ended(stopped=self._stop)
            case "rollback":
                return Ended(outcome="rolled_back", output=values)
            case "timeout":
                return Ended(outcome="timeout", values=values, state_known=known)
            case _:
                return Ended(outcome="interrupted", values=values, state_known=known)

    async def _report(self, ended: Ended) -> Ended:
        """Publish frames, then append checkpoints and report; waits as long as the log is unavailable. The end as it was reported.

        A report that cannot be encoded or appended is replaced by one that always can: a run that ended must not stay running.
        """
        report = RunReport(self._tools.io, self.task, self._records, self._frames, self._started_at)
        ended = report.fitting(ended)
        self._publish_end(ended)
        if self._frames is not None:
            self._frames.seal()
            await self._frames.finish()
        if ended.stopped == "drop":
            return ended
        try:
            await self._records.flush_with(report.record(await self._sealed(ended)))
        except (RecordsClosed, LogFault):
            raise
        except Exception as error:
            logger.error("run.report_impossible", run_id=self.task.run_id, traceback=traceback_of(error))
            ended = unreported(error)
            await self._report_instead(report.record(ended))
        return ended

    async def _report_instead(self, record: NewRecord) -> None:
        try:
            await self._records.flush_with(record)
        except (RecordsClosed, LogFault):
            raise
        except Exception:  # what the attempt wrote before is what cannot be appended: it is left out
            records = RunRecords(self._tools.io, self.task, self.task.thread_id, suffix="end")
            records.traceparent = self._records.traceparent
            self._records = records
            await records.flush_with(record)

    def _publish_end(self, ended: Ended) -> None:
        """Publish the end to subscribers of the streaming protocol."""
        if self._attempt is None or ended.stopped is not None:
            return
        try:
            self._publish_final_events(self._attempt, ended)
        except (
            Exception
        ):  # of what is open in the graph's messages and subgraphs; the report has to go out all the same
            logger.exception("run.end_not_streamed", run_id=self.task.run_id)

    def _publish_final_events(self, attempt: GraphAttempt | HostedAttempt, ended: Ended) -> None:
        status = lifecycle(RUN_ENDS[ended.outcome].status, waits=bool(ended.next))
        failure = ended.error if status == "failed" else None
        error = None if failure is None else failure.message
        attempt.stream.end(status, error)
        attempt.protocol.closed(status, error, None if failure is None else failure.refusal)

    def _close(self) -> None:
        """Close the outputs: the graph can change nothing from now on."""
        self._records.close()
        if self._frames is not None:
            self._frames.close()
