"""Commands to the runs of threads."""

from __future__ import annotations

from typing import ClassVar, Literal

from msgspec import Raw

from ..runs.errors import RunError
from .base import ABSENT, CancelAction, Metadata, MultitaskStrategy, Outcome
from .threads import ThreadCommand, Ttl


class CreateRun(ThreadCommand, kw_only=True, frozen=True):
    """Create a run. The assistant is resolved and frozen in by the gateway.

    ``kwargs`` is the JSON object of the wire contract (§5) without ``config.metadata``.
    ``metadata`` of the run is assistant metadata, thread metadata, the two ids, run metadata, later ones winning.
    """

    TYPE: ClassVar[str] = "run.create.v1"
    run_id: str
    assistant_id: str
    graph_id: str
    kwargs: Raw
    assistant_metadata: Metadata = {}
    metadata: Metadata = {}
    thread_config: Metadata = {}
    """New ``config`` of the thread."""
    multitask_strategy: MultitaskStrategy = "enqueue"
    if_not_exists: Literal["reject", "create"] = "reject"
    not_before: str | None = None
    """Earliest time of the start: the request's time plus ``after_seconds``."""
    temporary: bool = False
    """The thread was created for this run and is deleted when the run ends."""
    fresh: bool = False
    """The thread id was minted for this command."""
    thread_ttl: Ttl | None = None
    user_id: str = ""
    """Identity of the authenticated caller, whose share of the queue and of webhooks the run uses; empty: none."""
    answers: list[str] = []
    """Ids of the interrupts that the run answers (wire contract §9.1). It is refused unless all of them are open. Empty: not checked."""


class CancelRuns(ThreadCommand, kw_only=True, frozen=True):
    """Stop runs of one thread. Ended runs are skipped; if none is in flight, the command is refused with 404."""

    TYPE: ClassVar[str] = "run.cancel.v1"
    run_ids: list[str]
    action: CancelAction = "interrupt"
    reason: str | None = None
    """The run's ``cancel_reason``, or None if the client gave no reason."""


class DeleteRun(ThreadCommand, kw_only=True, frozen=True):
    """Remove a run with its checkpoints.

    ``values`` and ``next``: the thread's state without that run, computed by a worker beforehand; `ABSENT` keeps the values.
    """

    TYPE: ClassVar[str] = "run.delete.v1"
    run_id: str
    values: Raw = ABSENT
    next: list[str] = []
    interrupts: Raw = Raw(b"{}")


class FinishRun(ThreadCommand, kw_only=True, frozen=True):
    """A worker's report that an attempt is over. Dropped when a newer attempt was dispatched."""

    TYPE: ClassVar[str] = "run.finish.v1"
    run_id: str
    attempt: int
    outcome: Outcome
    values: Raw = ABSENT
    """The thread's state values now (`ABSENT`: leave them)."""
    output: Raw = ABSENT
    """The answer of ``/wait``, when it is not ``values``."""
    next: list[str] = []
    interrupts: Raw = Raw(b"{}")
    """Task id -> list of ``{id, value, response_schema?}``."""
    state_known: bool = True
    """False: the worker does not know the state, so the thread's ``next`` and ``interrupts`` stay unchanged."""
    error: RunError | None = None
    started_at: str | None = None
    frame_count: int = 0
    """The number of frames that the attempt published; a stream closes after this one."""
    last_frame_ms: int = 0
    """Millisecond part of the last frame id: the next run of the thread starts above it."""
    last_event_number: int = 0
    """The last protocol number of the attempt (wire contract §9): those of the thread's next run follow it."""
    result: str | None = None
    """``values`` and ``output`` are in the `events.RunResultPart`s with this ``blob_id``: they are too large for this record."""


class RequeueRun(ThreadCommand, kw_only=True, frozen=True):
    """An attempt is lost or handed back: start the next one from the last checkpoint.

    ``crash`` attempts count against the limit; a drained worker or a wiped queue does not.
    """

    TYPE: ClassVar[str] = "run.requeue.v1"
    run_id: str
    attempt: int
    reason: Literal["lease_lost", "drained", "queue_lost", "unclaimed"]
    crash: bool = False
    max_attempts: int = 3


class StartDueRun(ThreadCommand, kw_only=True, frozen=True):
    """Start a run whose ``after_seconds`` have passed."""

    TYPE: ClassVar[str] = "run.start_due.v1"
    run_id: str


class TimeOutRun(ThreadCommand, kw_only=True, frozen=True):
    """End a run that has exceeded its time limit without a report from its worker."""

    TYPE: ClassVar[str] = "run.time_out.v1"
    run_id: str
    attempt: int


class RecordWebhookAttempt(ThreadCommand, kw_only=True, frozen=True):
    """Record the outcome of one attempt to deliver a run's webhook. ``next_attempt_at`` absent: no further attempt follows."""

    TYPE: ClassVar[str] = "webhook.record_attempt.v1"
    run_id: str
    attempt: int
    """Number of the delivery attempt, from 1 (not the run's attempt)."""
    attempted_at: str
    duration_ms: int = 0
    delivered: bool = False
    status_code: int | None = None
    error: str | None = None
    next_attempt_at: str | None = None


class SendWebhookAgain(ThreadCommand, kw_only=True, frozen=True):
    """Attempt a delivery that was given up again, as often as a new one. Of no effect once it had further attempts."""

    TYPE: ClassVar[str] = "webhook.send_again.v1"
    run_id: str
    attempts: int
    """Number of attempts that the delivery had when it was given up."""
