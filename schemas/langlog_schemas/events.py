"""Events: what happened. Folded by projector, decider and outside consumers alike.

Lifecycle events are written by the decider alone; `WORKER_EVENTS` (checkpoints, frames, starts)
by workers, who are fenced by ``(run, attempt)``. An event carries the resulting values of what it
changes (status, merged metadata), so that folding never has to look anything up.

A released version is never changed: a new one gets a new ``.vN`` and an entry in `UPCASTS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, get_args

import msgspec
from msgspec import Raw

from .commands import ABSENT, CancelAction, Metadata, MultitaskStrategy, RunError, StoreOp, Ttl
from .cron_authority import CronAuthority
from .upcasts import bring_up

RUN_EVENTS = "run-events"
ASSISTANT_EVENTS = "assistant-events"
STORE_EVENTS = "store-events"
CRON_EVENTS = "cron-events"
GRAPH_EVENTS = "graph-events"
DEAD_LETTERS = "dead-letters"
EVENT_TOPICS = (RUN_EVENTS, ASSISTANT_EVENTS, CRON_EVENTS, STORE_EVENTS, GRAPH_EVENTS)
FOLDED_TOPICS = (*EVENT_TOPICS, DEAD_LETTERS)
"""What a projection is made of: events, and what could not be handled."""

LISTED_TOPICS = (RUN_EVENTS, ASSISTANT_EVENTS, CRON_EVENTS, DEAD_LETTERS)
"""What lists of threads, runs, assistants and crons are made of: their events, and releases of those that waited."""

ThreadStatus = Literal["idle", "busy", "interrupted", "error"]
RunStatus = Literal["pending", "running", "error", "success", "timeout", "interrupted"]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all event bodies. ``TYPE`` is the CloudEvents type without its prefix."""

    TYPE: ClassVar[str] = ""
    TOPIC: ClassVar[str] = RUN_EVENTS

    @property
    def key(self) -> str:
        """The record's key: the aggregate's id, the same as that of the commands it comes from."""
        raise NotImplementedError(type(self).__name__)


class CommandRejected(Event, kw_only=True, frozen=True):
    """The command changed nothing. ``status`` and ``detail`` are what the client is told."""

    TYPE: ClassVar[str] = "command.rejected.v1"
    aggregate_id: str
    status: int
    detail: str

    @property
    def key(self) -> str:
        return self.aggregate_id


class CommandRepeated(Event, kw_only=True, frozen=True):
    """A retried command whose first outcome stands."""

    TYPE: ClassVar[str] = "command.repeated.v1"
    aggregate_id: str
    command_id: str

    @property
    def key(self) -> str:
        return self.aggregate_id


# --- threads ---------------------------------------------------------------------------------


class ThreadEvent(Event, kw_only=True, frozen=True):
    thread_id: str

    @property
    def key(self) -> str:
        return self.thread_id


