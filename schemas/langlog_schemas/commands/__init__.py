"""Commands: requests of clients and services. Appended to the topic ``commands``, keyed by the aggregate's id.

A command is a frozen Struct without its type inside: the type travels in the envelope
(``ce_type``), and `COMMANDS` finds the class. `Command` is the union to match on.
Times inside are ISO 8601 strings; ``Raw`` members are JSON that is passed on without being parsed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import msgspec

from ..runs.errors import Refusal, RunError
from ..upcasts import bring_up
from .base import (
    ABSENT,
    TOPIC,
    Body,
    CancelAction,
    IdleStatus,
    Metadata,
    MultitaskStrategy,
    Outcome,
)
from .operations import (
    ReleaseParked,
)
from .resources import (
    AdvanceCron,
    AssistantCommand,
    CreateAssistant,
    CreateCron,
    CronCommand,
    DeleteAssistant,
    DeleteCron,
    PatchAssistant,
    PatchCron,
    RefreshStore,
    SetLatestAssistant,
    StoreCommand,
    StoreOp,
    StoreVector,
    WriteStore,
)
from .runs import (
    CancelRuns,
    CreateRun,
    DeleteRun,
    FinishRun,
    RecordWebhookAttempt,
    RequeueRun,
    SendWebhookAgain,
    StartDueRun,
    TimeOutRun,
)
from .threads import (
    TTL_MAX_MINUTES,
    CheckpointChunk,
    CreateThread,
    DeleteCheckpoints,
    DeleteThread,
    ExpireThread,
    PatchThread,
    ThreadCommand,
    Ttl,
    UpdateState,
)

__all__ = [
    "ABSENT",
    "COMMANDS",
    "TOPIC",
    "TTL_MAX_MINUTES",
    "UPCASTS",
    "AdvanceCron",
    "AnyAssistantCommand",
    "AnyCronCommand",
    "AnyStoreCommand",
    "AnyThreadCommand",
    "AssistantCommand",
    "Body",
    "CancelAction",
    "CancelRuns",
    "CheckpointChunk",
    "Command",
    "CreateAssistant",
    "CreateCron",
    "CreateRun",
    "CreateThread",
    "CronCommand",
    "DeleteAssistant",
    "DeleteCheckpoints",
    "DeleteCron",
    "DeleteRun",
    "DeleteThread",
    "ExpireThread",
    "FinishRun",
    "IdleStatus",
    "Metadata",
    "MultitaskStrategy",
    "Outcome",
    "PatchAssistant",
    "PatchCron",
    "PatchThread",
    "RecordWebhookAttempt",
    "RefreshStore",
    "Refusal",
    "ReleaseParked",
    "RequeueRun",
    "RunError",
    "SendWebhookAgain",
    "SetLatestAssistant",
    "StartDueRun",
    "StoreCommand",
    "StoreOp",
    "StoreVector",
    "ThreadCommand",
    "TimeOutRun",
    "Ttl",
    "UpdateState",
    "WriteStore",
    "decode",
    "encode",
]

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
    | SendWebhookAgain
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
