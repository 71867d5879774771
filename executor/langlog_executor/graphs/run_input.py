"""Arguments of a graph for a task: input or command, config, context and options, in the library's form. Pure.

The kwargs of a run are JSON (wire contract §5); this is the one place that reads them on the worker's side.
"""

from __future__ import annotations

import dataclasses
import os
import uuid
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Literal, cast

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph._internal._config import ensure_config
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.pregel import Pregel
from langgraph.types import Command, Durability, Send
from langlog_backbone.credentials.run_credentials import Private
from langlog_backbone.history.run_view import HOST, PLAN
from langlog_backbone.process.settings import Settings
from langlog_schemas.messages import Task
from langlog_schemas.runs.request import EVENT_STREAMING, PUBLIC_MEMBERS, without_reserved
from langlog_schemas.runs.resumes import by_id
from pydantic import BaseModel

from ..values.auth_user import AuthUser

LANGGRAPH_VERSION = version("langgraph")
SERVER_VERSION = version("langlog")
NULL_TASK = "00000000-0000-0000-0000-000000000000"
"""The library's task id for writes that come from outside the graph (commands)."""
RESUME = "__resume__"
STRICT_RESUME = "__pregel_strict_resume"
"""Configurable by which langgraph refuses an answer without an open interrupt."""
NOTHING = Private()

Interrupts = Literal["*"] | list[str] | None


class Kwargs(msgspec.Struct, frozen=True):
    """The run's kwargs, as far as a worker uses them."""

    input: Any = None
    command: dict[str, Any] | None = None
    config: dict[str, Any] = {}
    context: Any = None
    stream_mode: list[str] | str = []
    interrupt_before: list[str] | str | None = None
    interrupt_after: list[str] | str | None = None
    feedback_keys: list[str] | None = None
    langsmith_tracer: dict[str, Any] | None = None
    temporary: bool = False
    subgraphs: bool = False
    resumable: bool = False
    checkpoint_during: bool | None = None
    durability: str | None = None
    traceparent: str | None = None
    """The trace that the run belongs to."""
    sealed: bool = False
    """Whether credentials of its caller are stored beside the log."""
    strict_resume: bool = False
    """Whether an answer without an open interrupt fails the run. Mostly decided before it reaches a worker (`decide_answers`)."""

    @property
    def protocol(self) -> bool:
        """Whether the run was started by the streaming protocol."""
        return bool((self.config.get("configurable") or {}).get(EVENT_STREAMING))

    @property
    def modes(self) -> list[str]:
        modes = [self.stream_mode] if isinstance(self.stream_mode, str) else self.stream_mode
        return modes or ["values"]

    @property
    def durable(self) -> Durability:
        """``durability``, or its equivalent of the deprecated ``checkpoint_during``."""
        if self.durability in ("sync", "async", "exit"):
            return cast(Durability, self.durability)
        return "exit" if self.checkpoint_during is False else "async"

    @property
    def effective_command(self) -> dict[str, Any] | None:
        """The members of ``command`` that have an effect; None if there are none. The Python client leaves out null members, others
        do not, and the library fails for a command of nothing."""
        given = self.command or {}
        command = {name: given[name] for name in ("update", "goto") if given.get(name) not in (None, {}, [])}
        if given.get("resume") is not None:
            command["resume"] = given["resume"]
        return command or None

    @property
    def answered(self) -> list[str]:
        """Ids of the interrupts that the run answers by id."""
        return list(by_id((self.command or {}).get("resume")) or ())

    @property
    def before(self) -> Interrupts:
        return _nodes(self.interrupt_before)

    @property
    def after(self) -> Interrupts:
        return _nodes(self.interrupt_after)


_decode_kwargs = msgspec.json.Decoder(Kwargs).decode


def read_kwargs(task: Task) -> Kwargs:
    """Decode the kwargs. Raises msgspec.MsgspecError for kwargs that no langlog gateway writes."""
    return _decode_kwargs(task.kwargs)


def _nodes(names: list[str] | str | None) -> Interrupts:
    if names == "*" or (isinstance(names, list) and "*" in names):
        return "*"
    return names if isinstance(names, list) and names else None


class PrivateText(str):
    """A value of the configurable that the graph may use and that nothing langlog writes about the run may hold."""


