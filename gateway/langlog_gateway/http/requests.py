"""Request bodies by endpoint (wire contract §2 to §5 and §11). Unknown members are ignored; null is only what the type allows.

Members that are only handed on stay ``Raw``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from langlog_backbone.project.ttl import Minutes
from langlog_schemas.commands import TTL_MAX_MINUTES, Ttl
from langlog_schemas.events import RunStatus, ThreadStatus
from langlog_schemas.json_types import Object
from langlog_schemas.runs.request import Checkpoint as Checkpoint
from langlog_schemas.runs.request import CheckpointName
from langlog_schemas.runs.request import RunCreate as RunCreate
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

Limit = Annotated[int, Meta(ge=1, le=1000)]
Offset = Annotated[int, Meta(ge=0, le=2**62)]
ENTRIES_MAX = 10_000
"""Ids, names in ``select``, and runs of a batch, in one request; 422 beyond. Each of them takes its time on the loop that all clients share."""
Ids = Annotated[list[str], Meta(max_length=ENTRIES_MAX)]
BULK_MAX = 1_000
"""Answers, or runs to retry, in one request: each makes a run."""
Name = Annotated[str, Meta(max_length=1_000)]
Description = Annotated[str, Meta(max_length=10_000)]
"""Of an assistant, in characters: every list of assistants carries them."""
Moment = Annotated[datetime, Meta(tz=True)]
"""A time in ISO 8601 with its offset."""
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
    """A new assistant: a graph with a configuration of its own."""

    graph_id: str
    """Name of the graph in `langgraph.json`"""
    assistant_id: str | None = None
    """Id of the assistant; the server creates one if it is absent"""
    config: Object = {}
    """Configuration of the assistant's runs: `tags`, `recursion_limit`, `configurable`. Set either this `configurable` or `context`: the server copies one to the other"""
    context: Object = {}
    """Static context of the assistant's runs"""
    metadata: Object = {}
    """Metadata, any JSON object"""
    name: Name = "Untitled"
    """Name, not necessarily unique"""
    description: Description | None = None
    """Description for people and for MCP clients"""
    if_exists: Literal["raise", "do_nothing"] = "raise"
    """Response if the id is taken: `raise` is 409, `do_nothing` returns the existing assistant"""


class AssistantPatch(Struct):
    """Changes of an assistant. Absent members keep their values; every update creates a version."""

    graph_id: str | UnsetType = UNSET
    """Name of the graph in `langgraph.json`"""
    config: Object | UnsetType = UNSET
    """New configuration; replaces the old one"""
    context: Object | UnsetType = UNSET
    """New static context; replaces the old one"""
    metadata: Object | UnsetType = UNSET
    """Members to merge into the metadata"""
    name: Name | UnsetType = UNSET
    """New name"""
    description: Description | UnsetType = UNSET
    """New description"""


class AssistantSearch(Struct):
    """Which assistants to return, and how. All conditions must hold."""

    metadata: Object = {}
    """Metadata that the objects must contain; nested objects are compared member by member"""
    graph_id: str | UnsetType = UNSET
    """Name of the assistants' graph"""
    name: str | UnsetType = UNSET
    """Part of the name, in upper or lower case"""
    limit: Limit = 10
    """Maximum number of entries"""
    offset: Offset = 0
    """Number of entries to skip"""
    sort_by: Literal["assistant_id", "created_at", "updated_at", "name", "graph_id"] = "created_at"
    """Member to sort by"""
    sort_order: SortOrder = "desc"
    """Direction of sorting"""
    select: Annotated[list[AssistantColumn], Meta(max_length=ENTRIES_MAX)] = []
    """Members to return; an empty list returns all"""


class AssistantCount(Struct):
    """Which assistants to count. All conditions must hold."""

    metadata: Object = {}
    """Metadata that the objects must contain; nested objects are compared member by member"""
    graph_id: str | UnsetType = UNSET
    """Name of the assistants' graph"""
    name: str | UnsetType = UNSET
    """Part of the name, in upper or lower case"""


class AssistantVersions(Struct):
    """Which versions to return, newest first."""

    metadata: Object = {}
    """Metadata that the versions must contain"""
    limit: Limit = 10
    """Maximum number of entries"""
    offset: Offset = 0
    """Number of entries to skip"""


class AssistantLatest(Struct):
    """The version to go back or forward to."""

    version: int | UnsetType = UNSET
    """Number of the version. No version is created, and later ones stay listed"""


