"""Commands: requests of clients and services. Appended to the topic ``commands``, keyed by the aggregate's id.

A command is a frozen Struct without its type inside: the type travels in the envelope
(``ce_type``), and `COMMANDS` finds the class. `Command` is the union to match on.
Times inside are ISO 8601 strings; ``Raw`` members are JSON that is passed on without being parsed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, get_args

import msgspec
from msgspec import UNSET, Raw, UnsetType

from .rules.cron_authority import CronAuthority
from .rules.provenance import Provenance
from .runs.errors import Refusal as Refusal
from .runs.errors import RunError as RunError
from .upcasts import bring_up

TOPIC = "commands"

MultitaskStrategy = Literal["reject", "interrupt", "rollback", "enqueue"]
CancelAction = Literal["interrupt", "rollback", "disconnect"]
"""``disconnect``: an interrupt, since the client that the run was tied to has left (wire contract §6.5)."""
Outcome = Literal["success", "error", "interrupted", "timeout", "rolled_back"]
IdleStatus = Literal["idle", "interrupted", "error"]
"""Status of a thread without runs in flight."""
Metadata = dict[str, Any]

ABSENT = Raw(b"")
"""Value of an absent ``Raw`` member (a union with None cannot be decoded). It is falsy, and omitted when encoded."""


class Body(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all command bodies. ``TYPE`` is the CloudEvents type without its prefix."""

    TYPE: ClassVar[str] = ""

    @property
    def key(self) -> str:
        """Return the aggregate's id: the key of the record, so that one decider handles all commands of the aggregate."""
        raise NotImplementedError(type(self).__name__)


# --- threads ---------------------------------------------------------------------------------


TTL_MAX_MINUTES = 100 * 366 * 1440.0
"""A hundred years. Longer values are cut to this, so that a datetime can hold the result."""


class Ttl(msgspec.Struct, frozen=True, omit_defaults=True):
    """Time to live of a thread: ``ttl`` minutes after its last change."""

    ttl: float
    strategy: Literal["delete", "keep_latest"] = "delete"


class ThreadCommand(Body, kw_only=True, frozen=True):
    thread_id: str
    visible: Metadata | None = None
    """The caller's filters (`filters`): for the caller, a thread that does not match does not exist."""

    @property
    def key(self) -> str:
        return self.thread_id


class CreateThread(ThreadCommand, kw_only=True, frozen=True):
    """Create a thread. ``fresh``: the id was minted for this command, so no thread with it can exist."""

    TYPE: ClassVar[str] = "thread.create.v1"
    metadata: Metadata = {}
    ttl: Ttl | None = None
    if_exists: Literal["raise", "do_nothing"] = "raise"
    fresh: bool = False
    config: Metadata = {}
    """The thread's ``config``, if the thread is imported."""
    provenance: Provenance | None = None
    """Set for an imported thread."""


class PatchThread(ThreadCommand, kw_only=True, frozen=True):
    """Merge metadata one level deep; set the TTL when given."""

    TYPE: ClassVar[str] = "thread.patch.v1"
    metadata: Metadata = {}
    ttl: Ttl | None = None
    metadata_limit: int | None = None
    """Maximum size of the merged metadata as JSON, in bytes. A larger result is refused. None: no limit."""
    provenance: Provenance | None = None
    """Set if the changes are imported."""


class DeleteThread(ThreadCommand, kw_only=True, frozen=True):
    """Remove the thread with all that belongs to it; runs in flight are stopped."""

    TYPE: ClassVar[str] = "thread.delete.v1"


class CheckpointChunk(msgspec.Struct, frozen=True):
    """Piece ``index`` of ``count`` of an encoded checkpoint, or of its writes, that is too large for one record."""

    blob_id: str
    """Id of the encoded body, the same in all of its pieces."""
    index: int
    count: int
    whole: Literal["checkpoint.written.v1", "checkpoint.writes.v1"]
    body: bytes


