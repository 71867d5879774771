"""What endpoints answer, as types: for the OpenAPI document alone. The answers themselves are put together in `presenters` and by workers.

No member is required: wherever ``select`` is taken an object may be any part of itself.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from langlog_schemas.commands import MultitaskStrategy
from msgspec import UNSET, Meta, Struct, UnsetType

from ..http.requests import Object, ThreadStatus

RunStatus = Literal["pending", "running", "error", "success", "timeout", "interrupted"]
Uuid = Annotated[UUID, Meta(description="Lower case, with dashes")]


class ErrorAnswer(Struct):
    """Why a request failed."""

    detail: str
    """What failed, on what value, and what to do"""


class Assistant(Struct):
    """A graph with a configuration of its own. Present members depend on `select`."""

    assistant_id: Uuid | UnsetType = UNSET
    """Id of the assistant"""
    graph_id: str | UnsetType = UNSET
    """Name of the graph in `langgraph.json`"""
    config: Object | UnsetType = UNSET
    """Configuration of the assistant's runs"""
    context: Object | UnsetType = UNSET
    """Static context of the assistant's runs"""
    metadata: Object | UnsetType = UNSET
    """Metadata, any JSON object"""
    name: str | UnsetType = UNSET
    """Name, not necessarily unique"""
    description: str | UnsetType | None = UNSET
    """Description for people and for MCP clients"""
    version: int | UnsetType = UNSET
    """Number of the version, from 1"""
    created_at: datetime | UnsetType = UNSET
    """Time of creation"""
    updated_at: datetime | UnsetType = UNSET
    """Time of the last change"""


class DrawnNode(Struct):
    """A node of a graph."""

    id: str
    """Name of the node, with those of its subgraphs before it"""
    type: str | UnsetType = UNSET
    """Kind of the node"""
    data: Any = UNSET
    """Name or definition of what the node runs"""


class DrawnEdge(Struct):
    """An edge of a graph."""

    source: str
    """Id of the node that it leaves"""
    target: str
    """Id of the node that it enters"""
    conditional: bool | UnsetType = UNSET
    """Whether a condition chooses this edge"""
    data: Any = UNSET
    """Label of a conditional edge"""


class Drawing(Struct):
    """Nodes and edges of a graph."""

    nodes: list[DrawnNode]
    """All nodes"""
    edges: list[DrawnEdge]
    """All edges"""


class GraphSchemas(Struct):
    """JSON Schemas of a graph. A schema that cannot be derived is null."""

    graph_id: str | UnsetType = UNSET
    """Name of the graph"""
    input_schema: Object | UnsetType | None = UNSET
    """Schema of the input"""
    output_schema: Object | UnsetType | None = UNSET
    """Schema of the output"""
    state_schema: Object | UnsetType | None = UNSET
    """Schema of the state"""
    config_schema: Object | UnsetType | None = UNSET
    """Schema of `config.configurable`"""
    context_schema: Object | UnsetType | None = UNSET
    """Schema of the static context"""


class Thread(Struct):
    """A conversation: the state that runs of a graph build on. Present members depend on `select`."""

    thread_id: Uuid | UnsetType = UNSET
    """Id of the thread"""
    created_at: datetime | UnsetType = UNSET
    """Time of creation"""
    updated_at: datetime | UnsetType = UNSET
    """Time of the last change"""
    state_updated_at: datetime | UnsetType = UNSET
    """Time of the last change of the state"""
    metadata: Object | UnsetType = UNSET
    """Metadata, any JSON object; `graph_id` and `assistant_id` of the last run are added"""
    status: ThreadStatus | UnsetType = UNSET
    """`idle`, `busy` while a run is pending or running, `interrupted` if a node waits for input, `error` if the last run failed"""
    config: Object | UnsetType = UNSET
    """Configuration of the last run"""
    context: Object | UnsetType = UNSET
    """Static context of the last run"""
    values: Any = UNSET
    """Values of the latest state; null before the first run"""
    interrupts: dict[str, list[Any]] | UnsetType = UNSET
    """Id of a task -> its open interrupts; absent before the first run"""
    error: Object | UnsetType | None = UNSET
    """Error of the last run, if it failed; absent before the first run"""
    ttl: Object | UnsetType | None = UNSET
    """Time to live; present with `include=ttl`"""
    extracted: Object | UnsetType = UNSET
    """Values of the paths in `extract`"""


class Pruned(Struct):
    """Outcome of pruning."""

    pruned_count: int
    """Number of threads that were pruned"""


class Storage(Struct):
    """Bytes that a thread uses in the database."""

    thread_id: Uuid
    """Id of the thread"""
    total_bytes: int
    """Bytes of everything together"""
    checkpoints: Object
    """Number and bytes of checkpoints"""
    channel_values: Object
    """Number and bytes of channel values, in total and by channel"""
    pending_writes: Object
    """Number and bytes of writes of tasks"""