# --- threads ---------------------------------------------------------------------------------

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
    """One update of a superstep: what one node wrote."""

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
    """What expires: `delete` removes the thread, `keep_latest` its checkpoints but the latest"""

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
    """Response if the id is taken: `raise` is 409, `do_nothing` returns the existing thread"""
    ttl: ThreadTtl | None = None
    """Time to live"""
    supersteps: list[Superstep] | None = None
    """Updates of the state to apply in order after the thread exists"""


class ThreadPatch(Struct):
    """Changes of a thread."""

    metadata: Object = {}
    """Members to merge into the metadata; null is stored as a value and deletes nothing"""
    ttl: ThreadTtl | None = None
    """New time to live"""


class ThreadCount(Struct):
    """Which threads to count. All conditions must hold."""

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
    """What the ids of the threads begin with"""
    created_after: Moment | None = None
    """Time that the threads were created at or after"""
    created_before: Moment | None = None
    """Time that the threads were created before"""
    updated_after: Moment | None = None
    """Time that the threads were changed at or after"""
    updated_before: Moment | None = None
    """Time that the threads were last changed before"""


class ThreadSearch(ThreadCount):
    """Which threads to return, and how. All conditions must hold."""

    ids: Ids = []
    """Ids of threads; an empty list means all"""
    limit: Limit = 10
    """Maximum number of entries"""
    offset: Offset = 0
    """Number of entries to skip"""
    after: str | None = None
    """Response header `x-pagination-after` of the page before: the page begins there. Pages stay as fast as the first one; not with `sort_by` status"""
    sort_by: Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at"] = "updated_at"
    """Member to sort by"""
    sort_order: SortOrder = "desc"
    """Direction of sorting"""
    select: Annotated[list[ThreadColumn], Meta(max_length=ENTRIES_MAX)] = []
    """Members to return; an empty list returns all"""
    extract: dict[str, str] = {}
    """Name -> path of a value to return in `extracted`, such as `values.messages[-1]`. Paths begin with `values`, `metadata`, `config` or `interrupts`; at most 10"""


class ThreadFork(Struct):
    """Where to fork a thread, and what the new thread is."""

    checkpoint_id: CheckpointName | None = None
    """Id of the checkpoint that the new thread stands at; absent means the latest"""
    checkpoint: Checkpoint | None = None
    """Address of the checkpoint, in place of `checkpoint_id`. Its `checkpoint_ns` must be empty"""
    thread_id: str | None = None
    """Id of the new thread; the server creates one if it is absent. 409 if it is taken"""
    metadata: Object = {}
    """Members to merge into the metadata of the forked thread"""


class ThreadPrune(Struct):
    """Which threads to prune, and how."""

    thread_ids: Ids
    """Ids of the threads; unknown ones are skipped"""
    strategy: Literal["delete", "keep_latest"] = "delete"
    """`delete` removes the threads, `keep_latest` their checkpoints but the latest"""


class InterruptCount(Struct):
    """Which open interrupts to count. All conditions must hold."""

    thread_id: str | None = None
    """Id of the thread that was interrupted"""
    assistant_id: str | None = None
    """Id of the assistant whose run was interrupted"""
    graph_id: str | None = None
    """Graph that was interrupted"""
    metadata: Object = {}
    """Metadata that the threads must contain; nested objects are compared member by member"""


class InterruptSearch(InterruptCount):
    """Which open interrupts to return. All conditions must hold."""

    limit: Limit = 10
    """Maximum number of entries"""
    offset: Offset = 0
    """Number of entries to skip"""
    sort_order: SortOrder = "asc"
    """`asc` returns the oldest first"""


class InterruptAnswer(Struct):
    """The answer to one open interrupt."""

    thread_id: str
    """Id of the thread that was interrupted"""
    interrupt_id: str
    """Id of the interrupt"""
    response: Raw = msgspec.field(default_factory=null)
    """The answer, any JSON: what `interrupt()` returns in the node"""


class InterruptsRespond(Struct):
    """Answers to open interrupts."""

    answers: Annotated[list[InterruptAnswer], Meta(min_length=1, max_length=BULK_MAX)]
    """Answers, at most 1,000"""


class StateAtCheckpoint(Struct):
    """Which state of a thread to return."""

    checkpoint: Checkpoint
    """Checkpoint of the state; with `checkpoint_ns` the state of a subgraph"""
    subgraphs: bool | None = None
    """Include the states of subgraphs in `tasks`"""
    select: list[str] | None = None
    """Members to return, and `values.<key>` for one key of the values; absent returns all"""