class UpdateState(ThreadCommand, kw_only=True, frozen=True):
    """Add checkpoints that a worker has prepared for a state update (wire contract §4).

    Refused with 409 while a run is in flight. ``checkpoints`` are encoded
    `langlog_schemas.checkpoints` bodies, in order.
    """

    TYPE: ClassVar[str] = "thread.update_state.v1"
    checkpoints: list[bytes]
    values: Raw
    next: list[str] = []
    interrupts: Raw = Raw(b"{}")
    checkpoint_id: str | None = None
    checkpoints_only: bool = False
    """Set when checkpoints are copied into a thread: they change neither its status nor its values."""
    status: IdleStatus | None = None
    """New status of the thread. None: derived from ``next``."""
    error: Raw = ABSENT
    """New ``error`` of the thread, as JSON; absent: no error."""
    chunk: CheckpointChunk | None = None
    """A piece of a large checkpoint. Such a command carries nothing else; all pieces precede the command that follows the checkpoint."""
    provenance: Provenance | None = None
    """Set if the state is imported. With ``updated_at`` the thread gets that time, unless the command has checkpoints only."""


class DeleteCheckpoints(ThreadCommand, kw_only=True, frozen=True):
    """Remove checkpoints: all of the thread, those of some runs, or all but the latest of each namespace."""

    TYPE: ClassVar[str] = "thread.delete_checkpoints.v1"
    run_ids: list[str] | None = None
    keep_latest: bool = False


class ExpireThread(ThreadCommand, kw_only=True, frozen=True):
    """Delete the thread if its TTL has passed. The decider checks; it does nothing before that time or while runs are in flight."""

    TYPE: ClassVar[str] = "thread.expire.v1"


# --- runs ------------------------------------------------------------------------------------


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


# --- assistants ------------------------------------------------------------------------------


class AssistantCommand(Body, kw_only=True, frozen=True):
    assistant_id: str
    visible: Metadata | None = None
    """The caller's filters, as in `ThreadCommand.visible`."""

    @property
    def key(self) -> str:
        return self.assistant_id


