"""The request of a run, and the merge of an assistant's settings with a run's (wire contract §2 and §5.1). Pure.

Gateways create runs from requests, schedulers from crons; both use this module. Keys of the configurable merge, the run's override;
``tags`` and ``recursion_limit`` of the run replace the assistant's.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from ..commands import MultitaskStrategy
from ..json_types import Object

PUBLIC_MEMBERS = frozenset({"identity", "display_name", "is_authenticated", "permissions"})
"""Members of an authenticated user that readers of a run, webhooks and the log may hold. What ``authenticate`` returns beside them
(tokens for other services) is sealed, except for members that the project names in ``auth.public_members``."""
NULL = Raw(b"null")
EVENT_STREAMING = "__event_streaming_v2"
"""Configurable of runs that were started by the streaming protocol (wire contract §9)."""

RESERVED = ("__pregel_", "__langlog")
"""Prefixes of configurable keys in which langgraph and langlog pass objects of their own. Clients may not set them."""
OF_CALLERS: dict[str, type] = {"__pregel_resuming": bool, "__pregel_resume_map": dict}
"""Reserved keys that langgraph's `RemoteGraph` sends, with their types: whether its node resumes, and answers by interrupt id.
Clients may use ``command.resume`` to the same effect."""


def null() -> Raw:
    """Return JSON null. As a default factory it lets a schema be generated, which the value itself does not."""
    return NULL


StreamMode = Literal[
    "values", "updates", "messages", "messages-tuple", "tasks", "checkpoints", "events", "debug", "custom", "tools"
]


NAMES_MAX = 1_000
"""Maximum length of a list of names (nodes, stream modes, feedback keys) in the request of a run."""
CheckpointName = Annotated[str, Meta(max_length=1_000)]
"""Id or namespace of a checkpoint. Its maximum length is in characters."""
Names = Annotated[list[str], Meta(max_length=NAMES_MAX)]


class Checkpoint(Struct):
    """Address of a checkpoint of a thread."""

    checkpoint_id: CheckpointName | None = None
    """Id of the checkpoint; absent means the latest"""
    checkpoint_ns: CheckpointName | None = None
    """Namespace of the subgraph; empty means the graph itself"""
    checkpoint_map: dict[str, str] | None = None
    """Namespace -> id of the checkpoint of each subgraph"""


class LangSmithTracer(Struct, omit_defaults=True):
    """Project and example in LangSmith for the trace of a run."""

    project_name: Annotated[str, Meta(min_length=1, max_length=1_000)] | None = None
    """Name of the project"""
    example_id: UUID | None = None
    """Id of an example of a dataset: the run counts as an experiment with it"""


class RunCreate(Struct):
    """A run on a thread, or without one (wire contract §5.1)."""

    assistant_id: str
    """Id of the assistant, or name of the graph"""
    input: Raw = msgspec.field(default_factory=null)
    """Input of the graph. Null continues from the thread's state"""
    command: dict[str, Raw] | None = None
    """`update`, `resume` and `goto`; takes precedence over `input`. `resume` answers the open interrupt, or several as a
    map from interrupt id to response"""
    metadata: Object = {}
    """Metadata, any JSON object"""
    config: Object = {}
    """Configuration: `tags`, `recursion_limit`, `configurable`. Merged over the assistant's, key by key"""
    context: Object = {}
    """Static context of the run. Set either this or `config.configurable`: the server copies one to the other"""
    webhook: Annotated[str, Meta(min_length=1, max_length=65536)] | None = None
    """URL that the server sends the run to when it has ended"""
    interrupt_before: Names | Literal["*"] | None = None
    """Nodes to stop before; `*` means every node"""
    interrupt_after: Names | Literal["*"] | None = None
    """Nodes to stop after; `*` means every node"""
    stream_mode: Annotated[list[StreamMode], Meta(max_length=NAMES_MAX)] | StreamMode = []
    """Kinds of events to stream; an empty list means `values`"""
    stream_subgraphs: bool = False
    """Stream events of subgraphs too"""
    stream_resumable: bool = False
    """Record the events, so that streams of this run can be resumed and replayed"""
    feedback_keys: Names | None = None
    """Keys for feedback URLs of LangSmith"""
    multitask_strategy: MultitaskStrategy = "enqueue"
    """Behavior when the thread is busy: `enqueue` waits, `reject` is 409, `interrupt` stops the running run and keeps its
    checkpoints, `rollback` stops and deletes it"""
    if_not_exists: Literal["reject", "create"] = "reject"
    """Behavior when the thread does not exist: `reject` is 404, `create` creates it"""
    on_disconnect: Any = "continue"
    """Behavior when the client of `/wait` or `/stream` disconnects: `continue` or `cancel` the run"""
    on_completion: Any = "delete"
    """Behavior when a run without a thread has ended: `delete` or `keep` the thread that was created for it"""
    after_seconds: float = 0
    """Seconds to wait before the run starts"""
    checkpoint: Checkpoint | None = None
    """Checkpoint to start from"""
    checkpoint_id: CheckpointName | None = None
    """Id of the checkpoint to start from"""
    durability: Literal["sync", "async", "exit"] | UnsetType = UNSET
    """Time at which checkpoints are written: `sync` before the next step starts, `async` while it runs, `exit` only the
    last one (default `async`)"""
    checkpoint_during: bool | UnsetType = UNSET
    """Deprecated: true is `durability: async`, false is `exit`"""
    strict_resume: bool | None = None
    """Fail the run, and leave the thread as it is, if an interrupt that `command.resume` answers is no longer open"""
    langsmith_tracer: LangSmithTracer | None = None
    """Project and example in LangSmith for the trace of the run"""


