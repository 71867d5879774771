"""``POST /mcp``: assistants as tools of the Model Context Protocol (wire contract §13), streamable HTTP without sessions.

Every message has its own response, in JSON. A call is a stateless run; it is cancelled when its client disconnects.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from aiohttp import web
from langlog_backbone.history.run_view import LANGLOG_VERSION
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.values.json_shape import has_nul
from msgspec import Raw

from ..auth.access import authorize
from ..auth.visibility import narrowed, seen
from ..core import Core, json_response
from ..http.errors import JSON, SHOWN_MAX, ApiError
from ..http.validation import NUL_INSIDE, decode_any
from ..runs.agent_runs import AgentRuns
from .json_rpc import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    RpcError,
    accepts,
    id_of,
    object_of,
    refusal,
    result,
)

SQL = load_sql("langlog_gateway", "agents.sql")

VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
VERSION_HEADER = "MCP-Protocol-Version"
BAD_VERSION = f"{VERSION_HEADER} {{!r}} is not supported: send one of {', '.join(VERSIONS)}"
HINTS = {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": False, "openWorldHint": True}
MESSAGES = {"type": "string", "title": "Messages", "description": "The user message to send to the agent."}


class Mcp:
    def __init__(self, core: Core) -> None:
        self._core = core
        self._runs = AgentRuns(core)

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/mcp", self.post), web.get("/mcp", self.no_stream), web.delete("/mcp", self.no_session)]

    async def no_stream(self, request: web.Request) -> web.Response:
        """Always 405: the server sends no messages of its own."""
        return web.Response(status=405, headers={"allow": "POST"})

    async def no_session(self, request: web.Request) -> web.Response:
        """Always 404: there are no sessions."""
        return web.Response(status=404)

    async def post(self, request: web.Request) -> web.Response:
        """Answers one message of the Model Context Protocol (streamable HTTP without sessions). Tools are the
        assistants; a call creates a run without a thread and returns its output. Notifications are 202.
        """
        if not accepts(request, JSON, "text/event-stream"):
            return refusal(400, "Accept header must include application/json or text/event-stream")
        try:
            message = decode_any(await request.read())
        except msgspec.DecodeError:
            return refusal(400, "Invalid JSON")
        if not isinstance(message, dict):
            return refusal(400, "Invalid message format.")
        if message.get("jsonrpc") != "2.0":
            return refusal(400, "Invalid JSON-RPC message. Missing or invalid jsonrpc version.")
        try:
            id, method = id_of(message), message.get("method")
        except RpcError as error:
            return json_response(error.answer(None))
        version = request.headers.get(VERSION_HEADER, "")
        if version and version not in VERSIONS and method != "initialize":  # which agrees on one
            return refusal(400, BAD_VERSION.format(version[:SHOWN_MAX]))
        if id is None or not isinstance(method, str):  # notifications and responses are taken and need no answer
            return web.Response(status=202)
        try:
            params = object_of(message, "params")
            if has_nul(await request.read()):
                raise RpcError(INVALID_PARAMS, NUL_INSIDE)
            return json_response(result(id, await self._call(request, method, params)))
        except RpcError as error:
            return json_response(error.answer(id))

    async def _call(self, request: web.Request, method: str, params: dict[str, Any]) -> Any:
        match method:
            case "initialize":
                wanted = params.get("protocolVersion")
                return {
                    "protocolVersion": wanted if wanted in VERSIONS else VERSIONS[-1],
                    "capabilities": {"tools": {"listChanged": False}},
                    "serverInfo": {"name": "LangGraph", "version": LANGLOG_VERSION},
                }
            case "ping":
                return {}
            case "tools/list":
                readable = await authorize(request, "assistants", "read", {})
                tools = await self._tools(request)
                ids = [row["assistant_id"] for row in tools.values()]
                shown = await seen(self._core.reads, "assistants", ids, readable) if readable else ids
                return {"tools": [_tool(name, row) for name, row in tools.items() if row["assistant_id"] in shown]}
            case "tools/call":
                return await self._run(request, params)
            case _:
                raise RpcError(METHOD_NOT_FOUND, f"Method not found: {method}")

    async def _tools(self, request: web.Request) -> dict[str, Any]:
        """Return the assistants by the names of their tools. Of assistants with the same name, the oldest has it for itself."""
        visible = await authorize(request, "assistants", "search", {"graph_id": None, "metadata": {}})
        sql, values = narrowed(SQL["all"], visible, column="a.metadata")
        rows = [row for row in await self._core.reads.rows(sql, *values) if _takes_object(row)]
        left = Counter(row["name"] for row in rows)
        tools = {}
        for row in rows:
            left[row["name"]] -= 1
            tools[f"{row['name']}-{row['assistant_id'][:8]}" if left[row["name"]] else row["name"]] = row
        return tools

    async def _run(self, request: web.Request, params: dict[str, Any]) -> dict[str, Any]:
        name = params.get("name")
        if not isinstance(name, str):
            raise RpcError(INVALID_PARAMS, "Missing tool name")
        given = dict(object_of(params, "arguments"))
        tool = (await self._tools(request)).get(name)
        if tool is None:
            raise RpcError(INVALID_PARAMS, f"Unknown tool: {name}")
        if isinstance(given.get("messages"), str) and _takes_messages(msgspec.json.decode(tool["input_schema"])):
            given["messages"] = [{"role": "user", "content": given["messages"]}]
        try:
            body = {"input": Raw(msgspec.json.encode(given))}
            run = await self._runs.prepare(request, tool["assistant_id"], None, body)
            answer = msgspec.json.decode(await self._runs.finish(request, run))
        except ApiError as error:
            if error.status in (401, 403):
                raise
            raise RpcError(INVALID_REQUEST, error.detail) from None
        if isinstance(answer, dict) and "__error__" in answer:
            return {"isError": True, "content": [{"type": "text", "text": answer["__error__"]["error"]}]}
        return {"content": [{"type": "text", "text": repr(answer)}]}


def _takes_object(row: Any) -> bool:
    """Return whether the graph's input is an object. Arguments of a tool are objects, so other graphs are not tools."""
    return bool(msgspec.json.decode(row["input_schema"]).get("type", "object") == "object")


def _takes_messages(schema: dict[str, Any]) -> bool:
    messages = schema.get("properties", {}).get("messages")
    return isinstance(messages, dict) and messages.get("type") == "array"


def _tool(name: str, row: Any) -> dict[str, Any]:
    schema = msgspec.json.decode(row["input_schema"])
    if _takes_messages(schema):
        schema["properties"]["messages"] = MESSAGES
        rest = {key: value for key, value in schema.items() if key != "$defs"}
        if b"#/$defs/" not in msgspec.json.encode(rest):
            schema = rest
    return {
        "name": name,
        "title": row["name"],
        "description": row["description"] or f"Tool based on the {row['name']} assistant",
        "inputSchema": {"type": "object", **schema},
        "annotations": HINTS,
    }
