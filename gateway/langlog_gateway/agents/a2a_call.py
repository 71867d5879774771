"""Requests of the A2A protocol: parameters that several methods read. Pure."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from langlog_backbone.time.sources import uuid4
from langlog_schemas.json_types import Object

from ..http.errors import ApiError
from ..http.validation import canonical_uuid, uuid_of
from .a2a_tasks import Dialect
from .json_rpc import INVALID_PARAMS, Id, RpcError, count_of, flag_of, object_of


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


def context_of(message: Object) -> str:
    """Return the id of the thread that is named, or a new one. Raises RpcError."""
    context, task = message.get("contextId"), message.get("taskId")
    of_task = str(task).partition(":")[0] if task else ""
    if not (context or of_task):
        return uuid4()
    try:
        thread_id = uuid_of(str(context or of_task), "context")
    except ApiError as error:
        raise RpcError(INVALID_PARAMS, error.detail) from None
    if of_task and canonical_uuid(of_task) != thread_id:
        raise RpcError(
            INVALID_PARAMS, f"Task {str(task)[:100]} is not of the context {thread_id}: send the one or the other"
        )
    return thread_id
