"""The changes of a batch of events, collected in memory so that every touched row is written once.

Rows are plain lists in the column order of ``sql/apply.sql``; their JSON is text that Postgres accepts (`json_text`). A removal drops
earlier changes of the object; on apply, removals come first and rows after. Not safe for concurrent use: one per batch.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from langlog_backbone.values.json_shape import without_nul
from langlog_schemas import events as ev
from langlog_schemas.commands import RunError
from langlog_schemas.runs.ends import end_of

from .crons import CronChanges
from .dead_letters import DeadLetterChanges
from .event_index import EventIndex
from .outcomes import OutcomeChanges
from .store import StoreChanges


class ThreadRow:
    """The columns of a thread that change; None leaves a column, JSON ``null`` clears one."""

    __slots__ = (
        "config",
        "created_at",
        "error",
        "frame_ms",
        "has_checkpoints",
        "interrupts",
        "metadata",
        "seq",
        "settled",
        "state_updated_at",
        "state_values",
        "status",
        "status_when_idle",
        "ttl_minutes",
        "ttl_strategy",
        "updated_at",
    )

    def __init__(self, updated_at: datetime) -> None:
        self.created_at: datetime | None = None
        self.updated_at = updated_at
        self.state_updated_at: datetime | None = None
        self.metadata: str | None = None
        self.status: str | None = None
        self.status_when_idle: str | None = None
        self.config: str | None = None
        self.state_values: str | None = None
        self.interrupts: str | None = None
        self.error: str | None = None
        self.ttl_minutes: float | None = None
        self.ttl_strategy: str | None = None
        self.has_checkpoints: bool | None = None
        self.frame_ms: int | None = None
        self.seq: int | None = None
        self.settled: int | None = None


class RunRow:
    """The columns of a run that change; ``new`` holds those that only its creation sets."""

    __slots__ = (
        "attempt",
        "cancel",
        "cancel_reason",
        "crashes",
        "dispatched_at",
        "ended_at",
        "error",
        "first_event_number",
        "frame_count",
        "last_event_number",
        "new",
        "output",
        "started_at",
        "status",
        "superseded_by",
        "thread_id",
        "updated_at",
    )

    def __init__(self, thread_id: str, updated_at: datetime) -> None:
        self.thread_id = thread_id
        self.updated_at = updated_at
        self.new: dict[str, Any] | None = None
        self.status: str | None = None
        self.attempt: int | None = None
        self.crashes: int | None = None
        self.cancel: str | None = None
        self.superseded_by: str | None = None
        self.cancel_reason: str | None = None
        self.dispatched_at: datetime | None = None
        self.started_at: datetime | None = None
        self.ended_at: datetime | None = None
        self.error: str | None = None
        self.output: str | None = None
        self.frame_count: int | None = None
        self.first_event_number: int | None = None
        self.last_event_number: int | None = None


class WebhookRow(NamedTuple):
    """A delivery that is due. Members that are None here, unless they belong to an end, are taken from the run's row, or
    the thread's values."""

    part: int
    thread_id: str
    url: str
    status: str
    ended_at: datetime
    attempt: int
    started_at: datetime | None
    error: str | None
    state_values: str | None
    look_up_values: bool
    assistant_id: str | None
    metadata: str | None
    kwargs: str | None
    multitask_strategy: str | None
    created_at: datetime | None
    temporary: bool | None
    user_id: str | None


class WebhookTry(NamedTuple):
    """One delivery attempt; ``entry`` is its JSON array in the log of attempts."""

    run_id: str
    attempt: int
    entry: str
    next_attempt_at: datetime | None
    settled_at: datetime | None
    delivered: bool
    part: int
    attempted_at: datetime
    kept: bool
    """Its content stays, although it is settled."""


class WebhookDue(NamedTuple):
    """A delivery that was given up after so many attempts, and is due again."""

    run_id: str
    attempts: int
    due_at: datetime


OF_THREADS = frozenset({"threads", "runs", "checkpoints", "blobs", "writes", "frames", "index"})
"""Members of `Changes` whose rows are written by one statement."""