class StateUpdate(Struct):
    """An update of a thread's state, as if a node had written it."""

    values: Object | list[Any] | None = None
    """Values to write; the graph's reducers apply. Null writes a checkpoint without changes"""
    as_node: str | None = None
    """Node that the update counts as; absent means the node that wrote last. `__end__` finishes the run"""
    checkpoint: Checkpoint | None = None
    """Checkpoint to update; an older one starts a branch"""
    checkpoint_id: CheckpointName | None = None
    """Id of the checkpoint to update (deprecated, see `checkpoint`)"""


class HistoryBefore(Struct):
    """Where to begin, given as a config or as a checkpoint."""

    configurable: Object = {}
    """Object with `checkpoint_id`"""
    checkpoint_id: CheckpointName | None = None
    """Id of a checkpoint"""


class HistorySearch(Struct):
    """Which states of a thread to return, newest first."""

    limit: Limit = 1
    """Maximum number of states"""
    before: HistoryBefore | None = None
    """Checkpoint that the states must be older than"""
    metadata: Object | None = None
    """Metadata that the checkpoints must contain"""
    checkpoint: Checkpoint | None = None
    """`checkpoint_ns` of the subgraph whose history to return"""
    select: list[str] | None = None
    """Members of each state, and `values.<key>` for one key of the values; absent returns all"""


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


class RunsCount(Struct):
    """Which runs to count. All conditions must hold."""

    status: RunStatus | Annotated[list[RunStatus], Meta(max_length=10)] | None = None
    """Status of the runs, one or several"""
    thread_id: str | None = None
    """Id of the thread of the runs"""
    assistant_id: str | None = None
    """Id of the assistant of the runs"""
    graph_id: str | None = None
    """Graph that the runs execute"""
    cron_id: str | None = None
    """Id of the cron that created the runs"""
    metadata: Object = {}
    """Metadata that the runs must contain; nested objects are compared member by member"""
    created_after: Moment | None = None
    """Time that the runs were created at or after"""
    created_before: Moment | None = None
    """Time that the runs were created before"""


class RunsSearch(RunsCount):
    """Which runs to return, and how. All conditions must hold."""

    limit: Limit = 10
    """Maximum number of entries"""
    offset: Offset = 0
    """Number of entries to skip"""
    after: str | None = None
    """Response header `x-pagination-after` of the page before: the page begins there. Pages stay as fast as the first one"""
    sort_order: SortOrder = "desc"
    """`desc` returns the newest first"""
    select: Annotated[list[RunColumn], Meta(max_length=ENTRIES_MAX)] = []
    """Members to return; an empty list returns all"""


class RunsRetry(Struct):
    """Which runs to run again."""

    run_ids: Annotated[list[str], Meta(min_length=1, max_length=BULK_MAX)]
    """Ids of runs that have failed, at most 1,000"""


class CancelMany(Struct):
    """Which runs to cancel: either by `status`, or by `thread_id` and `run_ids`."""

    status: Literal["pending", "running", "all"] | UnsetType = UNSET
    """Cancel all runs with this status"""
    thread_id: str | UnsetType = UNSET
    """Id of the runs' thread"""
    run_ids: Ids | UnsetType = UNSET
    """Ids of the runs"""


# --- store -----------------------------------------------------------------------------------


class StorePut(Struct):
    """An item to put into the store."""

    namespace: list[str]
    """Labels of the namespace; none is empty or has a period"""
    key: str
    """Key of the item within its namespace"""
    value: Object
    """Value of the item"""
    index: list[str] | Any = None
    """Paths of the texts to embed for search; null takes those of `store.index`, false embeds nothing"""
    ttl: Annotated[float, Meta(ge=-TTL_MAX_MINUTES, le=TTL_MAX_MINUTES)] | None = None
    """Time to live in minutes; null means no expiry. The next sweep removes an item whose time is negative"""


class StoreDelete(Struct):
    """An item to delete."""

    key: str
    """Key of the item"""
    namespace: list[str] = []
    """Labels of the namespace"""


class StoreSearch(Struct):
    """Which items to return, and how."""

    namespace_prefix: list[str] | None = None
    """First labels of the items' namespaces; absent or empty means all"""
    filter: Object | None = None
    """Value by key that the items must have, or operators: `$eq`, `$ne`, `$gt`, `$gte`, `$lt`, `$lte`"""
    limit: int = 10
    """Maximum number of entries"""
    offset: int = 0
    """Number of entries to skip"""
    query: str | None = None
    """Text to rank the items by; needs `store.index`"""
    refresh_ttl: bool | None = None
    """Restart the time to live of the items that are returned; null takes the setting of `store.ttl`"""


