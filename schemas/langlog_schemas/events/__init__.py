"""Events: facts that the log records. Folded by projector, decider and outside consumers alike.

Lifecycle events are written by the decider alone; `WORKER_EVENTS` (checkpoints, frames, starts)
by workers, who are fenced by ``(run, attempt)``. An event carries the resulting values of what it
changes (status, merged metadata), so that folding needs no other source.

A released version is never changed: a new one gets a new ``.vN`` and an entry in `UPCASTS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import msgspec

from ..upcasts import bring_up
from .base import (
    ASSISTANT_EVENTS,
    CRON_EVENTS,
    DEAD_LETTERS,
    EVENT_TOPICS,
    FOLDED_TOPICS,
    GRAPH_EVENTS,
    LISTED_TOPICS,
    RUN_EVENTS,
    STORE_EVENTS,
    Event,
    RunStatus,
    ThreadStatus,
)
from .joined import count, joined, parts
from .operations import (
    CommandRejected,
    CommandRepeated,
    ParkedEventsReleased,
    ParkedReleased,
)
from .resources import (
    AssistantCreated,
    AssistantDeleted,
    AssistantEvent,
    AssistantLatestSet,
    AssistantRejected,
    AssistantVersion,
    AssistantVersioned,
    CronAdvanced,
    CronChanged,
    CronContent,
    CronCreated,
    CronDeleted,
    CronEvent,
    CronRejected,
    GraphRegistered,
    StoreEvent,
    StoreRefreshed,
    StoreWritten,
)
from .runs import (
    CheckpointPart,
    CheckpointSteps,
    CheckpointWrites,
    CheckpointWritten,
    RunCancelled,
    RunCancelRequested,
    RunCreated,
    RunDeleted,
    RunDispatched,
    RunEnded,
    RunEvent,
    RunFailed,
    RunFrames,
    RunResultPart,
    RunRolledBack,
    RunStarted,
    RunSucceeded,
    RunTimedOut,
    Step,
    WebhookAttempted,
    WebhookDueAgain,
)
from .threads import (
    CheckpointsDeleted,
    StateUpdated,
    ThreadCreated,
    ThreadDeleted,
    ThreadEvent,
    ThreadUpdated,
)

__all__ = [
    "ASSISTANT_EVENTS",
    "CRON_EVENTS",
    "DEAD_LETTERS",
    "EVENTS",
    "EVENT_TOPICS",
    "FINAL_RUN_EVENTS",
    "FOLDED_TOPICS",
    "GRAPH_EVENTS",
    "LISTED_TOPICS",
    "MSGPACK_EVENTS",
    "RUN_EVENTS",
    "STORE_EVENTS",
    "UPCASTS",
    "WORKER_EVENTS",
    "AnyAssistantEvent",
    "AnyCronEvent",
    "AnyEvent",
    "AnyStoreEvent",
    "AssistantCreated",
    "AssistantDeleted",
    "AssistantEvent",
    "AssistantLatestSet",
    "AssistantRejected",
    "AssistantVersion",
    "AssistantVersioned",
    "CheckpointPart",
    "CheckpointSteps",
    "CheckpointWrites",
    "CheckpointWritten",
    "CheckpointsDeleted",
    "CommandRejected",
    "CommandRepeated",
    "CronAdvanced",
    "CronChanged",
    "CronContent",
    "CronCreated",
    "CronDeleted",
    "CronEvent",
    "CronRejected",
    "Event",
    "FinalRunEvent",
    "GraphRegistered",
    "LifecycleEvent",
    "OperationEvent",
    "ParkedEventsReleased",
    "ParkedReleased",
    "RunCancelRequested",
    "RunCancelled",
    "RunCreated",
    "RunDeleted",
    "RunDispatched",
    "RunEnded",
    "RunEvent",
    "RunFailed",
    "RunFrames",
    "RunResultPart",
    "RunRolledBack",
    "RunStarted",
    "RunStatus",
    "RunSucceeded",
    "RunTimedOut",
    "StateUpdated",
    "Step",
    "StoreEvent",
    "StoreRefreshed",
    "StoreWritten",
    "ThreadCreated",
    "ThreadDeleted",
    "ThreadEvent",
    "ThreadStatus",
    "ThreadUpdated",
    "WebhookAttempted",
    "WebhookDueAgain",
    "WorkerEvent",
    "count",
    "decode",
    "encode",
    "joined",
    "parts",
]

FinalRunEvent = RunSucceeded | RunFailed | RunCancelled | RunTimedOut | RunRolledBack
WorkerEvent = (
    RunStarted | RunFrames | CheckpointWritten | CheckpointWrites | CheckpointSteps | CheckpointPart | RunResultPart
)
"""Events that workers append about an attempt. No decision depends on them."""
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
    | WebhookDueAgain
)
"""Events that the decider appends about a thread and its runs."""
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
    e.TYPE for e in (RunFrames, CheckpointWritten, CheckpointWrites, CheckpointSteps, CheckpointPart, RunResultPart)
)
"""Types whose bodies contain bytes: msgpack on the wire instead of JSON."""

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
