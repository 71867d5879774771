"""Deciding of runs: ``(state, command, meta) -> events``, pure. The rules of §5 and §7 of the wire contract live here.

State model of a run (who moves it is in brackets):

    run.created ──► pending ──run.dispatched──► dispatched ──► run.succeeded | run.failed | run.timed_out   [finish report]
                       │                        │   ▲  │
                       │                        │   └──┘ run.dispatched, attempt + 1                       [requeue]
                       │                        └──run.cancel_requested──► run.cancelled | run.rolled_back  [finish report, requeue]
                       │                               ▲  │
                       │                               └──┘ run.cancel_requested, orphaned                  [requeue]
                       └──────────────────────────────────────────────────► run.cancelled | run.rolled_back  [cancel, newer run]

At most one run of a thread is dispatched at a time. A report of an attempt that is not the present one decides nothing: it
results in no event.
"""

from __future__ import annotations

from typing import Literal, assert_never

import msgspec
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from langlog_schemas.aggregates import thread as thread_aggregate
from langlog_schemas.aggregates.thread import RunInFlight, ThreadState
from langlog_schemas.envelope import CommandMeta
from langlog_schemas.frames import ATTEMPT_SPAN
from langlog_schemas.runs.ends import RUN_ENDS, RunEnd
from msgspec import Struct
from msgspec.structs import replace

from .answers import answered_ids, refused, unanswerable
from .thread_events import Events, fold_thread, rejected, thread_deleted

RUN_TARGET_MISSING = "Thread or assistant not found."
RUN_EXISTS = "Run with ID {} already exists"
THREAD_BUSY = "Thread is already running a task. Wait for it to finish or choose a different multitask strategy."
NOTHING_TO_CANCEL = (
    "No matching runs to cancel. Please verify the thread ID and run IDs are correct, "
    "and the runs haven't been deleted or completed."
)


class Kwargs(Struct):
    """Members of a run's kwargs that decisions depend on."""

    webhook: object = None


_kwargs = msgspec.json.Decoder(Kwargs)


def create_run(state: ThreadState, command: cmd.CreateRun, meta: CommandMeta, *, known: bool) -> Events:
    """Return the run's creation, after the stop of runs that it supersedes, and its dispatch if it can start at once.

    ``known``: the run has been created before, and is over.
    """
    if not state.exists and command.if_not_exists == "reject":
        return rejected(state, 404, RUN_TARGET_MISSING)
    if known or (
        meta.retry and command.run_id in state.runs
    ):  # its outcome is no longer stored: an old key derives an old id
        return rejected(state, 409, RUN_EXISTS.format(command.run_id))
    if command.run_id in state.runs:
        return []  # the same command appended twice
    if command.answers:
        refusal = unanswerable(state, command.answers)
        if refusal is not None:
            return rejected(state, *refusal)
    if state.runs and command.multitask_strategy == "reject":
        return rejected(state, 409, THREAD_BUSY)
    events: Events = []
    if command.multitask_strategy in ("interrupt", "rollback"):
        action: cmd.CancelAction = "interrupt" if command.multitask_strategy == "interrupt" else "rollback"
        for run in state.runs.values():
            events += _stop(state, run, action, "busy", superseded_by=command.run_id)
    assistant = {"assistant_id": command.assistant_id}
    ids = {"graph_id": command.graph_id, **assistant}
    shown = ids if state.exists else assistant  # as observed: a run that brings its thread shows no graph
    created = ev.RunCreated(
        thread_id=state.thread_id,
        run_id=command.run_id,
        ordinal=meta.offset,
        assistant_id=command.assistant_id,
        graph_id=command.graph_id,
        kwargs=command.kwargs,
        metadata={**command.assistant_metadata, **state.metadata, **shown, **command.metadata},
        multitask_strategy=command.multitask_strategy,
        not_before=command.not_before if command.not_before and command.not_before > meta.time else None,
        temporary=command.temporary,
        user_id=command.user_id,
        creates_thread=not state.exists,
        thread_metadata={**state.metadata, **ids} if state.exists else {**command.metadata, **ids},
        thread_config=command.thread_config,
        thread_ttl=None if state.exists else command.thread_ttl,
    )
    before = fold_thread(state, events, meta.time)
    following = _dispatch_next(fold_thread(before, [created], meta.time), meta)
    if state.exists and any(isinstance(e, ev.RunFailed) and e.run_id == command.run_id for e in following):
        # refused at once: nothing of the thread is this run's
        created = replace(created, thread_metadata=state.metadata, thread_config=state.config)
        following = _dispatch_next(fold_thread(before, [created], meta.time), meta)
    return [*events, created, *following]


