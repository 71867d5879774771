"""Where a thread stands whose run ends without its worker: asked of another worker, so that the end tells it.

    lease lost for the last time │ time over │ cancelled, and no worker has it ──► query "state" ──► any worker ──► run.finish with values
                                                                                      └── no answer in time ──► the end without them

A thread's values come of its graph, which only workers have. Without an answer they stay those from before the run, until the next
one. Concurrency: one per scheduler and decider, on its event loop. When it dies over a question, the run is found in flight without
a worker, and its end is looked for again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import structlog
from langlog_schemas import commands as cmd
from langlog_schemas import messages
from langlog_schemas.messages import Answer, Query
from msgspec import Raw

from . import channels
from .clock import new_id, now_ms
from .context import Backbone
from .redis import RedisUnavailable

logger = structlog.get_logger(__name__)


class Orphan(NamedTuple):
    """An attempt of a run that no worker will tell the end of."""

    thread_id: str
    run_id: str
    attempt: int
    graph_id: str
    config: bytes
    """The thread's, JSON."""
    temporary: bool
    """The thread goes with the run: nobody will ask where it stands."""


class Task(msgspec.Struct):
    id: str
    interrupts: list[Any] = []


class State(msgspec.Struct):
    """What is read of a state (API.md 4)."""

    values: Raw
    checkpoint: Any = None
    next: list[str] = []
    tasks: list[Task] = []

    @property
    def interrupts(self) -> Raw:
        return Raw(msgspec.json.encode({task.id: task.interrupts for task in self.tasks if task.interrupts}))


_state = msgspec.json.Decoder(State)


class LastStates:
    """``limit_s``: how long an answer is waited for, seconds."""

    def __init__(self, backbone: Backbone, limit_s: float) -> None:
        self._backbone = backbone
        self._id = new_id()
        self._limit_s = limit_s
        self._waiting: dict[str, asyncio.Future[Answer]] = {}

    async def start(self) -> None:
        await self._backbone.bus.subscribe(channels.gateway(self._id), self._deliver)

    async def stop(self) -> None:
        await self._backbone.bus.unsubscribe(channels.gateway(self._id), self._deliver)

    async def of(self, runs: Sequence[Orphan]) -> list[State | None]:
        """Where the threads of these runs stand now; None when no worker has said it. Without a checkpoint there are no values."""
        found = await asyncio.gather(*(self._ask(run) for run in runs))
        unknown = sum(state is None and not run.temporary for run, state in zip(runs, found, strict=True))
        if unknown:
            logger.warning("last_states.unknown", runs=unknown)
        return found

    async def _ask(self, run: Orphan) -> State | None:
        if run.temporary:
            return None
        body = {"graph_id": run.graph_id, "thread_id": run.thread_id, "config": Raw(run.config), "busy": True}
        query = Query(
            id=new_id(),
            kind="state",
            reply_to=self._id,
            body=msgspec.json.encode(body),
            deadline_ms=now_ms() + int(self._limit_s * 1000),
        )
        future = self._waiting[query.id] = asyncio.get_running_loop().create_future()
        try:
            await self._backbone.pipe.call("LPUSH", self._backbone.pipe.key("queries"), messages.encode(query))
            async with asyncio.timeout(self._limit_s):
                answer = await future
            if answer.status != 200:
                return None
            state = _state.decode(answer.body)
            return State(values=cmd.ABSENT) if state.checkpoint is None else state
        except (TimeoutError, RedisUnavailable, msgspec.MsgspecError):
            return None
        finally:
            del self._waiting[query.id]

    def _deliver(self, data: bytes) -> None:
        answer = messages.decode_answer(data[1:])
        future = self._waiting.get(answer.id)
        if future is not None and not future.done():
            future.set_result(answer)


def ended(run: Orphan, state: State | None, outcome: cmd.Outcome, error: cmd.RunError | None = None) -> cmd.FinishRun:
    """The end of an attempt as its worker would have told it; ``state`` None: it leaves of the thread what is known of it."""
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
