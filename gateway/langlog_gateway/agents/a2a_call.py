"""Requests of the A2A protocol: parameters that several methods read. Pure."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from langlog_backbone.time.sources import uuid4
from langlog_schemas.json_types import Object

from ..http.errors import SHOWN_MAX, ApiError
from ..http.validation import canonical_uuid, uuid_of
from .a2a_tasks import Dialect
from .json_rpc import INVALID_PARAMS, Id, RpcError, count_of, flag_of, object_of

TASK_NOT_FOUND = -32001
VERSION_NOT_SUPPORTED = -32009

VERSIONS = ("0.3", "1.0")
VERSION_HEADER = "A2A-Version"
BAD_VERSION = f"{VERSION_HEADER} {{!r}} is not supported: send one of {', '.join(VERSIONS)}"


class Call:
    """One request: its method and parameters, and its assistant. Making one raises RpcError for options of the wrong type."""

    def __init__(self, request: web.Request, assistant: Any, id: Id, params: Object, dialect: Dialect) -> None:
        self.request = request
        self.assistant = assistant
        self.assistant_id: str = assistant["assistant_id"]
        self.id = id
        self.params = params
        self.dialect = dialect
        options = object_of(params, "configuration")
        self.at_once = flag_of(options, "blocking") is False
        """The response does not wait for the run's end."""
        self.at_once |= flag_of(options, "returnImmediately") is True
        own, of_options = count_of(params, "historyLength"), count_of(options, "historyLength")
        self.history_length = of_options if own is None else own
        """Maximum number of messages in the history of a task; None: all."""


def check_version(request: web.Request) -> None:
    """Raise RpcError for a version of the protocol that is not served. A client that names none may use either; a third number of a
    version has no meaning (A2A 1.0, §3.6)."""
    version = request.headers.get(VERSION_HEADER, "")
    if version and ".".join(version.split(".")[:2]) not in VERSIONS:
        raise RpcError(VERSION_NOT_SUPPORTED, BAD_VERSION.format(version[:SHOWN_MAX]))


def context_of(message: Object) -> str:
    """Return the id of the thread that is named, or a new one. Raises RpcError."""
    context, task = message.get("contextId"), message.get("taskId")
    if not (context or task):
        return uuid4()
    of_task = canonical_uuid(str(task).partition(":")[0]) if task else None
    if not context:
        if of_task is None:
            raise task_not_found(str(task))
        return of_task
    try:
        thread_id = uuid_of(str(context), "context")
    except ApiError as error:
        raise RpcError(INVALID_PARAMS, error.detail) from None
    if task and of_task != thread_id:
        raise RpcError(
            INVALID_PARAMS, f"Task {str(task)[:SHOWN_MAX]} is not of the context {thread_id}: send the one or the other"
        )
    return thread_id


def task_not_found(id: str, where: str = "") -> RpcError:
    return RpcError(TASK_NOT_FOUND, f"Task not found: {id}{where}")