def without_private(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values without the private ones: langgraph before 1.2 copies texts of the configurable into a run's metadata."""
    if any(type(value) is PrivateText for value in values.values()):
        return {name: value for name, value in values.items() if type(value) is not PrivateText}
    return values


class Caller(msgspec.Struct, frozen=True):
    """The caller of a query that needs a graph: a factory may make another graph for each user."""

    user: dict[str, Any] | None = None
    """Members that ``authenticate`` returned; None: no authentication."""
    headers: dict[str, str] = {}
    """Request headers that the project copies into the configurable."""

    @property
    def auth_user(self) -> AuthUser | None:
        if self.user is None:
            return None
        public = {name: value for name, value in self.user.items() if name in PUBLIC_MEMBERS}
        return AuthUser(public, {name: value for name, value in self.user.items() if name not in public})


def question_config(config: Mapping[str, Any], caller: Caller, **ids: str) -> RunnableConfig:
    """Return the config of a graph that is opened to be read or updated: with what a run's configurable has of its caller and ids."""
    configurable = without_reserved(config.get("configurable") or {}) | caller.headers
    user = caller.user or {}
    configurable |= {
        "langgraph_auth_user": caller.auth_user,
        "langgraph_auth_user_id": user.get("identity", ""),
        "langgraph_auth_permissions": user.get("permissions", []),
        "user_id": user.get("identity") or configurable.get("user_id") or "",
        **ids,
    }
    return cast(RunnableConfig, {**config, "configurable": configurable})


def server_metadata(attempt: int, settings: Settings) -> dict[str, Any]:
    """Return the metadata of every run about the server and the attempt (wire contract §4)."""
    return {
        "run_attempt": attempt,
        "langgraph_version": LANGGRAPH_VERSION,
        "langgraph_api_version": SERVER_VERSION,
        "langgraph_plan": PLAN,
        "langgraph_host": HOST,
        "langgraph_api_url": os.environ.get("LANGGRAPH_API_URL") or f"http://{settings.host}:{settings.port}",
    }


def build_config(task: Task, kwargs: Kwargs, settings: Settings, private: Private = NOTHING) -> RunnableConfig:
    """Return the config of the run: configurable, tags, name and limits from the kwargs, metadata from run and server.

    ``callbacks`` are objects of a process, which JSON does not carry.
    """
    configurable = without_reserved(
        kwargs.config.get("configurable") or {}
    )  # runs made by older gateways may have them
    configurable |= {name: PrivateText(value) for name, value in private.headers.items()}
    configurable["run_id"] = task.run_id
    configurable["thread_id"] = task.thread_id
    configurable["graph_id"] = task.graph_id
    configurable["assistant_id"] = task.assistant_id
    user = configurable.get("langgraph_auth_user")
    if isinstance(user, dict):
        configurable["langgraph_auth_user"] = AuthUser(user, private.user)
    config: dict[str, Any] = {
        "configurable": configurable,
        "metadata": {**msgspec.json.decode(task.metadata), **server_metadata(task.attempt, settings)},
        "run_id": uuid.UUID(task.run_id),
    }
    # The thread's metadata may name the graph that ran there before (wire contract §5.1): this run is of its own graph. And by the
    # run id the library knows a checkpoint of this very run.
    config["metadata"] |= {"graph_id": task.graph_id, "assistant_id": task.assistant_id, "run_id": task.run_id}
    if kwargs.config.get("tags"):
        config["tags"] = list(kwargs.config["tags"])
    if kwargs.config.get("recursion_limit") is not None:
        config["recursion_limit"] = int(kwargs.config["recursion_limit"])
    if kwargs.config.get("max_concurrency") is not None:
        config["max_concurrency"] = int(kwargs.config["max_concurrency"])
    if kwargs.config.get("run_name"):
        config["run_name"] = str(kwargs.config["run_name"])
    return cast(RunnableConfig, config)


def own_recursion_limit(graph: Pregel[Any, Any, Any, Any]) -> int:
    """Return the maximum number of steps of the graph's runs that name none: the graph's own (``with_config``), or langgraph's default."""
    return int(ensure_config(graph.config)["recursion_limit"])


def build_context(context: Any, schema: Any) -> Any:
    """Return the run's context; keys that a dataclass or model does not declare are left out, as recorded (wire contract §2)."""
    if not isinstance(context, dict):
        context = {}
    if isinstance(schema, type):
        if dataclasses.is_dataclass(schema):
            known = {f.name for f in dataclasses.fields(schema) if f.init}
        elif issubclass(schema, BaseModel) and schema.model_config.get("extra") != "allow":
            known = set(schema.model_fields) | {f.alias for f in schema.model_fields.values() if f.alias}
        else:
            return context
        return {k: v for k, v in context.items() if k in known}
    return context


def build_command(command: Mapping[str, Any]) -> Command[Any]:
    """Return the library's command of the API's ``{update?, resume?, goto?}``. ``goto``: a node, ``{node, input}``, or a
    list of these."""
    goto = command.get("goto")
    update = command.get("update")
    if isinstance(update, list):  # [[key, value], …]: JSON has no tuples
        update = [tuple(pair) if isinstance(pair, list) else pair for pair in update]
    return Command(
        update=update,
        resume=command.get("resume"),
        goto=() if goto is None else [_target(x) for x in goto] if isinstance(goto, list) else _target(goto),
    )


def _target(goto: Any) -> Any:
    return Send(goto["node"], goto.get("input")) if isinstance(goto, Mapping) else goto


def build_input(kwargs: Kwargs) -> Any:
    """Return input or command; the command takes precedence (wire contract §5.1)."""
    command = kwargs.effective_command
    return kwargs.input if command is None else build_command(command)


def resumed_input(task: Task, kwargs: Kwargs, saved: CheckpointTuple | None) -> tuple[Any, bool]:
    """Return the input of a later attempt, and whether the run continues from ``saved`` (the thread's latest checkpoint).

    Once the run has a checkpoint of its own, its input is in it. A command is stored earlier: its writes are on the
    checkpoint of the run before, and applying it again would apply its update twice.
    """
    if saved is None:
        return build_input(kwargs), False
    if saved.metadata.get("run_id") == task.run_id:
        return None, True
    command = kwargs.effective_command
    if command is not None and _already_written(command, saved):
        return None, False
    return build_input(kwargs), False


def _already_written(command: Mapping[str, Any], saved: CheckpointTuple) -> bool:
    built = build_command(command)
    stored = [(channel, value) for task, channel, value in saved.pending_writes or [] if task == NULL_TASK]
    resume_writes: list[tuple[str, Any]] = []
    if built.resume is not None:
        if isinstance(built.resume, dict):  # a map of interrupt ids is never stored: it answers its tasks again
            return False
        resume_writes.append((RESUME, built.resume))
    if built.update:
        resume_writes.extend(built._update_as_tuples())
    if not resume_writes:
        return False
    return all(any(channel == c and value == v for c, v in stored) for channel, value in resume_writes)