class CreateAssistant(AssistantCommand, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "assistant.create.v1"
    graph_id: str
    config: Metadata = {}
    context: Metadata = {}
    metadata: Metadata = {}
    name: str = "Untitled"
    description: str | None = None
    if_exists: Literal["raise", "do_nothing", "update"] = "raise"
    """``update``: an existing assistant gets a new version with this config and context, unless it already has them."""
    provenance: Provenance | None = None
    """Set for an imported assistant."""


class PatchAssistant(AssistantCommand, kw_only=True, frozen=True):
    """Change an assistant. Each patch creates a version, even an empty one. Absent members stay unchanged."""

    TYPE: ClassVar[str] = "assistant.patch.v1"
    graph_id: str | UnsetType = UNSET
    config: Metadata | UnsetType = UNSET
    context: Metadata | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    name: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    metadata_limit: int | None = None
    """Maximum size of the merged metadata as JSON, in bytes. A larger result is refused. None: no limit."""
    provenance: Provenance | None = None
    """Set for an imported version."""


class SetLatestAssistant(AssistantCommand, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "assistant.set_latest.v1"
    version: int | None = None
    provenance: Provenance | None = None
    """Set if the choice of the latest version is imported."""


class DeleteAssistant(AssistantCommand, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "assistant.delete.v1"


# --- store -----------------------------------------------------------------------------------


class StoreVector(msgspec.Struct, frozen=True):
    """The embedding of one text of an item. Computed once, before the command, and never again."""

    path: str
    """The path of the text in the item's value, as ``index`` and ``store.index.fields`` name it."""
    embedding: bytes
    """Floats, little endian, of ``bits`` each."""
    bits: Literal[32, 64] = 32
    """Size of each float, in bits."""


class StoreOp(msgspec.Struct, frozen=True, omit_defaults=True):
    """A write of one item. Without ``value`` it deletes. ``ttl`` is in minutes. ``expired_by``: delete only if the item
    expires by then."""

    key: str
    value: Raw = ABSENT
    index: list[str] | Literal[False] | None = None
    ttl: float | None = None
    expired_by: str | None = None
    vectors: list[StoreVector] = []
    created_at: str | None = None
    """Creation time of an imported item that is new here. None: the time of the command."""
    updated_at: str | None = None
    """Time of the last change of an imported item. None: the time of the command."""


class StoreCommand(Body, kw_only=True, frozen=True):
    namespace: list[str]

    @property
    def key(self) -> str:
        return ".".join(self.namespace)


class WriteStore(StoreCommand, kw_only=True, frozen=True):
    """Writes to one namespace, in order."""

    TYPE: ClassVar[str] = "store.write.v1"
    ops: list[StoreOp]
    provenance: Provenance | None = None
    """Set for imported items."""


class RefreshStore(StoreCommand, kw_only=True, frozen=True):
    """Items of one namespace were read at ``read_at``: their TTLs count from then, for those that are still there."""

    TYPE: ClassVar[str] = "store.refresh.v1"
    keys: list[str]
    read_at: str


# --- crons -----------------------------------------------------------------------------------


class CronCommand(Body, kw_only=True, frozen=True):
    cron_id: str
    visible: Metadata | None = None

    @property
    def key(self) -> str:
        return self.cron_id


class CreateCron(CronCommand, kw_only=True, frozen=True):
    """Create a cron (wire contract §10). The schedule, the time zone and the end have been checked."""

    TYPE: ClassVar[str] = "cron.create.v1"
    assistant_id: str
    thread_id: str | None = None
    user_id: str = ""
    schedule: str
    timezone: str | None = None
    end_time: str | None = None
    """End of the cron, as the client wrote it."""
    payload: Metadata
    metadata: Metadata = {}
    on_run_completed: Literal["delete", "keep"] | None = None
    enabled: bool = True
    authority: CronAuthority | None = None
    """Permissions of the cron's runs. None: the project has no authorization."""
    provenance: Provenance | None = None
    """Set for an imported cron."""


class PatchCron(CronCommand, kw_only=True, frozen=True):
    """Change a cron. Absent members stay unchanged. Members of ``payload`` replace those of the cron's payload.

    ``user_id`` and ``authority`` are set together: the new owner of the cron's runs, and that caller's permissions.
    """

    TYPE: ClassVar[str] = "cron.patch.v1"
    payload: Metadata
    assistant_id: str | UnsetType = UNSET
    schedule: str | UnsetType = UNSET
    timezone: str | UnsetType | None = UNSET
    end_time: str | UnsetType | None = UNSET
    metadata: Metadata | UnsetType = UNSET
    on_run_completed: Literal["delete", "keep"] | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    user_id: str | UnsetType = UNSET
    authority: CronAuthority | UnsetType | None = UNSET
    metadata_limit: int | None = None
    """Maximum size of the merged metadata as JSON, in bytes. A larger result is refused. None: no limit."""


class AdvanceCron(CronCommand, kw_only=True, frozen=True):
    """Move a cron to its next date after its due runs were requested. Ignored unless ``due`` is still the next date."""

    TYPE: ClassVar[str] = "cron.advance.v1"
    due: str
    next_run_date: str


class DeleteCron(CronCommand, kw_only=True, frozen=True):
    TYPE: ClassVar[str] = "cron.delete.v1"


# --- dead letters ----------------------------------------------------------------------------


class ReleaseParked(Body, kw_only=True, frozen=True):
    """Decide the parked commands of a key, in order, as if they came now. ``drop``: the origin of one to be left out."""

    TYPE: ClassVar[str] = "parked.release.v1"
    aggregate_id: str
    drop: str | None = None

    @property
    def key(self) -> str:
        return self.aggregate_id


AnyThreadCommand = (
    CreateThread
    | PatchThread
    | DeleteThread
    | UpdateState
    | DeleteCheckpoints
    | ExpireThread
    | CreateRun
    | CancelRuns
    | DeleteRun
    | FinishRun
    | RequeueRun
    | StartDueRun
    | TimeOutRun
    | RecordWebhookAttempt
)
"""Commands to a thread and its runs."""
AnyAssistantCommand = CreateAssistant | PatchAssistant | SetLatestAssistant | DeleteAssistant
AnyStoreCommand = WriteStore | RefreshStore
AnyCronCommand = CreateCron | PatchCron | AdvanceCron | DeleteCron
Command = AnyThreadCommand | AnyAssistantCommand | AnyStoreCommand | AnyCronCommand | ReleaseParked

COMMANDS: dict[str, type[Body]] = {command.TYPE: command for command in get_args(Command)}

UPCASTS: dict[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {}
"""See `upcasts`."""

_DECODERS = {name: msgspec.json.Decoder(cls) for name, cls in COMMANDS.items()}
_ENCODER = msgspec.json.Encoder()


def encode(command: Body) -> bytes:
    """The record value of a command."""
    return _ENCODER.encode(command)


def decode(type_name: str, value: bytes) -> Command:
    """The command of a record, an old version upcast to the present one.

    Raises KeyError for an unknown type, msgspec.MsgspecError for a bad body.
    """
    decoder = _DECODERS.get(type_name)
    if decoder is None:
        type_name, value = bring_up(type_name, value, UPCASTS, ())
        decoder = _DECODERS[type_name]
    return decoder.decode(value)  # type: ignore[return-value]
