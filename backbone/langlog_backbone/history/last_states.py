"""Looks up a thread's latest state when its run ended without a report: another worker reads it, so that the final event can
include it.

    lease lost for the last time │ time over │ cancelled, and no worker has it ──► query "state" ──► any worker ──► run.finish with values
                                                                                      └── no answer in time ──► the end without them

A thread's values are computed by its graph, which only workers have. Without an answer the values from before the run stay until the next
one. Concurrency: one per scheduler and decider, on its event loop. When it dies during a query, the run is found in flight without
a worker, and its end is looked up again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import structlog
from langlog_schemas import commands as cmd
from msgspec import Raw

from ..context import Backbone
from ..process.server_errors import RedisUnavailable
from ..redis.queries import QueryClient, TooManyQueries
from ..redis.replies import ReplyRouter

logger = structlog.get_logger(__name__)


ENVELOPE_BYTES = 8_192
"""Bytes of a record that a run's end needs besides values and interrupts."""


class OrphanedRun(NamedTuple):
    """An attempt whose end no worker will report."""

    thread_id: str
    run_id: str
    attempt: int
    graph_id: str
    config: bytes
    """Config of the thread, as JSON."""
    temporary: bool
    """The thread is deleted with the run, so its state is not queried."""


class Task(msgspec.Struct):
    id: str
    interrupts: list[Any] = []


class State(msgspec.Struct):
    """Members of a state (wire contract §4) that are used here."""

    values: Raw
    checkpoint: Any = None
    next: list[str] = []
    tasks: list[Task] = []

    @property
    def interrupts(self) -> Raw:
        return Raw(msgspec.json.encode({task.id: task.interrupts for task in self.tasks if task.interrupts}))


_state = msgspec.json.Decoder(State)


class LastStates:
    """Queries workers for the states of threads. ``limit_s``: timeout of a query, in seconds."""

    def __init__(self, backbone: Backbone, limit_s: float) -> None:
        self._replies = ReplyRouter(backbone.bus)
        self._queries = QueryClient(backbone.pipe, self._replies)
        self._limit_s = limit_s
        self._record_bytes = backbone.log.max_record_bytes

    async def start(self) -> None:
        await self._replies.start()

    async def stop(self) -> None:
        await self._replies.stop()

    async def of(self, runs: Sequence[OrphanedRun]) -> list[State | None]:
        """Return the current state of each run's thread, or None where no worker answered. Without a checkpoint it has no values."""
        states = await asyncio.gather(*(self._query(run) for run in runs))
        unknown = sum(state is None and not run.temporary for run, state in zip(runs, states, strict=True))
        if unknown:
            logger.warning("last_states.unknown", runs=unknown)
        return states

    async def _query(self, run: OrphanedRun) -> State | None:
        if run.temporary:
            return None
        body = {
            "graph_id": run.graph_id,
            "thread_id": run.thread_id,
            "config": Raw(run.config),
            "busy": True,
            "to_store": True,
        }
        try:
            answer = await self._queries.query("state", msgspec.json.encode(body), self._limit_s)
            if answer.status != 200:
                return None
            state = _state.decode(answer.body)
            return State(values=cmd.ABSENT) if state.checkpoint is None else self._fitting(run, state)
        except (TimeoutError, RedisUnavailable, TooManyQueries, msgspec.MsgspecError):
            return None

    def _fitting(self, run: OrphanedRun, state: State) -> State | None:
        """Return the state reduced to fit into the final event's record: values that are too large are left out, so the thread's stay."""
        limit = self._record_bytes - ENVELOPE_BYTES
        if len(bytes(state.interrupts)) > limit // 2:
            return None
        if len(bytes(state.values)) + len(bytes(state.interrupts)) <= limit:
            return state
        logger.warning("last_states.too_large", run_id=run.run_id, bytes=len(bytes(state.values)))
        return msgspec.structs.replace(state, values=cmd.ABSENT)


def ended(
    run: OrphanedRun, state: State | None, outcome: cmd.Outcome, error: cmd.RunError | None = None
) -> cmd.FinishRun:
    """Return the end of an attempt as its worker would have reported it; ``state`` None: it leaves the thread's known state
    unchanged."""
    left = State(values=cmd.ABSENT) if state is None else state
    return cmd.FinishRun(
        thread_id=run.thread_id,
        run_id=run.run_id,
        attempt=run.attempt,
        outcome=outcome,
        values=left.values,
        next=left.next,
        interrupts=left.interrupts,
        state_known=state is not None,
        error=error,
    )
