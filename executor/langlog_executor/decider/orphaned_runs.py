"""Ends cancelled runs that no worker is left to report: one was lost, or has handed its attempt back, and no other has begun.

    cancelled while queued for a further attempt │ lost while being cancelled ──► state of the thread ──► run.finish

Concurrency: belongs to its decider; a query takes up to `ANSWER_S`, so it runs beside the effects of other commands.
Death: the run stays dispatched, the scheduler finds it without a worker, and the requeue leads here again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from langlog_backbone.context import Backbone
from langlog_backbone.history.last_states import LastStates, OrphanedRun, ended
from langlog_backbone.log import NewRecord
from langlog_backbone.log.records import command_record
from langlog_schemas import commands as cmd

logger = structlog.get_logger(__name__)

SOURCE = "/langlog/decider"
ANSWER_S = 10.0
"""Seconds for a worker's answer: the only one may have died, and another is just starting in its place."""


class OrphanedRuns:
    """``append``: returns when the records are in the log."""

    def __init__(self, backbone: Backbone, append: Callable[[Sequence[NewRecord]], Awaitable[object]]) -> None:
        self._states = LastStates(backbone, ANSWER_S)
        self._append = append
        self._finding: dict[OrphanedRun, asyncio.Task[None]] = {}

    async def start(self) -> None:
        await self._states.start()

    async def stop(self) -> None:
        finding = list(self._finding.values())
        for task in finding:
            task.cancel()
        await asyncio.gather(*finding, return_exceptions=True)
        await self._states.stop()

    def find(self, run: OrphanedRun) -> None:
        """Query the thread's state after the run, and report the run's end, unless that is under way. Does not wait."""
        if run not in self._finding:
            task = self._finding[run] = asyncio.create_task(self._end(run))
            task.add_done_callback(lambda _: self._finding.pop(run))

    async def _end(self, run: OrphanedRun) -> None:
        try:
            (state,) = await self._states.of([run])
            await self._append([end_record(ended(run, state, "interrupted"))])
        except Exception:
            logger.exception("decider.end_lost", run_id=run.run_id)


def end_record(report: cmd.FinishRun) -> NewRecord:
    """Return the report under the id that a worker would use: the first report counts, and no worker is stopped for it."""
    return command_record(report, id=f"{report.run_id}-{report.attempt}-finish", source=SOURCE)