def _stop(
    state: ThreadState,
    run: RunInFlight,
    action: cmd.CancelAction,
    status: ev.ThreadStatus,
    superseded_by: str | None = None,
    reason: str | None = None,
) -> Events:
    """Return the events that stop a run: a request to its worker if one may hold it, else the end at once.

    Earlier requests stay in force: a rollback remains one, and the first superseding run remains the one.
    """
    if run.attempt:
        return [
            ev.RunCancelRequested(
                thread_id=state.thread_id,
                run_id=run.run_id,
                action=_first_action(run.cancel, action),
                attempt=run.attempt,
                superseded_by=run.superseded_by or superseded_by,
                reason=reason,
            )
        ]
    kind = ev.RunRolledBack if action == "rollback" else ev.RunCancelled
    ended = kind(
        thread_id=state.thread_id,
        run_id=run.run_id,
        status=status,
        status_when_idle=state.status_when_idle if status == "busy" else None,
        error=_why_cancelled(action),
        superseded_by=superseded_by,
        webhook=_webhook(run),
    )
    return [replace(ended, reason=reason) if isinstance(ended, ev.RunCancelled) else ended]


def _first_action(before: cmd.CancelAction | None, action: cmd.CancelAction) -> cmd.CancelAction:
    """Return the action for a run that is being stopped already: the first one stays, but a rollback takes precedence."""
    if "rollback" in (before, action):
        return "rollback"
    return before or action


def _why_cancelled(action: cmd.CancelAction | None) -> cmd.RunError | None:
    """Return the error of a run that was cancelled because its client disconnected, else None."""
    if action != "disconnect":
        return None
    return cmd.RunError(error="UserInterrupt", message=thread_aggregate.CLIENT_LEFT)


def cancel_runs(state: ThreadState, command: cmd.CancelRuns, meta: CommandMeta) -> Events:
    """Return the stop of each of the runs that is in flight, or a rejection if none is."""
    runs = [state.runs[run_id] for run_id in command.run_ids if run_id in state.runs]
    if not runs:
        return rejected(state, 404, NOTHING_TO_CANCEL)
    events: Events = []
    for run in runs:
        now = fold_thread(state, events, meta.time)
        others = len(now.runs) > 1
        events += _stop(now, run, command.action, "busy" if others else now.status_when_idle, reason=command.reason)
        if run.temporary and not run.attempt:
            events.append(thread_deleted(fold_thread(state, events, meta.time)))
            break
    return events


def delete_run(state: ThreadState, command: cmd.DeleteRun, meta: CommandMeta) -> Events:
    """Return the run's deletion and the dispatch of the thread's next run."""
    run = state.runs.get(command.run_id)
    others = [r for r in state.runs.values() if r is not run]
    status_when_idle: ev.ThreadStatus = state.status_when_idle
    if command.values:
        status_when_idle = "interrupted" if command.next else "idle"
    status: ev.ThreadStatus | None = status_when_idle if command.values or run is not None else None
    if others:
        status = "busy"
    deleted = ev.RunDeleted(
        thread_id=state.thread_id,
        run_id=command.run_id,
        active_attempt=run.attempt if run is not None and run.attempt else None,
        status=status,
        status_when_idle=status_when_idle if status == "busy" else None,
        values=command.values,
        interrupts=command.interrupts if command.values else cmd.ABSENT,
        last_event_number=_seq_floor(state, run.attempt + 1) + 1 if run is not None and run.attempt else 0,
    )
    return [deleted, *_dispatch_next(fold_thread(state, [deleted], meta.time), meta)]


