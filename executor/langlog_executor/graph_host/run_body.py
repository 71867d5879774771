"""A run's arguments for the host: input or command, config and options, in the form of the JavaScript library. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ..graphs.run_input import PrivateText
from ..values import encoding
from ..values.auth_user import AuthUser

if TYPE_CHECKING:
    from langlog_backbone.credentials.run_credentials import Private
    from langlog_schemas.messages import Task

    from ..graphs.run_input import Kwargs

NAMES = {
    "run_id": "runId",
    "recursion_limit": "recursionLimit",
    "max_concurrency": "maxConcurrency",
    "run_name": "runName",
}
"""Members of a config in Python -> in JavaScript, where they differ."""


class RunBody(msgspec.Struct, frozen=True, kw_only=True):
    """The counterpart of ``RunBody`` in ``executor/graph-host/src/run.ts``, which documents the members."""

    graph_id: str
    run_id: str
    thread_id: str
    attempt: int
    fresh: bool
    input: Any
    command: dict[str, Any] | None
    config: msgspec.Raw
    context: Any
    modes: list[str]
    subgraphs: bool
    protocol: bool
    marks: bool
    durability: str
    interrupt_before: Any
    interrupt_after: Any
    hidden: list[str]
    strict: bool
    spans: bool
    langsmith: dict[str, Any] | None


def run_body(
    task: Task, kwargs: Kwargs, config: Mapping[str, Any], private: Private, *, marks: bool, spans: bool = False
) -> bytes:
    """Return the body. ``config``: that of `build_config`; ``spans``: the run is traced."""
    body = RunBody(
        graph_id=task.graph_id,
        run_id=task.run_id,
        thread_id=task.thread_id,
        attempt=task.attempt,
        fresh=task.fresh,
        input=kwargs.input,
        command=kwargs.effective_command,
        config=config_json(config),
        context=kwargs.context,
        modes=kwargs.modes,
        subgraphs=kwargs.subgraphs,
        protocol=kwargs.protocol,
        marks=marks,
        durability=kwargs.durable,
        interrupt_before=kwargs.before,
        interrupt_after=kwargs.after,
        hidden=hidden_names(config),
        strict=kwargs.strict_resume,
        spans=spans,
        langsmith=kwargs.langsmith_tracer,
    )
    return msgspec.json.encode(body)


def config_json(config: Mapping[str, Any]) -> msgspec.Raw:
    """Return the config in the form of the JavaScript library. It contains all members of the caller, which nodes may use."""
    shown = {NAMES.get(name, name): value for name, value in config.items() if name != "callbacks"}
    configurable = dict(shown.get("configurable") or {})
    user = configurable.get("langgraph_auth_user")
    if isinstance(user, AuthUser):
        configurable["langgraph_auth_user"] = dict(user)
    shown["configurable"] = {
        name: str(value) if type(value) is PrivateText else value for name, value in configurable.items()
    }
    return msgspec.Raw(encoding.encode(shown))


def hidden_names(config: Mapping[str, Any]) -> list[str]:
    """Members of the configurable that nothing langlog writes may hold: credentials, and a caller with private members."""
    configurable = config.get("configurable") or {}
    hidden = [name for name, value in configurable.items() if type(value) is PrivateText]
    user = configurable.get("langgraph_auth_user")
    return [*hidden, "langgraph_auth_user"] if isinstance(user, AuthUser) and len(user) > len(user.public()) else hidden