class Assistant(NamedTuple):
    """The parts of an assistant that its runs use."""

    assistant_id: str
    graph_id: str
    config: Object
    context: Object
    metadata: Object


class Server(NamedTuple):
    """Members that the server adds to a run's configurable."""

    run_id: str
    thread_id: str
    request_id: str | None
    started_ms: int
    user: Any = None
    """Public members of the authenticated user (`PUBLIC_MEMBERS`)."""
    user_id: str = ""
    permissions: list[str] = []
    headers: dict[str, Any] = {}
    """Headers of the request that the project copies into the configurable and exposes to readers, and the caller's trace."""
    sealed: bool = False
    """The run needs credentials of its caller that are stored beside the log (`langlog_backbone.credentials.run_credentials`)."""
    traceparent: str | None = None
    """The trace that the run belongs to. Kept in its kwargs, because a run may begin long after the request."""


class Layered(NamedTuple):
    kwargs: Raw
    """JSON (wire contract §5), without ``config.metadata``."""
    thread_config: Object
    """Config for the thread: the run's, without the server's additions."""
    metadata: Object
    """Metadata of the run, including ``config.metadata``."""


def without_reserved(configurable: Object) -> Object:
    """Return the configurable without the keys that clients may not set. Other keys that begin with underscores stay."""
    return {
        name: value
        for name, value in configurable.items()
        if not name.startswith(RESERVED) or (name in OF_CALLERS and isinstance(value, OF_CALLERS[name]))
    }


def layer(
    body: RunCreate, config: Object, context: Object, assistant: Assistant, server: Server, *, temporary: bool
) -> Layered:
    """Return a run's kwargs and the config that its thread shows. ``config`` and ``context``: both spellings filled in."""
    own = without_reserved({**(assistant.config.get("configurable") or {}), **(config.get("configurable") or {})})
    checkpoint: Object = {}
    if body.checkpoint is not None:
        at = body.checkpoint
        if at.checkpoint_id is not None:
            checkpoint["checkpoint_id"] = at.checkpoint_id
        if at.checkpoint_ns is not None:
            checkpoint["checkpoint_ns"] = at.checkpoint_ns
        if at.checkpoint_map is not None:
            checkpoint["checkpoint_map"] = at.checkpoint_map
    if body.checkpoint_id is not None:
        checkpoint["checkpoint_id"] = body.checkpoint_id
    rest = {k: v for k, v in config.items() if k not in ("configurable", "metadata")}
    base = {k: v for k, v in assistant.config.items() if k not in ("configurable", "metadata")}
    rest = {**base, **rest}
    full: Object = {
        **rest,
        "configurable": {
            **own,
            **server.headers,
            **checkpoint,
            "langgraph_auth_user": server.user,
            "langgraph_auth_user_id": server.user_id,
            "langgraph_auth_permissions": server.permissions,
            "langgraph_request_id": server.request_id,
            "__request_start_time_ms__": server.started_ms,
            "__after_seconds__": _number(body.after_seconds),
            "run_id": server.run_id,
            "thread_id": server.thread_id,
            "graph_id": assistant.graph_id,
            "assistant_id": assistant.assistant_id,
            # without an authenticated user the caller's own stays: memory of many projects is kept under it
            "user_id": server.user_id or own.get("user_id") or "",
        },
    }
    durability, during = _durability(body)
    modes = body.stream_mode
    kwargs: Object = {
        "input": body.input,
        "command": body.command,
        "config": full,
        "context": {**assistant.context, **context},
        "stream_mode": [modes] if isinstance(modes, str) else modes or ["values"],
        "interrupt_before": body.interrupt_before,
        "interrupt_after": body.interrupt_after,
        "webhook": body.webhook,
        "feedback_keys": body.feedback_keys,
        "temporary": temporary,
        "subgraphs": body.stream_subgraphs,
        "resumable": body.stream_resumable,
        "checkpoint_during": during,
        "durability": durability,
    }
    if body.strict_resume:
        kwargs["strict_resume"] = True
    if server.sealed:
        kwargs["sealed"] = True
    if body.langsmith_tracer is not None:
        kwargs["langsmith_tracer"] = body.langsmith_tracer
    if server.traceparent is not None:
        kwargs["traceparent"] = server.traceparent
    return Layered(
        Raw(msgspec.json.encode(kwargs)),
        {**rest, "configurable": own},
        {**(config.get("metadata") or {}), **body.metadata},
    )


def _durability(body: RunCreate) -> tuple[str, bool]:
    """Return the effective durability, and ``checkpoint_during`` as requested. ``durability`` overrides the deprecated
    ``checkpoint_during``."""
    if body.durability is not UNSET:
        during = body.durability != "exit" if body.checkpoint_during is UNSET else body.checkpoint_during
        return body.durability, during
    if body.checkpoint_during is not UNSET:
        return ("async" if body.checkpoint_during else "exit"), body.checkpoint_during
    return "async", True


def _number(value: float) -> float | int:
    return int(value) if value == int(value) else value
