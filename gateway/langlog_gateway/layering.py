"""How an assistant's settings and a run's become one (API.md 2 and 5.1). Pure.

``config.configurable`` and ``context`` are two spellings of one thing: given one, the other is filled. Keys merge, the run
winning per key; ``tags`` and ``recursion_limit`` of the run replace the assistant's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Raw

from .bodies import RunCreate
from .errors import ApiError, unprocessable
from .validation import violation

BOTH_GIVEN = (
    "Cannot specify both configurable and context. Prefer setting context alone. Context was introduced in "
    "LangGraph 0.6.0 and is the long term planned replacement for configurable."
)

Object = dict[str, Any]


class Assistant(NamedTuple):
    """What a run needs to know of its assistant."""

    assistant_id: str
    graph_id: str
    config: Object
    context: Object
    metadata: Object


class Server(NamedTuple):
    """What the server adds to a run's configurable."""

    run_id: str
    thread_id: str
    request_id: str
    started_ms: int
    user: Any = None
    user_id: str = ""
    permissions: list[str] = []


class Layered(NamedTuple):
    kwargs: Raw
    """API.md 5, without ``config.metadata``."""
    thread_config: Object
    """The config without what the server adds."""
    metadata: Object
    """The run's own, including what came as ``config.metadata``."""


def check_config(config: Object) -> None:
    """The types of what the server itself reads of a config. Raises ApiError 422."""
    for name, kind, word in (
        ("configurable", dict, "object"),
        ("tags", list, "array"),
        ("metadata", dict, "object"),
    ):
        if name in config and not isinstance(config[name], kind):
            raise unprocessable(
                violation(
                    f'{msgspec.json.encode(config[name]).decode()} is not of type "{word}"',
                    "type",
                    ["config", name],
                    config[name],
                )
            )
    limit = config.get("recursion_limit", 1)
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise unprocessable(
            violation(
                f'{msgspec.json.encode(limit).decode()} is not of type "integer"',
                "type",
                ["config", "recursion_limit"],
                limit,
            )
        )


def mirrored(config: Object, context: Object) -> tuple[Object, Object]:
    """Both spellings filled in. Raises ApiError 400 when both are given."""
    check_config(config)
    configurable = config.get("configurable") or {}
    if configurable and context:
        raise ApiError(400, BOTH_GIVEN)
    if context:
        return {**config, "configurable": dict(context)}, context
    return config, dict(configurable)


def layer(body: RunCreate, assistant: Assistant, server: Server, *, temporary: bool) -> Layered:
    """A run's kwargs and what its thread shows as config. Raises ApiError 400 and 422."""
    config, context = mirrored(body.config, body.context)
    own: Object = {**(assistant.config.get("configurable") or {}), **(config.get("configurable") or {})}
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
            "user_id": server.user_id,
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
    return Layered(
        Raw(msgspec.json.encode(kwargs)),
        {**rest, "configurable": own},
        {**(config.get("metadata") or {}), **body.metadata},
    )


def _durability(body: RunCreate) -> tuple[str, bool]:
    """``durability`` wins over the deprecated ``checkpoint_during``."""
    if body.durability is not UNSET:
        return body.durability, body.durability != "exit"
    if body.checkpoint_during is not UNSET:
        return ("async" if body.checkpoint_during else "exit"), body.checkpoint_during
    return "async", True


def _number(value: float) -> float | int:
    return int(value) if value == int(value) else value
