"""Events of runs: what the decider appends about them, and what workers append while they execute."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec
from msgspec import Raw

from ..commands import ABSENT, CancelAction, Metadata, MultitaskStrategy, RunError, Ttl
from .base import ThreadStatus
from .threads import ThreadEvent


class RunEvent(ThreadEvent, kw_only=True, frozen=True):
    run_id: str


class RunCreated(RunEvent, kw_only=True, frozen=True):
    """The run exists and is pending. A thread created for it is created by this event too (``creates_thread``)."""

    TYPE: ClassVar[str] = "run.created.v1"
    ordinal: int
    """Place in the thread's order of creation: the command's offset."""
    assistant_id: str
    graph_id: str
    kwargs: Raw
    metadata: Metadata
    multitask_strategy: MultitaskStrategy = "enqueue"
    not_before: str | None = None
    temporary: bool = False
    user_id: str = ""
    """Identity of the authenticated caller; empty: none."""
    creates_thread: bool = False
    thread_metadata: Metadata = {}
    thread_config: Metadata = {}
    thread_ttl: Ttl | None = None
    dispatched: Literal["ready", "due"] | None = None
    """Why its first attempt is dispatched by this event too: the same as a `RunDispatched` behind it. None: it waits."""


class RunDispatched(RunEvent, kw_only=True, frozen=True):
    """The run may be executed, as ``attempt``; older attempts are fenced from then on. See `RunCreated.dispatched` too."""

    TYPE: ClassVar[str] = "run.dispatched.v1"
    attempt: int
    crashes: int = 0
    reason: Literal["ready", "due", "lease_lost", "drained", "queue_lost", "unclaimed"] = "ready"


class RunCancelRequested(RunEvent, kw_only=True, frozen=True):
    """A request to the worker that executes the run to stop it. ``superseded_by``: the run that took its place."""

    TYPE: ClassVar[str] = "run.cancel_requested.v1"
    action: CancelAction
    attempt: int
    superseded_by: str | None = None
    reason: str | None = None
    orphaned: bool = False
    """No worker executes the attempt any more: the decider looks up the thread's state and reports the end."""


class RunEnded(RunEvent, kw_only=True, frozen=True):
    """Base of the final events. ``status`` is the thread's status after it."""

    attempt: int = 0
    status: ThreadStatus
    status_when_idle: ThreadStatus | None = None
    """The ``status`` without other runs in flight. None: the same as ``status``, or unknown (old events)."""
    values: Raw = ABSENT
    output: Raw = ABSENT
    interrupts: Raw = ABSENT
    """Replaces the thread's map of task id -> ``[{id, value, response_schema?}]``; `ABSENT` leaves it."""
    error: RunError | None = None
    started_at: str | None = None
    frame_count: int = 0
    last_frame_ms: int = 0
    first_event_number: int = 0
    last_event_number: int = 0
    """Protocol numbers of the last attempt (wire contract §9); 0: it sent no event."""
    superseded_by: str | None = None
    webhook: str | None = None
    """The URL that is notified of the run's end."""
    result: str | None = None
    """``values`` and ``output`` were too large for this record: they are in the `RunResultPart`s with this ``blob_id``, before it."""
    deletes_thread: bool = False
    """The thread was made for the run and is gone with it: the same as a `ThreadDeleted` behind this event."""


class RunSucceeded(RunEnded, kw_only=True, frozen=True):
    """The run succeeded. If it stopped for a human, the thread is ``interrupted``."""

    TYPE: ClassVar[str] = "run.succeeded.v1"


