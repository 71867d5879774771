"""JSON-RPC 2.0 messages, in which MCP and A2A wrap their requests. Pure."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web
from langlog_schemas.json_types import Object

from ..core import json_response
from ..http.errors import JSON
from ..responses.agents import JsonRpcAnswer, RpcFailure

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602

Id = str | int | float | None
_encode = msgspec.json.encode


class RpcError(Exception):
    """A request that is answered with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def answer(self, id: Id) -> bytes:
        return _encode(JsonRpcAnswer("2.0", id, error=RpcFailure(self.code, self.message)))


def id_of(message: Object) -> Id:
    """Return the id of a request; None of a notification. Raises RpcError for one that is no text or number (JSON-RPC 2.0, §4)."""
    id = message.get("id")
    if isinstance(id, bool) or not isinstance(id, str | int | float | None):
        raise RpcError(INVALID_REQUEST, "id must be a string or a number")
    return id


def object_of(members: Object, name: str) -> Object:
    """Return a member that is an object; empty if it is absent or null. Raises RpcError."""
    value = members.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RpcError(INVALID_PARAMS, f"{name} must be an object")
    return value


def flag_of(members: Object, name: str) -> bool | None:
    """Return a member that is true or false; None if it is absent or null. Raises RpcError."""
    value = members.get(name)
    if value is not None and not isinstance(value, bool):
        raise RpcError(INVALID_PARAMS, f"{name} must be true or false")
    return value


def count_of(members: Object, name: str) -> int | None:
    """Return a member that is a whole number from 0; None if it is absent or null. Raises RpcError."""
    value = members.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise RpcError(INVALID_PARAMS, f"{name} must be a whole number, at least 0")
    return value


def result(id: Id, value: Any) -> bytes:
    return _encode(JsonRpcAnswer("2.0", id, value))


def refusal(status: int, message: str) -> web.Response:
    """Return the HTTP error for a body that is not a JSON-RPC message."""
    return json_response(_encode({"error": message}), status)


def accepts(request: web.Request, *kinds: str) -> bool:
    """Return whether the client accepts one of these content types."""
    taken = request.headers.get("accept", "").lower()
    return any(kind in taken for kind in (*kinds, "*/*")) if taken else JSON in kinds
