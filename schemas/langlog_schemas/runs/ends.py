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
    """Status of the run that clients see. A rolled-back run is removed: this one is for those who still follow its stream."""
    webhook: str
    """Status in the webhook's body (wire contract §12)."""
    lifecycle: LifecycleStatus
    thread: ThreadAfterwards
    """How the thread gets its status. ``by its state``: interrupted when nodes are due, else idle."""

    @property
    def failed(self) -> bool:
        """Whether waiting clients receive the run's error instead of its output."""
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
"""Final status -> name of the lifecycle event."""
FINAL_STATUSES = frozenset(LIFECYCLE_OF)


def end_of(event: ev.RunEnded) -> RunEnd:
    """Return the row of a final event."""
    return RUN_ENDS[OUTCOME_OF[type(event)]]


def lifecycle(status: str, *, waits: bool) -> LifecycleStatus:
    """Return the lifecycle event for a final status. ``waits``: the run has stopped for a human."""
    names = LIFECYCLE_OF[status]
    return "interrupted" if names == "completed" and waits else names