class StoreNamespaces(Struct):
    """Which namespaces to return."""

    prefix: list[str] | None = None
    """First labels; `*` stands for any label"""
    suffix: list[str] | None = None
    """Last labels; `*` stands for any label"""
    max_depth: int | UnsetType = UNSET
    """Number of labels to cut namespaces to"""
    limit: int = 100
    """Maximum number of entries"""
    offset: int = 0
    """Number of entries to skip"""


class ProtocolCommand(Struct):
    """A command of the streaming protocol (wire contract §9.1). The server reads it leniently."""

    id: int
    """Number that the response repeats"""
    method: str
    """Name of the command, such as `run.start` or `input.respond`"""
    params: Object = {}
    """Parameters of the command"""


class EventStream(Struct):
    """What to receive of a thread by the streaming protocol (wire contract §9.2)."""

    channels: Annotated[list[str], Meta(min_length=1)]
    """Channels: `values`, `updates`, `messages`, `tools`, `custom`, `lifecycle`, `input`, `tasks`, `checkpoints`, or `custom:<name>`"""
    namespaces: list[list[str]] | UnsetType = UNSET
    """Prefixes of namespaces; `child` matches `child:<task id>`. Absent means all"""
    depth: int | UnsetType = UNSET
    """Number of labels below a prefix that still match"""
    since: int | UnsetType = UNSET
    """Number of the event to continue after; absent replays from the start"""


class RetryKey(Struct, forbid_unknown_fields=True):
    """A parked key whose records are to be handled again."""

    key: Annotated[str, Meta(min_length=1)]
    """Key of the records, such as the id of a thread"""


class DropRecord(Struct, forbid_unknown_fields=True):
    """The record that is to be discarded."""

    key: Annotated[str, Meta(min_length=1)]
    """Key of the record"""
    origin: Annotated[str, Meta(min_length=1)]
    """The record as the list shows it: `<topic>-<partition>-<offset>`"""


class Replay(Struct):
    """How to replay a run."""

    checkpoint_id: str | None = None
    """Checkpoint of the run to go on from instead of its input"""
    strict: bool = False
    """Compare generated ids of messages and interrupts too"""
    timeout: Annotated[float, Meta(gt=0, le=3600)] = 300.0
    """Seconds for the graph"""


class JsonRpc(Struct):
    """A JSON-RPC message of MCP or A2A. The server reads it leniently."""

    jsonrpc: Literal["2.0"]
    """Version of JSON-RPC"""
    method: str
    """Name of the method"""
    id: int | str | None = None
    """Id that the response repeats; a message without one gets no response"""
    params: Object = {}
    """Parameters of the method"""


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
INTERRUPTS_RESPOND = msgspec.json.Decoder(InterruptsRespond)
INTERRUPT_COUNT = msgspec.json.Decoder(InterruptCount)
INTERRUPT_SEARCH = msgspec.json.Decoder(InterruptSearch)
THREAD_FORK = msgspec.json.Decoder(ThreadFork)
THREAD_PRUNE = msgspec.json.Decoder(ThreadPrune)
STATE_AT_CHECKPOINT = msgspec.json.Decoder(StateAtCheckpoint)
STATE_UPDATE = msgspec.json.Decoder(StateUpdate)
HISTORY_SEARCH = msgspec.json.Decoder(HistorySearch)
RUN_CREATE = msgspec.json.Decoder(RunCreate)
RUN_BATCH = msgspec.json.Decoder(Annotated[list[RunCreate], Meta(min_length=1, max_length=ENTRIES_MAX)])
RUNS_COUNT = msgspec.json.Decoder(RunsCount)
RUNS_SEARCH = msgspec.json.Decoder(RunsSearch)
RUNS_RETRY = msgspec.json.Decoder(RunsRetry)
CANCEL_MANY = msgspec.json.Decoder(CancelMany)
STORE_PUT = msgspec.json.Decoder(StorePut)
STORE_DELETE = msgspec.json.Decoder(StoreDelete)
STORE_SEARCH = msgspec.json.Decoder(StoreSearch)
STORE_NAMESPACES = msgspec.json.Decoder(StoreNamespaces)
