"""The thread aggregate: the state of a thread and its runs in flight that commands are decided against, folded from events.

Ended runs are not part of it: no command changes them, except their deletion. `evolve` is
pure; states are never changed in place.
"""

from __future__ import annotations

from typing import assert_never

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from .. import events as ev
from ..commands import CancelAction, Metadata, Ttl

NO_INTERRUPTED_RUN = "No interrupted run is bound to this thread."
INTERRUPT_CONSUMED = "Unknown or already-consumed interrupt: {}"
"""Error text for a run that answers an interrupt which is not open (`commands.CreateRun.answers`)."""
WORKER_LOST = "The run lost its worker {} times and was given up."
TIME_OVER = "The run exceeded its time limit."
CLIENT_LEFT = "interrupt requested by on_disconnect: cancel, after the client disconnected"
"""Error texts of runs that ended without a report of their worker."""


class _Interrupt(msgspec.Struct):
    """The one member of an interrupt that this module decodes."""

    id: str | None = None


_interrupts = msgspec.json.Decoder(dict[str, list[_Interrupt]])


class RunInFlight(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is pending (``attempt`` 0) or dispatched."""

    run_id: str
    ordinal: int
    assistant_id: str
    graph_id: str
    kwargs: Raw
    metadata: Metadata
    created_at: str
    not_before: str | None = None
    temporary: bool = False
    attempt: int = 0
    crashes: int = 0
    cancel: CancelAction | None = None
    superseded_by: str | None = None

    def ready(self, now: str) -> bool:
        """Return whether the run may start at ``now`` (ISO 8601)."""
        return self.attempt == 0 and (self.not_before is None or self.not_before <= now)


class ThreadState(msgspec.Struct, frozen=True, kw_only=True):
    thread_id: str
    exists: bool = False
    created_at: str = ""
    updated_at: str = ""
    """Time of the last change that clients can see. The TTL counts from it."""
    metadata: Metadata = {}
    config: Metadata = {}
    ttl: Ttl | None = None
    status: ev.ThreadStatus = "idle"
    status_when_idle: ev.ThreadStatus = "idle"
    """Status without runs in flight. The thread returns to it when those runs end without a trace."""
    has_checkpoints: bool = False
    frame_ms: int = 0
    seq: int = 0
    """The last protocol number that a run of the thread may have used."""
    open_interrupts: tuple[str, ...] = ()
    """Ids of the interrupts that the last state of the thread left open, in order; those that a run in flight answers too."""
    runs: dict[str, RunInFlight] = {}
    """Runs in flight in order of creation."""

    @property
    def active(self) -> RunInFlight | None:
        """The run that a worker may hold: at most one on a thread."""
        return next((run for run in self.runs.values() if run.attempt > 0), None)


def evolve(state: ThreadState, event: ev.AnyEvent, time: str) -> ThreadState:
    """Return the state after an event, whose time is ``time``. Other events leave it unchanged."""
    after = _evolve(state, event, time)
    return after if after is state or not after.exists else replace(after, updated_at=imported_time(event) or time)


def _evolve(state: ThreadState, event: ev.AnyEvent, time: str) -> ThreadState:  # noqa: C901 - one case an event
    match event:
        case ev.ThreadCreated():
            if event.existed:
                return state
            return ThreadState(
                thread_id=state.thread_id,
                exists=True,
                created_at=(event.provenance and event.provenance.created_at) or time,
                metadata=event.metadata,
                config=event.config,
                ttl=event.ttl,
                has_checkpoints=state.has_checkpoints,
            )
        case ev.ThreadUpdated():
            return replace(state, metadata=event.metadata, ttl=event.ttl or state.ttl)
        case ev.ThreadDeleted():
            return ThreadState(thread_id=state.thread_id)
        case ev.StateUpdated():
            if event.checkpoints_only:
                return replace(state, has_checkpoints=True)
            open_interrupts = interrupt_ids(event.interrupts)
            return replace(
                state,
                status=event.status,
                status_when_idle=event.status,
                has_checkpoints=True,
                open_interrupts=open_interrupts,
            )
        case ev.RunCreated():
            run = RunInFlight(
                run_id=event.run_id,
                ordinal=event.ordinal,
                assistant_id=event.assistant_id,
                graph_id=event.graph_id,
                kwargs=event.kwargs,
                metadata=event.metadata,
                created_at=time,
                not_before=event.not_before,
                temporary=event.temporary,
                attempt=0 if event.dispatched is None else 1,
            )
            return replace(
                state,
                exists=True,
                created_at=state.created_at or time,
                metadata=event.thread_metadata,
                config=event.thread_config,
                ttl=event.thread_ttl or state.ttl,
                has_checkpoints=state.has_checkpoints or event.dispatched is not None,
                status="busy",
                runs={**state.runs, run.run_id: run},
            )
        case ev.RunDispatched():
            run = replace(state.runs[event.run_id], attempt=event.attempt, crashes=event.crashes)
            return replace(state, has_checkpoints=True, runs={**state.runs, run.run_id: run})
        case ev.RunCancelRequested():
            run = replace(state.runs[event.run_id], cancel=event.action, superseded_by=event.superseded_by)
            return replace(state, runs={**state.runs, run.run_id: run})
        case ev.RunSucceeded() | ev.RunFailed() | ev.RunCancelled() | ev.RunTimedOut() | ev.RunRolledBack():
            if event.deletes_thread:
                return ThreadState(thread_id=state.thread_id)
            return replace(
                state,
                status=event.status,
                status_when_idle=status_when_idle(event) or state.status_when_idle,
                frame_ms=max(state.frame_ms, event.last_frame_ms),
                seq=max(state.seq, event.last_event_number),
                open_interrupts=interrupt_ids(event.interrupts) if event.interrupts else state.open_interrupts,
                runs=_without(state, event.run_id),
            )
        case ev.RunDeleted():
            return replace(
                state,
                status=event.status or state.status,
                status_when_idle=status_when_idle(event) or state.status_when_idle,
                seq=max(state.seq, event.last_event_number),
                open_interrupts=interrupt_ids(event.interrupts) if event.values else state.open_interrupts,
                runs=_without(state, event.run_id),
            )
        case (
            ev.CommandRejected()
            | ev.CommandRepeated()
            | ev.CheckpointsDeleted()
            | ev.WebhookAttempted()
            | ev.WebhookDueAgain()
            | ev.RunStarted()
            | ev.RunFrames()
            | ev.CheckpointWritten()
            | ev.CheckpointWrites()
            | ev.CheckpointSteps()
            | ev.CheckpointPart()
            | ev.RunResultPart()
            | ev.AssistantEvent()
            | ev.CronEvent()
            | ev.StoreEvent()
            | ev.GraphRegistered()
            | ev.ParkedReleased()
            | ev.ParkedEventsReleased()
        ):
            return state
        case _:
            assert_never(event)


def imported_time(event: ev.AnyEvent) -> str | None:
    """Return the time of the thread's last change on the server that it was imported from, or None if the event is no import."""
    match event:
        case (
            ev.StateUpdated(checkpoints_only=False, provenance=origin)
            | ev.ThreadCreated(existed=False, provenance=origin)
        ):
            return None if origin is None else origin.updated_at
        case _:
            return None


def status_when_idle(event: ev.RunEnded | ev.RunDeleted) -> ev.ThreadStatus | None:
    """Return the thread's status without runs in flight, as the event reports it, or None if it does not report one."""
    return event.status_when_idle or (None if event.status == "busy" else event.status)


def interrupt_ids(interrupts: Raw) -> tuple[str, ...]:
    """Return the sorted interrupt ids of an event's map of task id -> ``[{id, value, response_schema?}]``."""
    if not interrupts or interrupts == b"{}":
        return ()
    try:
        by_task = _interrupts.decode(interrupts)
    except msgspec.MsgspecError:
        return ()
    return tuple(sorted({one.id for group in by_task.values() for one in group if one.id is not None}))


def _without(state: ThreadState, run_id: str) -> dict[str, RunInFlight]:
    return {key: run for key, run in state.runs.items() if key != run_id}
