"""The graph's part of an attempt: opens the graph, streams it, and returns its end.

Concurrency: `GraphAttempt.run` is a coroutine of a graph loop; it is cancelled to stop it, after `stop` has set the reason. It
publishes nothing itself: frames go to an emitter, checkpoints to the checkpointer. When it dies, the supervisor
(`run_execution`) reports an error or, if the process dies, the next attempt continues from the last checkpoint.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import structlog
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.store.base import BaseStore
from langlog_backbone.credentials.run_credentials import Private
from langlog_backbone.process import tracing
from langlog_schemas.commands import Outcome, RunError
from msgspec.structs import replace

from ..frames import interrupt_copies
from ..frames.last_values import untracked_channels
from ..frames.protocol_events import ProtocolEvents
from ..frames.protocol_stream import BLOCKS, ProtocolStream
from ..frames.run_stream import Emit, RunStream, with_interrupts
from ..frames.transformers import required_modes, speaking, transformed
from ..graphs.loading import AnyGraph, Graphs
from ..graphs.misfits import read_state
from ..graphs.run_input import (
    NOTHING,
    STRICT_RESUME,
    Kwargs,
    build_config,
    build_context,
    build_input,
    own_recursion_limit,
    resumed_input,
)
from ..values import encoding, retried_errors
from ..values.error_text import INTERNAL_ERROR, class_name, described, of_another_loop, traceback_of
from ..values.interrupts import interrupts_of, refusal_of
from ..values.library_features import DRAINS, STREAM_VERSION, GraphDrained, RunControl
from ..values.parent_command import command_of
from .langsmith_traces import FeedbackUnavailable, feedback_urls, traced

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.types import StateSnapshot
    from langlog_backbone.process.settings import Settings
    from langlog_schemas.messages import Task

logger = structlog.get_logger(__name__)

Stop = Literal["interrupt", "rollback", "timeout", "drain", "drop"]
ERROR = "__error__"
USER_INTERRUPT = RunError(
    error="UserInterrupt", message="interrupt requested via POST /threads/{thread_id}/runs/{run_id}/cancel"
)
USER_ROLLBACK = RunError(
    error="UserRollback", message="rollback requested via POST /threads/{thread_id}/runs/{run_id}/cancel"
)
OTHER_LOOP = "an object of asyncio, such as a client, a pool or a lock, was first used on another event loop: "
GRAPHS_LOOP = "each graph has one of its own, since BG_JOB_ISOLATED_LOOPS is true; set it to false, and they share one"
OUTSIDE = "by asyncio.run, or while a node blocked the one that all graphs share (graph_loop.blocked); make such an object where it is used"
TIMED_OUT = RunError(error="TimeoutError", message="The run exceeded its time limit.")

interrupt_copies.guard()
retried_errors.guard()


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended. JSON members are encoded. ``stopped`` drain, drop or lost: there is nothing to report as an end."""

    outcome: Outcome = "success"
    values: bytes | None = None
    output: bytes | None = None
    next: list[str] = []
    interrupts: bytes = b"{}"
    state_known: bool = True
    """False: the graph's state was not read, so ``next`` and ``interrupts`` are not those of the thread."""
    error: RunError | None = None
    stopped: Stop | Literal["lost"] | None = None
    """``lost``: the process that ran the graph is gone."""


