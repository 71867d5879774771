"""JSON-RPC 2.0 messages, in which MCP and A2A wrap their requests. Pure."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

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


def result(id: Id, value: Any) -> bytes:
    return _encode(JsonRpcAnswer("2.0", id, value))


def refusal(status: int, message: str) -> web.Response:
    """Return the HTTP error for a body that is not a JSON-RPC message."""
    return json_response(_encode({"error": message}), status)


def accepts(request: web.Request, *kinds: str) -> bool:
    """Return whether the client accepts one of these content types."""
    taken = request.headers.get("accept", "").lower()
    return any(kind in taken for kind in (*kinds, "*/*")) if taken else JSON in kinds