class RunFailed(RunEnded, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "run.failed.v1"


class RunCancelled(RunEnded, kw_only=True, frozen=True):
    """The run was cancelled. Clients see the status ``interrupted``."""

    TYPE: ClassVar[str] = "run.cancelled.v1"
    reason: str | None = None
    """Reason of the cancellation, for a run that no worker executed; otherwise `RunCancelRequested` has it."""


class RunTimedOut(RunEnded, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "run.timed_out.v1"


class RunRolledBack(RunEnded, kw_only=True, frozen=True):
    """The run was rolled back: it is removed with its checkpoints."""

    TYPE: ClassVar[str] = "run.rolled_back.v1"


class RunDeleted(RunEvent, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "run.deleted.v1"
    active_attempt: int | None = None
    """Attempt that a worker may still execute."""
    status: ThreadStatus | None = None
    status_when_idle: ThreadStatus | None = None
    values: Raw = ABSENT
    interrupts: Raw = ABSENT
    last_event_number: int = 0
    """The protocol number of the end of a run that was under way (wire contract §9)."""


class WebhookAttempted(RunEvent, kw_only=True, frozen=True):
    """One attempt to deliver the run's webhook: see `commands.RecordWebhookAttempt`. The run and its thread may have been
    deleted since."""

    TYPE: ClassVar[str] = "webhook.attempted.v1"
    attempt: int
    attempted_at: str
    duration_ms: int = 0
    delivered: bool = False
    status_code: int | None = None
    error: str | None = None
    next_attempt_at: str | None = None
    kept: bool = False
    """The delivery was given up, and its content stays, so that it can be sent again. False where it was given up by an older version."""


class WebhookDueAgain(RunEvent, kw_only=True, frozen=True):
    """A delivery that was given up is due again: see `commands.SendWebhookAgain`. The run and its thread may have been deleted since."""

    TYPE: ClassVar[str] = "webhook.due_again.v1"
    attempts: int
    """Number of attempts that the delivery had when it was given up; one that has had others since is left as it is."""
    due_at: str
    """Time from which on it is attempted."""


class RunStarted(RunEvent, kw_only=True, frozen=True):
    """A worker has begun the attempt. Worker record."""

    TYPE: ClassVar[str] = "run.started.v1"
    attempt: int
    worker: str


class RunFrames(RunEvent, kw_only=True, frozen=True):
    """A batch of stream frames of a resumable run (`langlog_schemas.frames`, encoded). Worker record."""

    TYPE: ClassVar[str] = "run.frames.v1"
    attempt: int
    first_sequence: int
    frames: bytes


class CheckpointWritten(ThreadEvent, kw_only=True, frozen=True):
    """A checkpoint. ``body`` is an encoded `langlog_schemas.checkpoints.CheckpointBody`. Worker record."""

    TYPE: ClassVar[str] = "checkpoint.written.v1"
    run_id: str | None = None
    attempt: int = 0
    body: bytes


class CheckpointWrites(ThreadEvent, kw_only=True, frozen=True):
    """Writes of one task that belong to a checkpoint: an encoded `checkpoints.WritesBody`. Worker record."""

    TYPE: ClassVar[str] = "checkpoint.writes.v1"
    run_id: str | None = None
    attempt: int = 0
    body: bytes


class Step(msgspec.Struct, frozen=True, array_like=True):
    """One checkpoint, or the writes of one task, in a `CheckpointSteps`."""

    writes: bool
    """Whether ``body`` is an encoded `checkpoints.WritesBody`; else it is a `checkpoints.CheckpointBody`."""
    after_us: int
    """Microseconds between the record's time and this step."""
    body: bytes


class CheckpointSteps(ThreadEvent, kw_only=True, frozen=True):
    """Checkpoints and writes that were stored together, in order: the same as a record for each of them. Worker record."""

    TYPE: ClassVar[str] = "checkpoint.steps.v1"
    run_id: str | None = None
    attempt: int = 0
    steps: list[Step]

    def events(self) -> list[CheckpointWritten | CheckpointWrites]:
        """Yield the steps as events."""
        return [
            (CheckpointWrites if step.writes else CheckpointWritten)(
                thread_id=self.thread_id, run_id=self.run_id, attempt=self.attempt, body=step.body
            )
            for step in self.steps
        ]


class CheckpointPart(ThreadEvent, kw_only=True, frozen=True):
    """Piece ``index`` of ``count`` of a body over the record limit; the last piece completes it. Worker record."""

    TYPE: ClassVar[str] = "checkpoint.part.v1"
    run_id: str | None = None
    attempt: int = 0
    blob_id: str
    index: int
    count: int
    whole: Literal["checkpoint.written.v1", "checkpoint.writes.v1"]
    body: bytes


class RunResultPart(ThreadEvent, kw_only=True, frozen=True):
    """Piece ``index`` of ``count`` of an encoded `run_results.RunResult`, which the run's final event names. Worker record."""

    TYPE: ClassVar[str] = "run.result_part.v1"
    run_id: str
    attempt: int = 0
    blob_id: str
    index: int
    count: int
    body: bytes
