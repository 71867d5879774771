"""Events that several decisions of threads and runs give, and the state after a command's events. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from langlog_schemas import events as ev
from langlog_schemas.aggregates import thread as thread_aggregate
from langlog_schemas.aggregates.thread import ThreadState

Events = list[ev.AnyEvent]


def fold_thread(state: ThreadState, events: Sequence[ev.AnyEvent], time: str) -> ThreadState:
    """Return the state after a command's events."""
    for event in events:
        state = thread_aggregate.evolve(state, event, time)
    return state


def thread_deleted(state: ThreadState) -> ev.ThreadDeleted:
    """Return the deletion of a thread; it names the attempts that are stopped by it."""
    held = [(run.run_id, run.attempt) for run in state.runs.values() if run.attempt]
    return ev.ThreadDeleted(thread_id=state.thread_id, active=held)


def rejected(state: ThreadState, status: int, detail: str, blob_id: str | None = None) -> Events:
    """Return the rejection of a command to the thread, as its only event. ``blob_id``: of the body of which it brought a piece."""
    return [ev.CommandRejected(aggregate_id=state.thread_id, status=status, detail=detail, blob_id=blob_id)]