def finish_run(state: ThreadState, command: cmd.FinishRun, meta: CommandMeta) -> Events:
    """Return the final event that a worker's report gives, and what follows from it."""
    run = _held(state, command.run_id, command.attempt)
    if run is None:
        return []
    outcome = "rolled_back" if run.cancel == "rollback" else command.outcome
    refusal = command.error is not None and command.error.refusal is not None
    end = RUN_ENDS[outcome]
    gone = outcome == "rolled_back" or refusal
    ended = end.event(
        thread_id=state.thread_id,
        run_id=run.run_id,
        attempt=run.attempt,
        status=_status_afterwards(end, state, command),
        values=cmd.ABSENT if gone else command.values,
        output=command.output or (command.values if gone else cmd.ABSENT),
        interrupts=command.interrupts if command.state_known and not gone else cmd.ABSENT,
        error=(_why_cancelled(run.cancel) if outcome == "interrupted" else None) or command.error,
        started_at=command.started_at,
        frame_count=command.frame_count,
        last_frame_ms=command.last_frame_ms,
        first_event_number=_seq_floor(state, run.attempt) + 1 if command.last_event_number else 0,
        last_event_number=command.last_event_number,
        superseded_by=run.superseded_by,
        result=None if gone else command.result,
    )
    return _ending(state, run, ended, meta)


def _status_afterwards(end: RunEnd, state: ThreadState, command: cmd.FinishRun) -> ev.ThreadStatus:
    """Return the thread's status after its run. A refused run, and one that never read the thread's state, change nothing."""
    refused = command.error is not None and command.error.refusal is not None
    match end.thread:
        case "as before":
            return state.status_when_idle
        case "error":
            return state.status_when_idle if refused else "error"
        case "by its state":
            if not command.state_known:
                return state.status_when_idle
            return "interrupted" if command.next else "idle"
        case _:
            assert_never(end.thread)


def requeue_run(state: ThreadState, command: cmd.RequeueRun, meta: CommandMeta) -> Events:
    """Return the next attempt of a run, or its end: it is being stopped, or has crashed too often."""
    run = _held(state, command.run_id, command.attempt)
    if run is None:
        return []
    if run.cancel in ("interrupt", "disconnect") and not run.temporary:
        # its checkpoints stay: the end waits for the thread's state that follows from them
        cancellation = ev.RunCancelRequested(
            thread_id=state.thread_id,
            run_id=run.run_id,
            action=run.cancel,
            attempt=run.attempt,
            superseded_by=run.superseded_by,
            orphaned=True,
        )
        return [cancellation]
    if run.cancel is not None:
        end = RUN_ENDS["rolled_back" if run.cancel == "rollback" else "interrupted"]
        ended = end.event(
            thread_id=state.thread_id,
            run_id=run.run_id,
            attempt=run.attempt,
            status=state.status_when_idle,
            error=_why_cancelled(run.cancel),
            superseded_by=run.superseded_by,
        )
        return _ending(state, run, ended, meta)
    crashes = run.crashes + command.crash
    if crashes >= command.max_attempts:
        error = cmd.RunError(error="WorkerLost", message=thread_aggregate.WORKER_LOST.format(crashes))
        failed = ev.RunFailed(
            thread_id=state.thread_id, run_id=run.run_id, attempt=run.attempt, status="error", error=error
        )
        return _ending(state, run, failed, meta)
    return [
        ev.RunDispatched(
            thread_id=state.thread_id,
            run_id=run.run_id,
            attempt=run.attempt + 1,
            crashes=crashes,
            reason=command.reason,
        )
    ]


