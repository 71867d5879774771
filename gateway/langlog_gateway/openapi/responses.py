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
    detail: str


class Assistant(Struct):
    assistant_id: Uuid | UnsetType = UNSET
    graph_id: str | UnsetType = UNSET
    config: Object | UnsetType = UNSET
    context: Object | UnsetType = UNSET
    metadata: Object | UnsetType = UNSET
    name: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    version: int | UnsetType = UNSET
    created_at: datetime | UnsetType = UNSET
    updated_at: datetime | UnsetType = UNSET


class DrawnNode(Struct):
    id: str
    type: str | UnsetType = UNSET
    data: Any = UNSET


class DrawnEdge(Struct):
    source: str
    target: str
    conditional: bool | UnsetType = UNSET
    data: Any = UNSET


class Drawing(Struct):
    nodes: list[DrawnNode]
    edges: list[DrawnEdge]


class GraphSchemas(Struct):
    graph_id: str | UnsetType = UNSET
    input_schema: Object | UnsetType | None = UNSET
    output_schema: Object | UnsetType | None = UNSET
    state_schema: Object | UnsetType | None = UNSET
    config_schema: Object | UnsetType | None = UNSET
    context_schema: Object | UnsetType | None = UNSET


class Thread(Struct):
    thread_id: Uuid | UnsetType = UNSET
    created_at: datetime | UnsetType = UNSET
    updated_at: datetime | UnsetType = UNSET
    state_updated_at: datetime | UnsetType = UNSET
    metadata: Object | UnsetType = UNSET
    status: ThreadStatus | UnsetType = UNSET
    config: Object | UnsetType = UNSET
    context: Object | UnsetType = UNSET
    values: Any = UNSET
    interrupts: dict[str, list[Any]] | UnsetType = UNSET
    error: Object | UnsetType | None = UNSET
    ttl: Object | UnsetType | None = UNSET
    extracted: Object | UnsetType = UNSET


class Pruned(Struct):
    pruned_count: int


class Storage(Struct):
    thread_id: Uuid
    total_bytes: int
    checkpoints: Object
    channel_values: Object
    pending_writes: Object


class Misfit(Struct):
    error: str
    message: str


class State(Struct):
    values: Any = UNSET
    next: list[str] | UnsetType = UNSET
    tasks: list[Object] | UnsetType = UNSET
    metadata: Object | UnsetType | None = UNSET
    created_at: str | UnsetType | None = UNSET
    checkpoint: Object | UnsetType | None = UNSET
    parent_checkpoint: Object | UnsetType | None = UNSET
    interrupts: list[Object] | UnsetType = UNSET
    checkpoint_id: str | UnsetType | None = UNSET
    parent_checkpoint_id: str | UnsetType | None = UNSET
    as_of: Object | UnsetType = UNSET
    errors: dict[str, Misfit] | UnsetType = UNSET
    """Field -> what does not fit the graph's schema; there only when the graph itself refuses the state."""


class StateUpdated(Struct):
    checkpoint: Object
    configurable: Object
    checkpoint_id: str | None


class ProtocolAnswer(Struct):
    type: Literal["success", "error"]
    id: int | None
    result: Object | UnsetType = UNSET
    meta: Object | UnsetType = UNSET
    error: str | UnsetType = UNSET
    message: str | UnsetType = UNSET


class Run(Struct):
    run_id: Uuid | UnsetType = UNSET
    thread_id: Uuid | UnsetType = UNSET
    assistant_id: Uuid | UnsetType = UNSET
    created_at: datetime | UnsetType = UNSET
    updated_at: datetime | UnsetType = UNSET
    status: RunStatus | UnsetType = UNSET
    metadata: Object | UnsetType = UNSET
    kwargs: Object | UnsetType = UNSET
    multitask_strategy: MultitaskStrategy | UnsetType = UNSET
    langsmith_session_name: str | UnsetType | None = UNSET
    cancel_reason: str | UnsetType | None = UNSET


class Cron(Struct):
    cron_id: Uuid | UnsetType = UNSET
    assistant_id: Uuid | UnsetType = UNSET
    thread_id: Uuid | UnsetType | None = UNSET
    user_id: str | UnsetType | None = UNSET
    end_time: str | UnsetType | None = UNSET
    schedule: str | UnsetType = UNSET
    timezone: str | UnsetType | None = UNSET
    payload: Object | UnsetType = UNSET
    next_run_date: datetime | UnsetType | None = UNSET
    metadata: Object | UnsetType = UNSET
    on_run_completed: Literal["delete", "keep"] | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    created_at: datetime | UnsetType = UNSET
    updated_at: datetime | UnsetType = UNSET
    now: datetime | UnsetType = UNSET


class Item(Struct):
    namespace: list[str]
    key: str
    value: Object
    created_at: datetime
    updated_at: datetime
    score: float | UnsetType | None = UNSET


class Items(Struct):
    items: list[Item]


class Namespaces(Struct):
    namespaces: list[list[str]]


class Okay(Struct):
    ok: bool
    services: Object = msgspec.field(default_factory=dict)


class Info(Struct):
    version: str
    langgraph_py_version: str
    flags: dict[str, bool]
    host: Object


class CommandOrigin(Struct):
    """The command that an event comes from, and the event's place among those it led to."""

    partition: int
    offset: int
    index: int
    count: int
    id: str | UnsetType = UNSET
    type: str | UnsetType = UNSET


class LogPosition(Struct):
    topic: str
    partition: int
    offset: int


class LoggedEvent(Struct):
    id: str | None
    type: str
    time: datetime | None
    subject: str
    run_id: str | None
    source: str | None
    actor: str | None
    cause: CommandOrigin | None
    position: LogPosition
    data: Any


class EventPage(Struct):
    events: list[LoggedEvent]
    next: str | None