class Changes:
    def __init__(self) -> None:
        self.threads: dict[str, ThreadRow] = {}
        self.runs: dict[str, RunRow] = {}
        # rows of a thread are grouped by thread: a removed thread drops its rows at once
        self.checkpoints: dict[str, dict[tuple[str, str], tuple[Any, ...]]] = {}
        self.blobs: dict[str, dict[tuple[str, str, str], tuple[Any, ...]]] = {}
        self.writes: dict[str, dict[tuple[str, str, str, int], tuple[Any, ...]]] = {}
        self.replaced_writes: dict[str, dict[tuple[str, str, str, int], dict[str | None, tuple[Any, ...]]]] = {}
        """Thread id -> special write -> what other runs wrote there before, by run. It comes back when the later run is removed."""
        self.frames: dict[str, dict[tuple[str, int, int], bytes]] = {}
        self.parts: dict[tuple[str, int], tuple[str | None, bytes]] = {}
        self.parts_done: set[str] = set()
        self.assistants: dict[str, tuple[Any, ...]] = {}
        self.versions: dict[tuple[str, int], tuple[Any, ...]] = {}
        self.webhooks: dict[str, WebhookRow] = {}
        self.webhook_steps: list[WebhookTry | WebhookDue] = []
        """In log order."""
        self.crons = CronChanges()
        self.store = StoreChanges()
        self.index = EventIndex()
        self.dead_letters = DeadLetterChanges()
        self.graphs: dict[str, tuple[Any, ...]] = {}
        self.outcomes = OutcomeChanges()
        self.removed_threads: set[str] = set()
        self.removed_runs: dict[str, set[str]] = {}
        """Thread id -> removed runs, with their checkpoints."""
        self.removed_run_checkpoints: dict[str, set[str]] = {}
        """Thread id -> runs whose checkpoints are removed; the runs stay."""
        self.removed_checkpoints: set[str] = set()
        """Threads whose checkpoints are all removed."""
        self.kept_latest: dict[str, datetime] = {}
        """Thread -> time of the removal of all its checkpoints except the latest."""
        self.removed_assistants: set[str] = set()
        self._made: set[str] = set()
        self._runs_of: dict[str, set[str]] = {}

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write but the positions."""
        return not any(gathered for name, gathered in vars(self).items() if not name.startswith("_"))

    @property
    def of_threads_alone(self) -> bool:
        """Whether there are only new and changed rows of threads, runs and checkpoints to write, and the index of their events."""
        return not any(
            gathered for name, gathered in vars(self).items() if not name.startswith("_") and name not in OF_THREADS
        )

    @property
    def of_objects(self) -> bool:
        """Whether there is something to write of what the events are about, and no record is parked."""
        beside = ("dead_letters", "outcomes")
        return not self.dead_letters and any(
            gathered for name, gathered in vars(self).items() if not name.startswith("_") and name not in beside
        )

    def thins(self, thread_id: str) -> bool:
        """Return whether some of the thread's checkpoints in Postgres will be removed."""
        return (
            thread_id in self.removed_runs or thread_id in self.removed_run_checkpoints or thread_id in self.kept_latest
        )

    def thread(self, thread_id: str, at: datetime) -> ThreadRow:
        row = self.threads.get(thread_id)
        if row is None:
            row = self.threads[thread_id] = ThreadRow(at)
        row.updated_at = at
        return row

    def make_thread(self, thread_id: str, at: datetime) -> ThreadRow:
        self.index.forget(thread_id)
        # what this batch thinned under the id before was not this thread
        self.kept_latest.pop(thread_id, None)
        row = self.threads[thread_id] = ThreadRow(at)
        row.created_at = row.state_updated_at = at
        if thread_id not in self.removed_threads:
            self._made.add(thread_id)
        return row

    def run(self, run_id: str, thread_id: str, at: datetime) -> RunRow:
        row = self.runs.get(run_id)
        if row is None:
            row = self.runs[run_id] = RunRow(thread_id, at)
            self._runs_of.setdefault(thread_id, set()).add(run_id)
        row.updated_at = at
        return row

    def add_webhook(self, event: ev.FinalRunEvent, url: str, thread: ThreadRow, at: datetime, partition: int) -> None:
        """Add the delivery of a run's webhook, which a run has once."""
        if event.run_id in self.webhooks:
            return
        run = self.run(event.run_id, event.thread_id, at)
        new = run.new or {}
        gone = isinstance(event, ev.RunRolledBack)
        error = webhook_error(event)
        self.webhooks[event.run_id] = WebhookRow(
            part=partition,
            thread_id=event.thread_id,
            url=url,
            status=end_of(event).webhook,
            ended_at=at,
            attempt=event.attempt,
            started_at=run.started_at if event.started_at is None else datetime.fromisoformat(event.started_at),
            error=None if error is None else json_text(error),
            state_values=None if gone else thread.state_values,
            look_up_values=not gone and thread.state_values is None and thread.created_at is None,
            assistant_id=new.get("assistant_id"),
            metadata=new.get("metadata"),
            kwargs=new.get("kwargs"),
            multitask_strategy=new.get("multitask_strategy"),
            created_at=new.get("created_at"),
            temporary=new.get("temporary"),
            user_id=new.get("user_id"),
        )

    def add_webhook_attempt(self, event: ev.WebhookAttempted, partition: int) -> None:
        """Add the outcome of an attempt to deliver a webhook."""
        at = datetime.fromisoformat(event.attempted_at)
        again = None if event.next_attempt_at is None else datetime.fromisoformat(event.next_attempt_at)
        entry = {
            "attempt": event.attempt,
            "attempted_at": event.attempted_at,
            "duration_ms": event.duration_ms,
            "status_code": event.status_code,
            "error": event.error,
        }
        settled = at if again is None else None
        text = json_text([entry])
        self.webhook_steps.append(
            WebhookTry(event.run_id, event.attempt, text, again, settled, event.delivered, partition, at, event.kept)
        )

    def remove_thread(self, thread_id: str) -> None:
        """Remove a thread with runs, checkpoints and frames. One that was created in this batch leaves no trace in Postgres."""
        self.threads.pop(thread_id, None)
        self.index.forget(thread_id)
        for run_id in self._runs_of.pop(thread_id, ()):
            self.runs.pop(run_id, None)
        self._drop_checkpoints(thread_id)
        self.frames.pop(thread_id, None)
        for gathered in (self.removed_runs, self.removed_run_checkpoints):
            gathered.pop(thread_id, None)
        self.removed_checkpoints.discard(thread_id)
        self.kept_latest.pop(thread_id, None)
        if thread_id in self._made:
            self._made.discard(thread_id)
        else:
            self.removed_threads.add(thread_id)

    def remove_run(self, thread_id: str, run_id: str) -> None:
        """Remove a run with its checkpoints, writes and frames."""
        self.runs.pop(run_id, None)
        self._drop_run_checkpoints(thread_id, run_id)
        frames = self.frames.get(thread_id, {})
        for key in [key for key in frames if key[0] == run_id]:
            del frames[key]
        self.removed_runs.setdefault(thread_id, set()).add(run_id)

    def remove_run_checkpoints(self, thread_id: str, run_id: str) -> None:
        self._drop_run_checkpoints(thread_id, run_id)
        self.removed_run_checkpoints.setdefault(thread_id, set()).add(run_id)

    def remove_checkpoints(self, thread_id: str) -> None:
        self._drop_checkpoints(thread_id)
        self.removed_checkpoints.add(thread_id)

    def _drop_checkpoints(self, thread_id: str) -> None:
        self.checkpoints.pop(thread_id, None)
        self.blobs.pop(thread_id, None)
        self.writes.pop(thread_id, None)
        self.replaced_writes.pop(thread_id, None)

    def _drop_run_checkpoints(self, thread_id: str, run_id: str) -> None:
        checkpoints = self.checkpoints.get(thread_id, {})
        gone = {key for key, row in checkpoints.items() if row[CHECKPOINT_RUN] == run_id}
        for key in gone:
            del checkpoints[key]
        writes = self.writes.get(thread_id, {})
        replaced = self.replaced_writes.get(thread_id, {})
        for by_run in replaced.values():
            by_run.pop(run_id, None)
        for write in [key for key, row in writes.items() if row[WRITE_RUN] == run_id or key[:2] in gone]:
            if (earlier := replaced.get(write)) and write[:2] not in gone:
                writes[write] = earlier.popitem()[1]
            else:
                del writes[write]
                replaced.pop(write, None)