class GraphAttempt:
    """An attempt: created on the I/O loop, run on a graph loop."""

    def __init__(
        self,
        task: Task,
        kwargs: Kwargs,
        graphs: Graphs,
        checkpointer: BaseCheckpointSaver[Any],
        store: BaseStore | None,
        settings: Settings,
        emit: Emit,
        recorded: Callable[[], Awaitable[None]] | None = None,
        private: Private = NOTHING,
        mark: Callable[[str], None] | None = None,
    ) -> None:
        """``recorded``: waits until the graph's writes are in the log. ``private``: credentials of the run's caller.
        ``mark``: as of `RunStream`; of runs that can be joined from a checkpoint on."""
        self._task = task
        self._kwargs = kwargs
        self._graphs = graphs
        self._checkpointer = checkpointer
        self._store = store
        self._settings = settings
        self._private = private
        self._emit = emit
        self._control: Any = RunControl() if DRAINS else None
        self._stop: Stop | None = None
        self.traceparent: str | None = None
        """Trace that the attempt belongs to. Set before `run`."""
        self.protocol = ProtocolEvents(emit, task.graph_id)
        self.stream: RunStream | ProtocolStream = (
            ProtocolStream(emit, self.protocol)
            if kwargs.protocol
            else RunStream(
                kwargs.modes,
                emit,
                self.protocol,
                subgraphs=kwargs.subgraphs,
                recorded=recorded,
                mark=mark if kwargs.resumable else None,
            )
        )

    def stop(self, reason: Stop) -> None:
        """Set the reason of the coming cancellation. ``drain`` alone requests a stop at the next step boundary. Any thread."""
        self._stop = reason
        if reason == "drain" and self._control is not None:
            self._control.request_drain("shutdown")

    async def run(self) -> Ended:
        """Execute the graph. Never raises the graph's errors; CancelledError only when it must drop or drain at once."""
        with tracing.span(f"graph {self._task.graph_id}", parent=self.traceparent) as span:
            config = build_config(self._task, self._kwargs, self._settings, self._private)
            if span.traceparent is not None:
                from .node_spans import NodeSpans  # imported here: without traces it costs nothing

                config["callbacks"] = [NodeSpans(span.traceparent)]
            with traced(config["configurable"], self._kwargs.langsmith_tracer) as callbacks:
                if callbacks:
                    config["callbacks"] = [*(config.get("callbacks") or ()), *callbacks]  # type: ignore[misc]  # it is a list here
                return await self._attempt(config)

    async def _attempt(self, config: RunnableConfig) -> Ended:
        task = self._task
        context = self._kwargs.context
        try:
            async with self._graphs.open(
                task.graph_id,
                config,
                checkpointer=self._checkpointer,
                store=self._store,
                context=context,
                user=config["configurable"].get("langgraph_auth_user"),
            ) as graph:
                return await self._run(graph, config)
        except asyncio.CancelledError:
            if self._stop is None:
                return self._failed(RunError(error="CancelledError", message="The run was cancelled by its own graph."))
            if self._stop in ("drain", "drop"):
                raise
            return self._unopened(self._stopped(None, None))
        except GeneratorExit:
            raise  # nothing can be awaited from here on; the supervisor reports it
        except BaseException as error:  # SystemExit as well: it must not reach the loop, which other runs share
            self._log(error)
            return self._unopened(self._failed(described(error)))

    def _unopened(self, ended: Ended) -> Ended:
        """Return the end of an attempt whose graph was never opened: the thread's open interrupts stay."""
        return replace(ended, state_known=self._task.fresh)

    async def _run(self, graph: AnyGraph, config: RunnableConfig) -> Ended:
        error: RunError | None = None
        try:
            await self._stream(graph, config)
        except GraphDrained:
            return Ended(stopped="drain")
        except asyncio.CancelledError:
            if self._stop in ("drain", "drop"):
                raise
            if self._stop is None:
                error = RunError(error="CancelledError", message="The run was cancelled by its own graph.")
            else:
                return await self._after_stop(graph, config)
        except GeneratorExit:
            raise
        except BaseException as raised:
            error = self._error_of(raised)
        if error is None and self._kwargs.feedback_keys:
            error = await self._give_feedback_urls(self._kwargs.feedback_keys)
        if error is not None:
            return self._failed(error, await self._state(graph, config))
        if self.stream.interrupted or not self.stream.has_values:
            state = await self._state(graph, config)
            if state is not None:
                ended = _paused(state) if state.next else _finished(state)
                return replace(ended, output=self.stream.last.output(ended.output or ended.values) or ended.output)
        values = self.stream.values_json
        return Ended(values=values, output=self.stream.last.output(values))

    def _error_of(self, raised: BaseException) -> RunError:
        """Return the error of a run whose graph has raised this. A command for the graph around it is emitted first."""
        self._log(raised)
        if (command := command_of(raised)) is not None:
            self._emit("command", encoding.encode(command))
        error = described(raised)
        return replace(error, refusal=refusal_of(raised)) if self._kwargs.strict_resume else error

    async def _give_feedback_urls(self, keys: list[str]) -> RunError | None:
        """Emit the last event of a run that requested feedback URLs; without LangSmith the run ends as recorded (wire contract §5.1)."""
        try:
            urls = await feedback_urls(self._task.run_id, keys)
        except FeedbackUnavailable as error:
            return RunError(error=str(error), message=INTERNAL_ERROR)
        self._emit("feedback", encoding.encode(urls))
        return None

    async def _stream(self, graph: AnyGraph, config: RunnableConfig) -> None:
        kwargs, stream = self._kwargs, self.stream
        stream.last.untracked = untracked_channels(graph)
        graph_input: Any
        if self._task.attempt > 1 and not self._task.fresh:
            saved = await self._checkpointer.aget_tuple(_latest(config))
            graph_input, resumed = resumed_input(self._task, kwargs, saved)
            if resumed:
                config["configurable"].pop("checkpoint_id", None)
                config["configurable"].pop("checkpoint_map", None)
        else:
            graph_input = build_input(kwargs)
            if kwargs.strict_resume and self._task.attempt == 1:  # a later attempt finds its own answer there
                config["configurable"][STRICT_RESUME] = True
        schema = graph.context_schema
        transformers = getattr(graph, "stream_transformers", ())
        if isinstance(stream, ProtocolStream):
            stream.heed(required_modes(transformers))
        options: dict[str, Any] = {
            "stream_mode": list(stream.library_modes),
            "subgraphs": kwargs.subgraphs,
            "durability": kwargs.durable,
            "interrupt_before": kwargs.before,
            "interrupt_after": kwargs.after,
            "context": kwargs.context if schema is None else build_context(kwargs.context, schema),
        }
        if self._control is not None:
            options["control"] = self._control
        if isinstance(stream, ProtocolStream) and speaking(transformers):
            async with contextlib.aclosing(transformed(graph, graph_input, config, stream, options)) as changed:
                await stream.follow_transformed(changed)
        elif isinstance(stream, ProtocolStream):
            config["configurable"][BLOCKS] = True
            await stream.follow(graph.astream(graph_input, config, **{**options, **STREAM_VERSION, "subgraphs": True}))
        elif stream.events:
            # `astream_events` is langchain's, and puts langchain's default in place of the graph's own limit and of langgraph's
            config.setdefault("recursion_limit", own_recursion_limit(graph))
            events = graph.astream_events(graph_input, config, version="v2", **options)
            await stream.follow_events(events, self._task.run_id)
        else:
            await stream.follow(graph.astream(graph_input, config, **options))

    async def _after_stop(self, graph: AnyGraph, config: RunnableConfig) -> Ended:
        """Return the end after a cancellation; the state marks tasks that were under way (wire contract §7.1)."""
        if self._stop == "rollback":
            return self._stopped(None, None)
        state = await self._state(graph, config)
        if state is not None and state.next:
            for task in state.tasks:
                if task.error is None and task.result is None and not task.interrupts:
                    await self._checkpointer.aput_writes(
                        state.config, [(ERROR, asyncio.CancelledError())], task.id, _path(task.path)
                    )
        return self._stopped(state, self.stream.values_json)

    def _stopped(self, state: StateSnapshot | None, values: bytes | None) -> Ended:
        if self._stop == "rollback":
            return Ended(outcome="rolled_back", output=self.stream.values_json, error=USER_ROLLBACK)
        ended = _described_state(state)
        timed_out = self._stop == "timeout"
        return Ended(
            outcome="timeout" if timed_out else "interrupted",
            values=ended.values or values,
            next=ended.next,
            interrupts=ended.interrupts,
            error=TIMED_OUT if timed_out else USER_INTERRUPT,
        )

    def _failed(self, error: RunError, state: StateSnapshot | None = None) -> Ended:
        self._emit("error", encoding.encode({"error": error.error, "message": error.message}))
        ended = _described_state(state)
        return Ended(outcome="error", values=ended.values, next=ended.next, interrupts=ended.interrupts, error=error)

    async def _state(self, graph: AnyGraph, config: RunnableConfig) -> StateSnapshot | None:
        """Return the thread's current state; None without a checkpoint, or if it cannot be read."""
        try:
            state, _ = await read_state(graph, _latest(config))
        except Exception:
            logger.exception("run.state_unreadable", run_id=self._task.run_id)
            return None
        return state if state.metadata is not None else None

    def _log(self, error: BaseException) -> None:
        hint = OTHER_LOOP + (GRAPHS_LOOP if self._settings.isolated_loops else OUTSIDE)
        logger.warning(
            "run.failed",
            run_id=self._task.run_id,
            graph_id=self._task.graph_id,
            error=class_name(error),
            traceback=traceback_of(error),
            **({"hint": hint} if of_another_loop(error) else {}),
        )


def _latest(config: RunnableConfig) -> RunnableConfig:
    return {"configurable": {"thread_id": config["configurable"]["thread_id"], "checkpoint_ns": ""}}


def _path(path: tuple[Any, ...]) -> str:
    from langgraph.pregel._algo import task_path_str

    return str(task_path_str(path))


def _described_state(state: StateSnapshot | None) -> Ended:
    if state is None:
        return Ended()
    return Ended(
        values=encoding.encode(state.values),
        next=list(state.next),
        interrupts=encoding.encode(interrupts_of(state)),
    )


def _paused(state: StateSnapshot) -> Ended:
    ended = _described_state(state)
    output = None
    if state.interrupts and ended.values is not None:
        output = with_interrupts(ended.values, state.values, state.interrupts)
    return Ended(values=ended.values, output=output, next=ended.next, interrupts=ended.interrupts)


def _finished(state: StateSnapshot) -> Ended:
    return Ended(values=encoding.encode(state.values))
