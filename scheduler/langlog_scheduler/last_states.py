"""Where a thread stands whose run ends without its worker: asked of another worker, so that the end tells it.

    lease lost for the last time │ time over ──► query "state" ──► any worker ──► run.finish with values
                                                     └── no answer in time ──► the end without them, as it is known

A thread's values come of its graph, which only workers have. Without an answer they stay those from before the run, until the next
one. Concurrency: one per scheduler, on its event loop. When it dies over a question, the run is found again by another look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import structlog
from langlog_backbone import channels
from langlog_backbone.clock import new_id, now_ms
from langlog_backbone.context import Backbone
from langlog_backbone.redis import RedisUnavailable
from langlog_schemas import commands as cmd
from langlog_schemas import messages
from langlog_schemas.messages import Answer, Query
from msgspec import Raw

logger = structlog.get_logger(__name__)

ASK_SHARE = 0.5
"""Of a lease's time, for all questions of one look together: other schedulers do not take the run for forgotten yet."""


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
    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._id = new_id()
        self._limit_s = backbone.settings.lease_s * ASK_SHARE
        self._waiting: dict[str, asyncio.Future[Answer]] = {}

    async def start(self) -> None:
        await self._backbone.bus.subscribe(channels.gateway(self._id), self._deliver)

    async def stop(self) -> None:
        await self._backbone.bus.unsubscribe(channels.gateway(self._id), self._deliver)

    async def of(self, runs: Sequence[Any]) -> list[State | None]:
        """Where the threads of these runs stand now; None when no worker has said it, or nothing is kept of the thread.

        ``runs``: rows with ``thread_id``, ``graph_id``, ``config`` (the thread's), ``temporary``.
        """
        found = await asyncio.gather(*(self._ask(run) for run in runs))
        unknown = sum(state is None and not run["temporary"] for run, state in zip(runs, found, strict=True))
        if unknown:
            logger.warning("scheduler.states_unknown", runs=unknown)
        return found

    async def _ask(self, run: Any) -> State | None:
        if run["temporary"]:
            return None
        body = {
            "graph_id": run["graph_id"],
            "thread_id": run["thread_id"],
            "config": Raw(run["config"].encode()),
            "busy": True,
        }
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
            state = _state.decode(answer.body) if answer.status == 200 else None
            return None if state is None or state.checkpoint is None else state
        except (TimeoutError, RedisUnavailable, msgspec.MsgspecError):
            return None
        finally:
            del self._waiting[query.id]

    def _deliver(self, data: bytes) -> None:
        answer = messages.decode_answer(data[1:])
        future = self._waiting.get(answer.id)
        if future is not None and not future.done():
            future.set_result(answer)


def ended(run: Any, state: State, outcome: cmd.Outcome, error: cmd.RunError | None) -> cmd.FinishRun:
    """The end of a run's present attempt as its worker would have told it. ``run``: ``thread_id``, ``run_id``, ``attempt``."""
    return cmd.FinishRun(
        thread_id=run["thread_id"],
        run_id=run["run_id"],
        attempt=run["attempt"],
        outcome=outcome,
        values=state.values,
        next=state.next,
        interrupts=state.interrupts,
        error=error,
    )