class Misfit(Struct):
    """Why a field does not fit the graph's schema."""

    error: str
    """Name of the exception's class"""
    message: str
    """Text of the exception"""


class State(Struct):
    """State of a thread at a checkpoint. Present members depend on `select`."""

    values: Any = UNSET
    """Values of the state"""
    next: list[str] | UnsetType = UNSET
    """Nodes that run next; empty when the graph has finished"""
    tasks: list[Object] | UnsetType = UNSET
    """Tasks of the next step, with their interrupts, errors and, if requested, the states of subgraphs"""
    metadata: Object | UnsetType | None = UNSET
    """Metadata of the checkpoint: source, step, run and thread"""
    created_at: str | UnsetType | None = UNSET
    """Time of the checkpoint"""
    checkpoint: Object | UnsetType | None = UNSET
    """Address of the checkpoint"""
    parent_checkpoint: Object | UnsetType | None = UNSET
    """Address of the checkpoint before"""
    interrupts: list[Object] | UnsetType = UNSET
    """Open interrupts of all tasks"""
    checkpoint_id: str | UnsetType | None = UNSET
    """Id of the checkpoint (deprecated, see `checkpoint`)"""
    parent_checkpoint_id: str | UnsetType | None = UNSET
    """Id of the checkpoint before (deprecated, see `parent_checkpoint`)"""
    as_of: Object | UnsetType = UNSET
    """With the query parameter `as_of`: status, metadata and runs of the thread at that time"""
    errors: dict[str, Misfit] | UnsetType = UNSET
    """Field -> why it does not fit the graph's schema; present only if the graph refuses the state"""


class StateUpdated(Struct):
    """Address of the checkpoint that an update has written."""

    checkpoint: Object
    """Address of the checkpoint"""
    configurable: Object
    """The same address, for `config.configurable`"""
    checkpoint_id: str | None
    """Id of the checkpoint"""


class ProtocolAnswer(Struct):
    """Response to a command of the streaming protocol."""

    type: Literal["success", "error"]
    """`success` or `error`"""
    id: int | None
    """Id of the command"""
    result: Object | UnsetType = UNSET
    """Result of a successful command"""
    meta: Object | UnsetType = UNSET
    """`applied_through_seq`: number of the last event that the command takes into account"""
    error: str | UnsetType = UNSET
    """Code of the error"""
    message: str | UnsetType = UNSET
    """Text of the error"""


class Run(Struct):
    """One execution of a graph on a thread. Present members depend on `select`."""

    run_id: Uuid | UnsetType = UNSET
    """Id of the run"""
    thread_id: Uuid | UnsetType = UNSET
    """Id of the thread"""
    assistant_id: Uuid | UnsetType = UNSET
    """Id of the assistant"""
    created_at: datetime | UnsetType = UNSET
    """Time of creation"""
    updated_at: datetime | UnsetType = UNSET
    """Time of the last change"""
    status: RunStatus | UnsetType = UNSET
    """`success` also if the graph stopped at an interrupt; `interrupted` if the run was cancelled"""
    metadata: Object | UnsetType = UNSET
    """Metadata of assistant, thread and run, merged"""
    kwargs: Object | UnsetType = UNSET
    """The request as the server understood it: input, command, config, context and options"""
    multitask_strategy: MultitaskStrategy | UnsetType = UNSET
    """What happened if the thread was busy"""
    langsmith_session_name: str | UnsetType | None = UNSET
    """Project of the run's trace in LangSmith"""
    cancel_reason: str | UnsetType | None = UNSET
    """Reason of the cancellation, if one was given"""


class WebhookAttempt(Struct):
    """One attempt to deliver a webhook."""

    attempt: int
    """Number of the attempt, from 1"""
    attempted_at: datetime
    """Time of the attempt"""
    duration_ms: int
    """Milliseconds until the response or the failure"""
    status_code: int | None
    """Status of the response; null if there was none"""
    error: str | None
    """Why the attempt failed; null if it succeeded"""


class WebhookDelivery(Struct):
    """The delivery of a run's webhook."""

    webhook_id: str
    """Id that the receiver gets as `webhook-id`, the same for every attempt"""
    run_id: Uuid
    """Id of the run"""
    thread_id: Uuid
    """Id of the run's thread"""
    url: str
    """URL of the receiver"""
    state: Literal["pending", "delivered", "failed"]
    """`failed` after the last attempt"""
    run_ended_at: datetime
    """Time when the run ended"""
    attempts: list[WebhookAttempt]
    """Attempts up to now"""
    next_attempt_at: datetime | None
    """Time of the next attempt; null if there is none"""


class JsonRpcAnswer(Struct):
    """A JSON-RPC response: either `result` or `error`."""

    jsonrpc: Literal["2.0"]
    """Version of JSON-RPC"""
    id: int | str | None
    """Id of the request"""
    result: Any = UNSET
    """Result of the method"""
    error: Object | UnsetType = UNSET
    """`code` and `message`"""