ORIGIN = 3
"""Number of columns of a checkpoint row that stay when it is written again: (parent_id, run_id, log_position)."""
CHECKPOINT_RUN = 1
"""Index of the run id in a checkpoint row: (parent_id, run_id, log_position, type, data, metadata, versions)."""
WRITE_RUN = 4
"""Index of the run id in a write row: (task_path, channel, type, data, run_id)."""


def webhook_error(event: ev.RunEnded) -> RunError | None:
    """Return the error text of a webhook (wire contract §12)."""
    if not isinstance(event, ev.RunCancelled | ev.RunRolledBack):
        return event.error
    name, action = (
        ("UserInterrupt", "interrupt") if isinstance(event, ev.RunCancelled) else ("UserRollback", "rollback")
    )
    if event.superseded_by is not None:
        return RunError(name, f"{action} requested by run {event.superseded_by}")
    if event.error is not None:
        return event.error
    return RunError(name, f"{action} requested via POST /threads/{{thread_id}}/runs/{{run_id}}/cancel")


def jsonb(raw: bytes | str | None) -> str | None:
    """Return JSON as text for jsonb: without NUL characters, which Postgres cannot store."""
    if raw is None:
        return None
    if isinstance(raw, str):
        return without_nul(raw.encode()).decode() if "\\u0000" in raw else raw
    return without_nul(raw).decode()


def json_text(value: object) -> str:
    """Return a value as JSON for jsonb."""
    return jsonb(msgspec.json.encode(value)) or ""
