"""Request bodies by endpoint (API.md 2 to 5 and 11). Unknown members are ignored; null is only what the type allows.

Members that are only handed on stay ``Raw``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from langlog_backbone.project.ttl import Minutes
from langlog_schemas.commands import TTL_MAX_MINUTES, Ttl
from langlog_schemas.run_request import Checkpoint as Checkpoint
from langlog_schemas.run_request import CheckpointName
from langlog_schemas.run_request import RunCreate as RunCreate
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

Limit = Annotated[int, Meta(ge=1, le=1000)]
Offset = Annotated[int, Meta(ge=0, le=2**62)]
Object = dict[str, Any]
ENTRIES_MAX = 10_000
"""Ids, names in ``select``, and runs of a batch, in one request; 422 beyond. Each of them takes its time on the loop that all clients share."""
Ids = Annotated[list[str], Meta(max_length=ENTRIES_MAX)]
Name = Annotated[str, Meta(max_length=1_000)]
Description = Annotated[str, Meta(max_length=10_000)]
"""Of an assistant, in characters: every list of assistants carries them."""
SortOrder = Literal["asc", "desc"]
NULL = Raw(b"null")

T = TypeVar("T")


def given(value: T | UnsetType) -> T | None:
    """A member that may be left out, and is not null when it is there."""
    return None if value is UNSET else value


def null() -> Raw:
    """A default that a schema can be made of, unlike the value itself."""
    return NULL


# --- assistants ------------------------------------------------------------------------------

AssistantColumn = Literal[
    "assistant_id",
    "graph_id",
    "name",
    "description",
    "config",
    "context",
    "created_at",
    "updated_at",
    "metadata",
    "version",
]


class AssistantCreate(Struct):
    graph_id: str
    assistant_id: str | None = None
    config: Object = {}
    context: Object = {}
    metadata: Object = {}
    name: Name = "Untitled"
    description: Description | None = None
    if_exists: Literal["raise", "do_nothing"] = "raise"


class AssistantPatch(Struct):
    graph_id: str | UnsetType = UNSET
    config: Object | UnsetType = UNSET
    context: Object | UnsetType = UNSET
    metadata: Object | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    description: Description | UnsetType = UNSET


class AssistantSearch(Struct):
    metadata: Object = {}
    graph_id: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    limit: Limit = 10
    offset: Offset = 0
    sort_by: Literal["assistant_id", "created_at", "updated_at", "name", "graph_id"] = "created_at"
    sort_order: SortOrder = "desc"
    select: Annotated[list[AssistantColumn], Meta(max_length=ENTRIES_MAX)] = []


class AssistantCount(Struct):
    metadata: Object = {}
    graph_id: str | UnsetType = UNSET
    name: str | UnsetType = UNSET


class AssistantVersions(Struct):
    metadata: Object = {}
    limit: Limit = 10
    offset: Offset = 0


class AssistantLatest(Struct):
    version: int | UnsetType = UNSET


# --- threads ---------------------------------------------------------------------------------

ThreadStatus = Literal["idle", "busy", "interrupted", "error"]
ThreadColumn = Literal[
    "thread_id",
    "created_at",
    "updated_at",
    "state_updated_at",
    "metadata",
    "config",
    "context",
    "status",
    "values",
    "interrupts",
]


class SuperstepUpdate(Struct):
    values: Raw = msgspec.field(default_factory=null)
    command: dict[str, Raw] | None = None
    as_node: str | None = None


class Superstep(Struct):
    updates: list[SuperstepUpdate]


class ThreadTtl(Struct):
    """``ttl`` in minutes."""

    ttl: Minutes
    strategy: Literal["delete", "keep_latest"] = "delete"

    @property
    def kept(self) -> Ttl:
        return Ttl(self.ttl, self.strategy)


class ThreadCreate(Struct):
    thread_id: str | None = None
    metadata: Object = {}
    if_exists: Literal["raise", "do_nothing"] = "raise"
    ttl: ThreadTtl | None = None
    supersteps: list[Superstep] | None = None


class ThreadPatch(Struct):
    metadata: Object = {}
    ttl: ThreadTtl | None = None


class ThreadSearch(Struct):
    ids: Ids = []
    metadata: Object = {}
    values: Object = {}
    status: ThreadStatus | UnsetType = UNSET
    limit: Limit = 10
    offset: Offset = 0
    sort_by: Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at"] = "updated_at"
    sort_order: SortOrder = "desc"
    select: Annotated[list[ThreadColumn], Meta(max_length=ENTRIES_MAX)] = []
    extract: dict[str, str] = {}


class ThreadCount(Struct):
    metadata: Object = {}
    values: Object = {}
    status: ThreadStatus | UnsetType = UNSET


class ThreadPrune(Struct):
    thread_ids: Ids
    strategy: Literal["delete", "keep_latest"] = "delete"


class StateAtCheckpoint(Struct):
    checkpoint: Checkpoint
    subgraphs: bool | None = None
    select: list[str] | None = None
    """Members of the answer, and ``values.<key>``; none: all."""


class StateUpdate(Struct):
    values: Object | list[Any] | None = None
    as_node: str | None = None
    checkpoint: Checkpoint | None = None
    checkpoint_id: CheckpointName | None = None


class HistoryBefore(Struct):
    """``before`` as a config or as a checkpoint."""

    configurable: Object = {}
    checkpoint_id: CheckpointName | None = None


class HistorySearch(Struct):
    limit: Limit = 1
    before: HistoryBefore | None = None
    metadata: Object | None = None
    checkpoint: Checkpoint | None = None
    select: list[str] | None = None
    """Members of each state, and ``values.<key>``; none: all."""


# --- runs ------------------------------------------------------------------------------------

RunColumn = Literal[
    "run_id",
    "thread_id",
    "assistant_id",
    "created_at",
    "updated_at",
    "status",
    "metadata",
    "kwargs",
    "multitask_strategy",
    "langsmith_session_name",
    "cancel_reason",
]


class CancelMany(Struct):
    status: Literal["pending", "running", "all"] | UnsetType = UNSET
    thread_id: str | UnsetType = UNSET
    run_ids: Ids | UnsetType = UNSET


# --- store -----------------------------------------------------------------------------------


class StorePut(Struct):
    namespace: list[str]
    key: str
    value: Object
    index: list[str] | Any = None
    ttl: Annotated[float, Meta(ge=-TTL_MAX_MINUTES, le=TTL_MAX_MINUTES)] | None = None
    """Minutes; below zero, the item goes at the next sweep."""


class StoreDelete(Struct):
    key: str
    namespace: list[str] = []


class StoreSearch(Struct):
    namespace_prefix: list[str] | None = None
    filter: Object | None = None
    limit: int = 10
    offset: int = 0
    query: str | None = None
    refresh_ttl: bool | None = None


class StoreNamespaces(Struct):
    prefix: list[str] | None = None
    suffix: list[str] | None = None
    max_depth: int | UnsetType = UNSET
    limit: int = 100
    offset: int = 0


class ProtocolCommand(Struct):
    """A command of the streaming protocol (API.md 9.1), as the document shows it: it is read leniently."""

    id: int
    method: str
    params: Object = {}


class EventStream(Struct):
    """What to follow of a thread (API.md 9.2), as the document shows it."""

    channels: Annotated[list[str], Meta(min_length=1)]
    namespaces: list[list[str]] | UnsetType = UNSET
    depth: int | UnsetType = UNSET
    since: int | UnsetType = UNSET


ASSISTANT_CREATE = msgspec.json.Decoder(AssistantCreate)
ASSISTANT_PATCH = msgspec.json.Decoder(AssistantPatch)
ASSISTANT_SEARCH = msgspec.json.Decoder(AssistantSearch)
ASSISTANT_COUNT = msgspec.json.Decoder(AssistantCount)
ASSISTANT_VERSIONS = msgspec.json.Decoder(AssistantVersions)
ASSISTANT_LATEST = msgspec.json.Decoder(AssistantLatest)
THREAD_CREATE = msgspec.json.Decoder(ThreadCreate)
THREAD_PATCH = msgspec.json.Decoder(ThreadPatch)
THREAD_SEARCH = msgspec.json.Decoder(ThreadSearch)
THREAD_COUNT = msgspec.json.Decoder(ThreadCount)
THREAD_PRUNE = msgspec.json.Decoder(ThreadPrune)
STATE_AT_CHECKPOINT = msgspec.json.Decoder(StateAtCheckpoint)
STATE_UPDATE = msgspec.json.Decoder(StateUpdate)
HISTORY_SEARCH = msgspec.json.Decoder(HistorySearch)
RUN_CREATE = msgspec.json.Decoder(RunCreate)
RUN_BATCH = msgspec.json.Decoder(Annotated[list[RunCreate], Meta(min_length=1, max_length=ENTRIES_MAX)])
CANCEL_MANY = msgspec.json.Decoder(CancelMany)
STORE_PUT = msgspec.json.Decoder(StorePut)
STORE_DELETE = msgspec.json.Decoder(StoreDelete)
STORE_SEARCH = msgspec.json.Decoder(StoreSearch)
STORE_NAMESPACES = msgspec.json.Decoder(StoreNamespaces)