class ThreadCreated(ThreadEvent, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "thread.created.v1"
    metadata: Metadata = {}
    config: Metadata = {}
    ttl: Ttl | None = None
    existed: bool = False
    """``if_exists: do_nothing`` met an existing thread: the answer is that thread, nothing changed."""


class ThreadUpdated(ThreadEvent, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "thread.updated.v1"
    metadata: Metadata
    ttl: Ttl | None = None


class ThreadDeleted(ThreadEvent, kw_only=True, frozen=True):
    """The thread is gone with runs and checkpoints. ``active``: (run id, attempt) that a worker may still hold."""

    TYPE: ClassVar[str] = "thread.deleted.v1"
    active: list[tuple[str, int]] = []


class StateUpdated(ThreadEvent, kw_only=True, frozen=True):
    """State changed through the API, not by a run: see `commands.UpdateState`."""

    TYPE: ClassVar[str] = "thread.state_updated.v1"
    checkpoints: list[bytes]
    values: Raw
    status: ThreadStatus
    interrupts: Raw = Raw(b"{}")
    checkpoint_id: str | None = None
    checkpoints_only: bool = False


class CheckpointsDeleted(ThreadEvent, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "checkpoint.deleted.v1"
    run_ids: list[str] | None = None
    keep_latest: bool = False


# --- runs ------------------------------------------------------------------------------------


class RunEvent(ThreadEvent, kw_only=True, frozen=True):
    run_id: str


class RunCreated(RunEvent, kw_only=True, frozen=True):
    """The run exists and waits. A thread made for it is made by this event too (``creates_thread``)."""

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
    """Identity of the authenticated caller; empty: nobody's."""
    creates_thread: bool = False
    thread_metadata: Metadata = {}
    thread_config: Metadata = {}
    thread_ttl: Ttl | None = None


class RunDispatched(RunEvent, kw_only=True, frozen=True):
    """The run may be executed, as ``attempt``; older attempts are fenced off from here on."""

    TYPE: ClassVar[str] = "run.dispatched.v1"
    attempt: int
    crashes: int = 0
    reason: Literal["ready", "due", "lease_lost", "drained", "queue_lost", "unclaimed"] = "ready"


class RunCancelRequested(RunEvent, kw_only=True, frozen=True):
    """The worker that has the run is asked to stop it. ``superseded_by``: the run that took its place."""

    TYPE: ClassVar[str] = "run.cancel_requested.v1"
    action: CancelAction
    attempt: int
    superseded_by: str | None = None
    reason: str | None = None
    orphaned: bool = False
    """No worker has the attempt any more: the decider finds out where the thread stands and reports the end."""


class RunEnded(RunEvent, kw_only=True, frozen=True):
    """Base of the final events. ``status`` is that of the thread afterwards."""

    attempt: int = 0
    status: ThreadStatus
    status_when_idle: ThreadStatus | None = None
    """What ``status`` would be but for other runs in flight; None: the same, or, in old events, not known."""
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
    """Protocol numbers of the last attempt (wire contract §9); 0: it told nothing."""
    superseded_by: str | None = None
    webhook: str | None = None
    """Where the end of the run is to be told."""
    result: str | None = None
    """``values`` and ``output`` were too large for this record: they are in the `RunResultPart`s with this ``blob_id``, before it."""


class RunSucceeded(RunEnded, kw_only=True, frozen=True):
    """Also when it stopped for a human: then the thread is ``interrupted``."""

    TYPE: ClassVar[str] = "run.succeeded.v1"


class RunFailed(RunEnded, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "run.failed.v1"


class RunCancelled(RunEnded, kw_only=True, frozen=True):
    """Shown to clients as ``interrupted``."""

    TYPE: ClassVar[str] = "run.cancelled.v1"
    reason: str | None = None
    """Of a run that no worker had; of others `RunCancelRequested` has it."""


class RunTimedOut(RunEnded, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "run.timed_out.v1"


class RunRolledBack(RunEnded, kw_only=True, frozen=True):
    """The run is gone, and its checkpoints with it."""

    TYPE: ClassVar[str] = "run.rolled_back.v1"


class RunDeleted(RunEvent, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "run.deleted.v1"
    active_attempt: int | None = None
    """A worker may still hold this attempt."""
    status: ThreadStatus | None = None
    status_when_idle: ThreadStatus | None = None
    values: Raw = ABSENT
    interrupts: Raw = ABSENT
    last_event_number: int = 0
    """The protocol number of the end of a run that was under way (wire contract §9)."""


class WebhookAttempted(RunEvent, kw_only=True, frozen=True):
    """One try to deliver the run's webhook: see `commands.RecordWebhookAttempt`. The run and its thread may be gone by now."""

    TYPE: ClassVar[str] = "webhook.attempted.v1"
    attempt: int
    attempted_at: str
    duration_ms: int = 0
    delivered: bool = False
    status_code: int | None = None
    error: str | None = None
    next_attempt_at: str | None = None


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


# --- assistants, crons, store, graphs ---------------------------------------------------------------


class AssistantVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What one version of an assistant says."""

    version: int
    graph_id: str
    config: Metadata
    context: Metadata
    metadata: Metadata
    name: str
    description: str | None
    created_at: str


class AssistantEvent(Event, kw_only=True, frozen=True):
    TOPIC: ClassVar[str] = ASSISTANT_EVENTS
    assistant_id: str

    @property
    def key(self) -> str:
        return self.assistant_id


class AssistantRejected(AssistantEvent, kw_only=True, frozen=True):
    """A command to an assistant that changed nothing."""

    TYPE: ClassVar[str] = "assistant.command_rejected.v1"
    status: int
    detail: str


class AssistantCreated(AssistantEvent, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "assistant.created.v1"
    content: AssistantVersion
    existed: bool = False


class AssistantVersioned(AssistantEvent, kw_only=True, frozen=True):
    """A patch: a new version, now the latest."""

    TYPE: ClassVar[str] = "assistant.versioned.v1"
    content: AssistantVersion


class AssistantLatestSet(AssistantEvent, kw_only=True, frozen=True):
    """The pointer moved to an earlier version; no version is made."""

    TYPE: ClassVar[str] = "assistant.latest_set.v1"
    content: AssistantVersion


class AssistantDeleted(AssistantEvent, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "assistant.deleted.v1"


class CronContent(msgspec.Struct, frozen=True, kw_only=True):
    """All that a cron says of itself. ``next_run_date`` in UTC; the other times ISO 8601 too, ``end_time`` as the client wrote it."""

    assistant_id: str
    thread_id: str | None
    user_id: str
    schedule: str
    timezone: str | None
    end_time: str | None
    payload: Metadata
    metadata: Metadata
    on_run_completed: Literal["delete", "keep"] | None
    enabled: bool
    next_run_date: str
    created_at: str
    updated_at: str
    authority: CronAuthority | None = None
    """What the project's handlers allowed its runs; not shown to clients. None: no authorization, or an older cron."""


class CronEvent(Event, kw_only=True, frozen=True):
    TOPIC: ClassVar[str] = CRON_EVENTS
    cron_id: str

    @property
    def key(self) -> str:
        return self.cron_id


class CronRejected(CronEvent, kw_only=True, frozen=True):
    """A command to a cron that changed nothing."""

    TYPE: ClassVar[str] = "cron.command_rejected.v1"
    status: int
    detail: str


class CronCreated(CronEvent, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "cron.created.v1"
    content: CronContent


class CronChanged(CronEvent, kw_only=True, frozen=True):
    """A patch; ``content`` is all of the cron afterwards."""

    TYPE: ClassVar[str] = "cron.changed.v1"
    content: CronContent


class CronAdvanced(CronEvent, kw_only=True, frozen=True):
    """The cron was due up to here; nothing else of it changes."""

    TYPE: ClassVar[str] = "cron.advanced.v1"
    next_run_date: str


class CronDeleted(CronEvent, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "cron.deleted.v1"


class StoreEvent(Event, kw_only=True, frozen=True):
    TOPIC: ClassVar[str] = STORE_EVENTS
    namespace: list[str]

    @property
    def key(self) -> str:
        return ".".join(self.namespace)


class StoreWritten(StoreEvent, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "store.written.v1"
    ops: list[StoreOp]


class StoreRefreshed(StoreEvent, kw_only=True, frozen=True):
    """Reads have put off the end of these items: see `commands.RefreshStore`."""

    TYPE: ClassVar[str] = "store.refreshed.v1"
    keys: list[str]
    read_at: str


class GraphRegistered(Event, kw_only=True, frozen=True):
    """A graph that executors can run, in the order of ``langgraph.json``. Written by an executor at start.

    ``schemas``: the object of ``GET /assistants/{id}/schemas`` without ``graph_id``. ``static``: it is the same for every config.
    ``drawings``: by depth, the last one with all subgraphs drawn out; empty: workers have to be asked. ``subgraphs``: schemas of
    all of them, by name (``outer|inner``); None: as with drawings.
    """

    TYPE: ClassVar[str] = "graph.registered.v1"
    TOPIC: ClassVar[str] = GRAPH_EVENTS
    graph_id: str
    position: int
    description: str | None = None
    schemas: dict[str, Any] = {}
    static: bool = False
    drawings: list[Any] = []
    subgraphs: dict[str, Any] | None = None

    @property
    def key(self) -> str:
        return self.graph_id


class ParkedReleased(Event, kw_only=True, frozen=True):
    """What became of a key's parked commands (`commands.ReleaseParked`, or the deletion of their thread). Stands where the key's other events stand.

    Commands are named by origin: ``<topic>-<partition>-<offset>``.
    """

    TYPE: ClassVar[str] = "parked.released.v1"
    aggregate_id: str
    decided: list[str] = []
    dropped: list[str] = []
    removed: list[str] = []
    """Those that went with their thread: it was deleted while they waited."""
    left: int = 0
    """That are still parked, the first of them because it cannot be decided."""

    @property
    def key(self) -> str:
        return self.aggregate_id


class ParkedEventsReleased(Event, kw_only=True, frozen=True):
    """An operator releases a key: its parked events are folded, in order. ``drop``: the origin of an event to discard permanently."""

    TYPE: ClassVar[str] = "parked.events_released.v1"
    TOPIC: ClassVar[str] = DEAD_LETTERS
    aggregate_id: str
    drop: str | None = None

    @property
    def key(self) -> str:
        return self.aggregate_id


FinalRunEvent = RunSucceeded | RunFailed | RunCancelled | RunTimedOut | RunRolledBack
WorkerEvent = RunStarted | RunFrames | CheckpointWritten | CheckpointWrites | CheckpointPart | RunResultPart
"""What workers append about an attempt. Nothing is decided on it."""
LifecycleEvent = (
    ThreadCreated
    | ThreadUpdated
    | ThreadDeleted
    | StateUpdated
    | CheckpointsDeleted
    | RunCreated
    | RunDispatched
    | RunCancelRequested
    | FinalRunEvent
    | RunDeleted
    | WebhookAttempted
)
"""What the decider appends about a thread and its runs."""
AnyAssistantEvent = AssistantRejected | AssistantCreated | AssistantVersioned | AssistantLatestSet | AssistantDeleted
AnyCronEvent = CronRejected | CronCreated | CronChanged | CronAdvanced | CronDeleted
AnyStoreEvent = StoreWritten | StoreRefreshed
OperationEvent = ParkedReleased | ParkedEventsReleased
AnyEvent = (
    CommandRejected
    | CommandRepeated
    | LifecycleEvent
    | WorkerEvent
    | AnyAssistantEvent
    | AnyCronEvent
    | AnyStoreEvent
    | GraphRegistered
    | OperationEvent
)

FINAL_RUN_EVENTS = (RunSucceeded, RunFailed, RunCancelled, RunTimedOut, RunRolledBack)
WORKER_EVENTS: tuple[type[Event], ...] = get_args(WorkerEvent)
EVENTS: dict[str, type[Event]] = {event.TYPE: event for event in get_args(AnyEvent)}

UPCASTS: dict[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {}
"""See `upcasts`. An old version whose body was msgpack stays in `MSGPACK_EVENTS`."""

MSGPACK_EVENTS = frozenset(
    e.TYPE for e in (RunFrames, CheckpointWritten, CheckpointWrites, CheckpointPart, RunResultPart)
)
"""Bodies that are bytes inside: msgpack on the wire instead of JSON."""

_json_encoder = msgspec.json.Encoder()
_msgpack_encoder = msgspec.msgpack.Encoder()
_decoders: dict[str, Callable[[bytes], Any]] = {
    name: (msgspec.msgpack.Decoder(cls) if name in MSGPACK_EVENTS else msgspec.json.Decoder(cls)).decode
    for name, cls in EVENTS.items()
}


def encode(event: Event) -> bytes:
    """The record value of an event."""
    return (_msgpack_encoder if event.TYPE in MSGPACK_EVENTS else _json_encoder).encode(event)


def decode(type_name: str, value: bytes) -> AnyEvent:
    """The event of a record, an old version upcast to the present one.

    Raises KeyError for an unknown type, msgspec.MsgspecError for a body that does not fit it.
    """
    decoder = _decoders.get(type_name)
    if decoder is None:
        type_name, value = bring_up(type_name, value, UPCASTS, MSGPACK_EVENTS)
        decoder = _decoders[type_name]
    return decoder(value)  # type: ignore[no-any-return]