class AgentCard(Struct):
    """The A2A card of an assistant: who it is and how to call it."""

    name: str
    """Name of the assistant"""
    description: str
    """Description of the assistant"""
    url: str
    """Address of its A2A endpoint"""
    capabilities: Object
    """What the endpoint supports"""
    skills: list[Object]
    """What the assistant can do, with the fields of its input"""
    version: str
    """Version of the server"""
    supportedInterfaces: list[Object]
    """Protocol versions and addresses"""
    defaultInputModes: list[str]
    """Media types of input"""
    defaultOutputModes: list[str]
    """Media types of output"""


class Cron(Struct):
    """A schedule that creates runs. Present members depend on `select`."""

    cron_id: Uuid | UnsetType = UNSET
    """Id of the cron"""
    assistant_id: Uuid | UnsetType = UNSET
    """Id of the assistant"""
    thread_id: Uuid | UnsetType | None = UNSET
    """Id of the thread that the runs are created on; null means a new thread for each run"""
    user_id: str | UnsetType | None = UNSET
    """Identity of the cron's owner"""
    end_time: str | UnsetType | None = UNSET
    """Time after which the cron does not fire"""
    schedule: str | UnsetType = UNSET
    """Schedule, in cron syntax"""
    timezone: str | UnsetType | None = UNSET
    """IANA name of the time zone; null means UTC"""
    payload: Object | UnsetType = UNSET
    """Body of the runs"""
    next_run_date: datetime | UnsetType | None = UNSET
    """Time of the next run, in UTC; null if there is none"""
    metadata: Object | UnsetType = UNSET
    """Metadata, any JSON object"""
    on_run_completed: Literal["delete", "keep"] | UnsetType | None = UNSET
    """What happens to the thread of a run when it has ended; null for a cron on a thread"""
    enabled: bool | UnsetType = UNSET
    """Whether the cron fires"""
    created_at: datetime | UnsetType = UNSET
    """Time of creation"""
    updated_at: datetime | UnsetType = UNSET
    """Time of the last change"""
    now: datetime | UnsetType = UNSET
    """Time of the response"""


class Item(Struct):
    """An item of the store."""

    namespace: list[str]
    """Labels of the namespace"""
    key: str
    """Key of the item within its namespace"""
    value: Object
    """Value of the item"""
    created_at: datetime
    """Time of creation"""
    updated_at: datetime
    """Time of the last change"""
    score: float | UnsetType | None = UNSET
    """Similarity to the query; null without one"""


class Items(Struct):
    """Items of the store."""

    items: list[Item]
    """Items, best or newest first"""


class Namespaces(Struct):
    """Namespaces of the store."""

    namespaces: list[list[str]]
    """Labels of each namespace, sorted"""


class Okay(Struct):
    """Health of the server."""

    ok: bool
    """Whether the server serves requests"""
    services: Object = msgspec.field(default_factory=dict)
    """With `check_db=1`: state of Postgres, Redis, log and read model"""


class Info(Struct):
    """Version and features of the server."""

    version: str
    """Version of langlog"""
    langgraph_py_version: str
    """Version of langgraph"""
    flags: dict[str, bool]
    """Feature -> whether the server has it"""
    host: Object
    """Kind of deployment"""


class CommandOrigin(Struct):
    """The command that an event results from, and the event's place among those of that command."""

    partition: int
    """Partition of the command"""
    offset: int
    """Offset of the command"""
    index: int
    """Place of the event, from 0"""
    count: int
    """Number of events of the command"""
    id: str | UnsetType = UNSET
    """Id of the command"""
    type: str | UnsetType = UNSET
    """Type of the command"""


class LogPosition(Struct):
    """Place of a record in the log."""

    topic: str
    """Topic"""
    partition: int
    """Number of the partition"""
    offset: int
    """Offset within the partition"""


class LoggedEvent(Struct):
    """One event of the log."""

    id: str | None
    """Id of the event; null if it was cut from the log"""
    type: str
    """Type with version, such as `langlog.run.created.v1`"""
    time: datetime | None
    """Time of the event; null if it was cut from the log"""
    subject: str
    """Id of the aggregate"""
    run_id: str | None
    """Id of the run, if the event is about one"""
    source: str | None
    """Service that appended the event"""
    actor: str | None
    """Authenticated user whose request led to the event"""
    cause: CommandOrigin | None
    """Command that the event results from; null for records of workers"""
    position: LogPosition
    """Place in the log"""
    data: Any
    """Body of the event; checkpoints are summaries"""


class EventPage(Struct):
    """A page of events of the log."""

    events: list[LoggedEvent]
    """Events, oldest first"""
    next: str | None
    """Value of `after` for the next page; null on the last page"""
