"""The names of a run's end, in each place that reports it: one row per outcome, from which all other maps are derived. Pure.

    worker ──FinishRun.outcome──► decider ──event, thread status──► log ──► projector: run status, webhook status
                                                                      └──► gateways: streams, protocol, A2A

A2A's task states are derived in the gateway from `RunEnd.lifecycle`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from .. import events as ev
from ..commands import Outcome

FinalStatus = Literal["success", "error", "timeout", "interrupted"]
"""The statuses of runs that are over."""
LifecycleStatus = Literal["completed", "failed", "interrupted"]
"""Names of the streaming protocol's events of a run's end (wire contract §9)."""
ThreadAfterwards = Literal["by its state", "error", "as before"]


class RunEnd(NamedTuple):
    """A run that ends with one outcome."""

    event: type[ev.FinalRunEvent]
    status: FinalStatus
    """As runs show it. A run that is rolled back is gone: this is for those who still follow it."""
    webhook: str
    """As webhooks show it (wire contract §12)."""
    lifecycle: LifecycleStatus
    thread: ThreadAfterwards
    """Where its thread gets its status from. ``by its state``: interrupted when nodes are due, else idle."""

    @property
    def failed(self) -> bool:
        """Whether those who wait for the run get its error instead of its output."""
        return self.lifecycle == "failed"


RUN_ENDS: dict[Outcome, RunEnd] = {
    "success": RunEnd(ev.RunSucceeded, "success", "success", "completed", "by its state"),
    "error": RunEnd(ev.RunFailed, "error", "error", "failed", "error"),
    "timeout": RunEnd(ev.RunTimedOut, "timeout", "timeout", "failed", "error"),
    "interrupted": RunEnd(ev.RunCancelled, "interrupted", "interrupted", "interrupted", "by its state"),
    "rolled_back": RunEnd(ev.RunRolledBack, "interrupted", "rollback", "interrupted", "as before"),
}
OUTCOME_OF: dict[type[ev.RunEnded], Outcome] = {end.event: outcome for outcome, end in RUN_ENDS.items()}
LIFECYCLE_OF: dict[str, LifecycleStatus] = {end.status: end.lifecycle for end in RUN_ENDS.values()}
"""Of each final status."""
FINAL_STATUSES = frozenset(LIFECYCLE_OF)


def end_of(event: ev.RunEnded) -> RunEnd:
    """The row of a final event."""
    return RUN_ENDS[OUTCOME_OF[type(event)]]


def lifecycle(status: str, *, waits: bool) -> LifecycleStatus:
    """The event of a run's end by its final status. ``waits``: it has stopped for a human."""
    names = LIFECYCLE_OF[status]
    return "interrupted" if names == "completed" and waits else names