def start_due_run(state: ThreadState, command: cmd.StartDueRun, meta: CommandMeta) -> Events:
    """Return the dispatch of a run whose delay is over."""
    run = state.runs.get(command.run_id)
    return [] if run is None or run.attempt else _dispatch_next(state, meta, due=run.run_id)


def time_out_run(state: ThreadState, command: cmd.TimeOutRun, meta: CommandMeta) -> Events:
    """Return the end of a run that exceeded its time limit."""
    run = _held(state, command.run_id, command.attempt)
    if run is None:
        return []
    error = cmd.RunError(error="TimeoutError", message=thread_aggregate.TIME_OVER)
    ended = ev.RunTimedOut(
        thread_id=state.thread_id, run_id=run.run_id, attempt=run.attempt, status="error", error=error
    )
    return _ending(state, run, ended, meta)


def _ending(
    state: ThreadState,
    run: RunInFlight,
    ended: ev.FinalRunEvent,
    meta: CommandMeta,
) -> Events:
    """Return a final event and its consequences: the thread is deleted, or its next run starts."""
    if (
        run.attempt and not ended.last_event_number
    ):  # the worker did not report its last event number: number the end past any it may have used
        final_number = _seq_floor(state, run.attempt + 1) + 1
        ended = replace(ended, first_event_number=final_number, last_event_number=final_number)
    ended = replace(ended, webhook=_webhook(run))
    if len(state.runs) > 1:
        ended = replace(ended, status="busy", status_when_idle=ended.status)
    events: Events = [ended]
    after = fold_thread(state, events, meta.time)
    if run.temporary and not after.runs:
        return [*events, thread_deleted(after)]
    return events + _dispatch_next(after, meta)


def _webhook(run: RunInFlight) -> str | None:
    """Return the URL that is notified of the run's end."""
    webhook = _kwargs.decode(run.kwargs).webhook
    return webhook if isinstance(webhook, str) else None


def _dispatch_next(state: ThreadState, meta: CommandMeta, *, due: str | None = None) -> Events:
    """Dispatch the oldest run that is ready, unless one is dispatched already. Strict runs whose answer is too late fail instead.

    ``due``: a run whose delay has passed by the scheduler's clock; the command's own time may be earlier.
    """
    events: Events = []
    if state.active is not None:
        return events
    for run in tuple(state.runs.values()):
        if not run.ready(meta.time) and (run.run_id != due or run.attempt):
            continue
        error = refused(state, run)
        if error is None:
            reason: Literal["ready", "due"] = "ready" if run.not_before is None else "due"
            return [
                *events,
                ev.RunDispatched(thread_id=state.thread_id, run_id=run.run_id, attempt=1, reason=reason),
            ]
        failed = _refused(state, run, error)
        events.append(failed)
        state = fold_thread(state, [failed], meta.time)
        if run.temporary and not state.runs:
            return [*events, thread_deleted(state)]
    return events


def _refused(state: ThreadState, run: RunInFlight, error: cmd.RunError) -> ev.RunFailed:
    """Return the end of a run that never started. Its numbers: that it ran, what it answered by id, that it failed (wire contract §9)."""
    others = len(state.runs) > 1
    return ev.RunFailed(
        thread_id=state.thread_id,
        run_id=run.run_id,
        status="busy" if others else state.status_when_idle,
        status_when_idle=state.status_when_idle if others else None,
        error=error,
        first_event_number=state.seq + 1,
        last_event_number=state.seq + (3 if answered_ids(run) else 2),
        webhook=_webhook(run),
    )


def _seq_floor(state: ThreadState, attempt: int) -> int:
    """Return the number above which protocol numbers of an attempt of the thread's present run start (wire contract §9)."""
    return state.seq + (attempt - 1) * ATTEMPT_SPAN


def _held(state: ThreadState, run_id: str, attempt: int) -> RunInFlight | None:
    """Return the run if this attempt of it is the current one."""
    run = state.runs.get(run_id)
    return run if run is not None and run.attempt == attempt else None
