"""Request bodies of threads (wire contract §3)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from langlog_backbone.project.ttl import Minutes
from langlog_schemas.commands import Ttl
from langlog_schemas.events import ThreadStatus
from langlog_schemas.json_types import Object
from langlog_schemas.runs.request import Checkpoint, CheckpointName
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from .members import ENTRIES_MAX, Ids, Limit, Moment, Offset, SortOrder, null

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
    "error",
]


class SuperstepUpdate(Struct):
    """One update of a superstep: the values that one node wrote."""

    values: Raw = msgspec.field(default_factory=null)
    """Values to write into the state"""
    command: dict[str, Raw] | None = None
    """`update`, `resume` and `goto`, as for a run"""
    as_node: str | None = None
    """Node that the update counts as; `__input__` is an input step"""


class Superstep(Struct):
    """Updates that are applied together, as one step of the graph."""

    updates: list[SuperstepUpdate]
    """Updates of this step"""


class ThreadTtl(Struct):
    """Time to live of a thread."""

    ttl: Minutes
    """Minutes since the last change of the thread"""
    strategy: Literal["delete", "keep_latest"] = "delete"
    """Effect of the expiry: `delete` removes the thread, `keep_latest` its checkpoints except the latest"""

    @property
    def kept(self) -> Ttl:
        return Ttl(self.ttl, self.strategy)


class ThreadCreate(Struct):
    """A new thread, empty or with an initial state."""

    thread_id: str | None = None
    """Id of the thread; the server creates one if it is absent"""
    metadata: Object = {}
    """Metadata, any JSON object. `graph_id` is required for `supersteps`"""
    if_exists: Literal["raise", "do_nothing"] = "raise"
    """Response if the id is taken: `raise` is 409, `do_nothing` returns the existing thread unchanged, without the request's
    `metadata`, `ttl` and `supersteps`"""
    ttl: ThreadTtl | None = None
    """Time to live"""
    supersteps: list[Superstep] | None = None
    """Updates of the state of a new thread, applied in order once it exists; one that existed keeps its state"""


class ThreadPatch(Struct):
    """Changes of a thread."""

    metadata: Object = {}
    """Members to merge into the metadata; null is stored as a value and deletes nothing"""
    ttl: ThreadTtl | None = None
    """New time to live"""


class ThreadCount(Struct):
    """Conditions of a count of threads. All conditions must hold."""

    metadata: Object = {}
    """Metadata that the objects must contain; nested objects are compared member by member"""
    values: Object = {}
    """State values that the threads must contain"""
    status: ThreadStatus | UnsetType = UNSET
    """Status of the threads"""
    graph_id: str | None = None
    """Graph of the last run"""
    assistant_id: str | None = None
    """Id of the assistant of the last run"""
    id_prefix: Annotated[str, Meta(max_length=36)] | None = None
    """Prefix of the threads' ids"""
    created_after: Moment | None = None
    """Time that the threads were created at or after"""
    created_before: Moment | None = None
    """Time that the threads were created before"""
    updated_after: Moment | None = None
    """Time that the threads were changed at or after"""
    updated_before: Moment | None = None
    """Time that the threads were last changed before"""


class ThreadSearch(ThreadCount):
    """Conditions and form of a search for threads. All conditions must hold."""

    ids: Ids = []
    """Ids of threads; an empty list means all"""
    limit: Limit = 10
    """Maximum number of entries"""
    offset: Offset = 0
    """Number of entries to skip"""
    after: str | None = None
    """Response header `x-pagination-after` of the page before: the page begins there. Pages stay as fast as the first one;
    not with `sort_by` status"""
    sort_by: Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at"] = "updated_at"
    """Member to sort by"""
    sort_order: SortOrder = "desc"
    """Direction of sorting"""
    select: Annotated[list[ThreadColumn], Meta(max_length=ENTRIES_MAX)] = []
    """Members to return; an empty list returns all"""
    extract: dict[str, str] = {}
    """Name -> path of a value to return in `extracted`, such as `values.messages[-1]`. Paths begin with `values`,
    `metadata`, `config` or `interrupts`; at most 10"""


class ThreadFork(Struct):
    """Checkpoint to fork a thread at, and properties of the new thread."""

    checkpoint_id: CheckpointName | None = None
    """Id of the checkpoint at which the new thread begins; absent means the latest"""
    checkpoint: Checkpoint | None = None
    """Address of the checkpoint, in place of `checkpoint_id`. Its `checkpoint_ns` must be empty"""
    thread_id: str | None = None
    """Id of the new thread; the server creates one if it is absent. 409 if it is taken"""
    metadata: Object = {}
    """Members to merge into the metadata of the forked thread"""


class ThreadPrune(Struct):
    """Threads to prune, and how."""

    thread_ids: Ids
    """Ids of the threads; unknown ones are skipped"""
    strategy: Literal["delete", "keep_latest"] = "delete"
    """`delete` removes the threads, `keep_latest` their checkpoints but the latest"""


THREAD_CREATE = msgspec.json.Decoder(ThreadCreate)
THREAD_PATCH = msgspec.json.Decoder(ThreadPatch)
THREAD_SEARCH = msgspec.json.Decoder(ThreadSearch)
THREAD_COUNT = msgspec.json.Decoder(ThreadCount)
THREAD_FORK = msgspec.json.Decoder(ThreadFork)
THREAD_PRUNE = msgspec.json.Decoder(ThreadPrune)
