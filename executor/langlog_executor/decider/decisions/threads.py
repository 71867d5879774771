"""Deciding of threads: ``(state, command, meta) -> events``, pure. The rules of §3 of the wire contract live here, those of
runs in `runs`.

Nothing here reads a clock, a random source or the network: the same commands always give the same events.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import assert_never

from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from langlog_schemas.aggregates.thread import ThreadState
from langlog_schemas.envelope import CommandMeta

from .access import thread_refusal
from .runs import cancel_runs, create_run, delete_run, finish_run, requeue_run, start_due_run, time_out_run
from .sizes import metadata_refusal
from .thread_events import Events, rejected, thread_deleted

THREAD_EXISTS = "Thread with ID {} already exists"
THREAD_MISSING = "Thread with ID {} not found"


def decide_thread(  # noqa: C901 - one case a command
    state: ThreadState, command: cmd.AnyThreadCommand, meta: CommandMeta, *, run_known: bool = False
) -> Events:
    """Return the events of a command to a thread or its runs; empty if the command is stale.

    ``run_known``: the run that it would create has been created before, and is over.
    """
    refusal = thread_refusal(state, command)
    if refusal is not None:
        return rejected(state, *refusal)
    match command:
        case cmd.CreateThread():
            return _create_thread(state, command)
        case cmd.PatchThread():
            if not state.exists:
                return rejected(state, 404, "Not Found")
            merged = {**state.metadata, **command.metadata}
            if (refusal := metadata_refusal(state.metadata, merged, command.metadata_limit)) is not None:
                return rejected(state, *refusal)
            return [
                ev.ThreadUpdated(
                    thread_id=state.thread_id, metadata=merged, ttl=command.ttl, provenance=command.provenance
                )
            ]
        case cmd.DeleteThread():
            if not state.exists:
                return rejected(state, 404, THREAD_MISSING.format(state.thread_id))
            return [thread_deleted(state)]
        case cmd.UpdateState():
            return _update_state(state, command)
        case cmd.DeleteCheckpoints():
            return [
                ev.CheckpointsDeleted(
                    thread_id=state.thread_id, run_ids=command.run_ids, keep_latest=command.keep_latest
                )
            ]
        case cmd.ExpireThread():
            return expire_thread(state, meta)
        case cmd.CreateRun():
            return create_run(state, command, meta, known=run_known)
        case cmd.CancelRuns():
            return cancel_runs(state, command, meta)
        case cmd.DeleteRun():
            return delete_run(state, command, meta)
        case cmd.FinishRun():
            return finish_run(state, command, meta)
        case cmd.RequeueRun():
            return requeue_run(state, command, meta)
        case cmd.StartDueRun():
            return start_due_run(state, command, meta)
        case cmd.TimeOutRun():
            return time_out_run(state, command, meta)
        case cmd.RecordWebhookAttempt():
            return [
                ev.WebhookAttempted(
                    thread_id=state.thread_id,
                    run_id=command.run_id,
                    attempt=command.attempt,
                    attempted_at=command.attempted_at,
                    duration_ms=command.duration_ms,
                    delivered=command.delivered,
                    status_code=command.status_code,
                    error=command.error,
                    next_attempt_at=command.next_attempt_at,
                    kept=not command.delivered and command.next_attempt_at is None,
                )
            ]
        case cmd.SendWebhookAgain():
            return [
                ev.WebhookDueAgain(
                    thread_id=state.thread_id, run_id=command.run_id, attempts=command.attempts, due_at=meta.time
                )
            ]
        case _:
            assert_never(command)


def _create_thread(state: ThreadState, command: cmd.CreateThread) -> Events:
    if not state.exists:
        return [
            ev.ThreadCreated(
                thread_id=state.thread_id,
                metadata=command.metadata,
                config=command.config,
                ttl=command.ttl,
                provenance=command.provenance,
            )
        ]
    if command.if_exists == "do_nothing":
        return [ev.ThreadCreated(thread_id=state.thread_id, existed=True)]
    return rejected(state, 409, THREAD_EXISTS.format(state.thread_id))


def _update_state(state: ThreadState, command: cmd.UpdateState) -> Events:
    chunk = command.chunk
    blob_id = None if chunk is None else chunk.blob_id
    if not state.exists:
        return rejected(state, 404, THREAD_MISSING.format(state.thread_id), blob_id)
    if state.runs:
        return rejected(
            state,
            409,
            f"Thread {state.thread_id} has in-flight runs: {', '.join(state.runs)}. Wait for them to finish or cancel them.",
            blob_id,
        )
    if chunk is not None:
        return [
            ev.CheckpointPart(
                thread_id=state.thread_id,
                blob_id=chunk.blob_id,
                index=chunk.index,
                count=chunk.count,
                whole=chunk.whole,
                body=chunk.body,
            )
        ]
    return [
        ev.StateUpdated(
            thread_id=state.thread_id,
            checkpoints=command.checkpoints,
            values=command.values,
            status=command.status or ("interrupted" if command.next else "idle"),
            interrupts=command.interrupts,
            checkpoint_id=command.checkpoint_id,
            checkpoints_only=command.checkpoints_only,
            error=command.error,
            provenance=command.provenance,
        )
    ]


def expire_thread(state: ThreadState, meta: CommandMeta) -> Events:
    """Return the deletion of a thread whose TTL has passed; no event if it was changed since the scheduler's query, or is
    being run on."""
    if not state.exists or state.runs or state.ttl is None:
        return []
    due = datetime.fromisoformat(state.updated_at) + timedelta(minutes=min(state.ttl.ttl, cmd.TTL_MAX_MINUTES))
    if due > datetime.fromisoformat(meta.time):
        return []
    if state.ttl.strategy == "delete":
        return [thread_deleted(state)]
    return [ev.CheckpointsDeleted(thread_id=state.thread_id, keep_latest=True)]
