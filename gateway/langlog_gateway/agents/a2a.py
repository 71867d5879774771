"""``/a2a/{assistant_id}`` and the agent card: assistants as agents of the A2A protocol, versions 0.3 and 1.0 (wire contract §14).

A context is a thread, a task is a run on it. Tasks continue when their client disconnects; it can query them again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web
from langlog_backbone.history.run_view import LANGLOG_VERSION
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.time.clock import new_id, now_iso
from langlog_backbone.time.sources import uuid4
from langlog_backbone.values.json_shape import has_nul
from langlog_schemas import commands as cmd
from langlog_schemas.json_types import Object
from msgspec import Raw

from ..auth.access import admit
from ..core import Core, encoded_response, json_response, origin_of
from ..http.errors import JSON, ApiError, not_found
from ..http.validation import NUL_INSIDE, decode_any, url_of, uuid_of
from ..responses.agents import AgentCapabilities, AgentCard, AgentInterface, AgentSkill
from ..runs.agent_runs import AgentRuns
from ..runs.submission import PreparedRun
from ..runs.waiting import RunWaits
from . import a2a_tasks as tasks
from .a2a_call import TASK_NOT_FOUND, Call, check_version, context_of, task_not_found
from .a2a_list import SCOPE, TaskLists, history, runs_by_mark
from .a2a_stream import TaskFollower, TaskOut
from .a2a_tasks import Dialect, Task
from .json_rpc import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    Id,
    RpcError,
    accepts,
    id_of,
    object_of,
    refusal,
    result,
)

SQL = load_sql("langlog_gateway", "agents.sql")

NOT_CANCELABLE = -32002
EVENTS = "text/event-stream"
NO_REQUEST = "Invalid message format: must be a JSON-RPC request or notification"
MODES = ["application/json", "text/plain"]
EXTENSION = {
    "uri": "https://langchain.com/a2a/extensions/history-scope/v1",
    "description": "Choose task-only or full-context response history",
    "required": False,
    "params": {
        "header": SCOPE,
        "values": ["context", "task"],
        "default": "context",
        "methods": ["SendMessage", "GetTask", "ListTasks"],
    },
}


Method = Callable[[Call], Awaitable[Any]]


class A2a:
    def __init__(self, core: Core) -> None:
        self._core = core
        self._runs = AgentRuns(core)
        self._waits = RunWaits(core)
        self._lists = TaskLists(core)
        self._methods: dict[str, tuple[Method, bool]] = {
            "message/send": (self._send, False),
            "tasks/get": (self._get, False),
            "tasks/cancel": (self._cancel, False),
            "SendMessage": (self._send, True),
            "GetTask": (self._get, True),
            "ListTasks": (self._lists.page, True),
            "CancelTask": (self._cancel, True),
        }
        self._streaming = {"message/stream": False, "SendStreamingMessage": True}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/.well-known/agent-card.json", self.well_known),
            web.get("/a2a/{assistant_id}", self.card),
            web.post("/a2a/{assistant_id}", self.post),
        ]

    # the card

    async def well_known(self, request: web.Request) -> web.Response:
        """Returns the agent card of an assistant, at the well-known path of A2A."""
        name = request.query.get("assistant_id")
        if not name:
            return _bad_card("Missing required query parameter: assistant_id")
        return await self._card(request, name)

    async def card(self, request: web.Request) -> web.Response:
        """Returns the agent card of an assistant."""
        return await self._card(request, request.match_info["assistant_id"])

    async def _card(self, request: web.Request, name: str) -> web.Response:
        try:
            assistant = await self._assistant(request, name)
        except RpcError as error:
            return _bad_card(error.message)
        id, fields = assistant["assistant_id"], _fields(assistant)
        schema = _schema(assistant)
        url = f"{url_of(request).origin()}{self._core.options.prefix}/a2a/{id}"
        description = assistant["description"] or f"Assistant {assistant['name']}"
        skill = AgentSkill(
            id=f"{id}-main",
            name=f"{assistant['name']} Capabilities",
            description=description,
            tags=["assistant", "langgraph"],
            examples=[],
            input_modes=MODES,
            output_modes=MODES,
            metadata={
                "inputSchema": {
                    "required": schema.get("required", []),
                    "properties": fields,
                    "supportsA2A": "messages" in fields,
                }
            },
        )
        card = AgentCard(
            name=assistant["name"],
            description=description,
            url=url,
            supported_interfaces=[AgentInterface(url, "JSONRPC", "1.0")],
            capabilities=AgentCapabilities(
                streaming=True, push_notifications=False, state_transition_history=False, extensions=[EXTENSION]
            ),
            default_input_modes=MODES,
            default_output_modes=MODES,
            skills=[skill],
            version=LANGLOG_VERSION,
        )
        return encoded_response(card)

    async def _assistant(self, request: web.Request, name: str) -> Any:
        """Return the assistant. Raises RpcError, and ApiError when the caller may not read assistants at all."""
        try:
            id = uuid_of(name, "assistant")
        except ApiError as error:
            raise RpcError(INVALID_PARAMS, error.detail) from None
        missing = RpcError(INVALID_PARAMS, f"Assistant '{id}' not found")
        gone = not_found()
        try:
            await admit(request, "assistants", "read", {"assistant_id": id}, gone)
        except ApiError as error:
            if error is gone:
                raise missing from None
            raise
        row = await self._core.reads.row(SQL["one"], id)
        if row is None:
            raise missing
        return row

    # requests

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Answers one request of the Agent2Agent protocol, versions 0.3 and 1.0. Streaming methods respond with
        server-sent events.
        """
        id: Id = None
        body = await request.read()
        try:
            message = decode_any(body)
        except msgspec.DecodeError:
            return json_response(RpcError(PARSE_ERROR, "Invalid JSON payload").answer(id))
        try:
            if not isinstance(message, dict):
                raise RpcError(INVALID_REQUEST, NO_REQUEST)
            id = id_of(message)
            method = _method_of(message)
            if method not in self._methods and method not in self._streaming:
                raise RpcError(METHOD_NOT_FOUND, f"Method not found: {method}")
            if method in self._streaming and not accepts(request, EVENTS):
                return refusal(400, "Accept header must include text/event-stream for streaming")
            if method in self._methods and not accepts(request, JSON):
                return refusal(400, "Accept header must include application/json")
            check_version(request)
            params = object_of(message, "params")
            if has_nul(body):
                raise RpcError(INVALID_PARAMS, NUL_INSIDE)
            assistant = await self._assistant(request, request.match_info["assistant_id"])
            if method in self._streaming:
                dialect = Dialect(self._streaming[method])
                return await self._stream(Call(request, assistant, id, params, dialect))
            work, v1 = self._methods[method]
            return json_response(result(id, await work(Call(request, assistant, id, params, Dialect(v1)))))
        except RpcError as error:
            return json_response(error.answer(id))
        except ApiError as error:
            if error.status in (401, 403) or error.status >= 500:
                raise
            code = TASK_NOT_FOUND if error.status == 404 else INVALID_PARAMS
            return json_response(RpcError(code, error.detail).answer(id))

    # sending

    async def _send(self, call: Call) -> Any:
        run, message = await self._prepare(call)
        if call.at_once:
            await self._runs.submit(run)
            task = tasks.submitted(run.thread_id, run.run_id, message, call.dialect)
            return {"task": task} if call.dialect.v1 else task
        await self._runs.finish(call.request, run)
        current = await self._read_task(run.thread_id, run.run_id)
        task = {
            "kind": "task",
            "id": current.id,
            "contextId": current.thread_id,
            "history": await self._history(call, current),
            "status": tasks.status(current, call.dialect),
        }
        if current.state == "completed":
            task["artifacts"] = [tasks.artifact(current, call.assistant_id)]
        return {"task": task} if call.dialect.v1 else task

    async def _stream(self, call: Call) -> web.StreamResponse:
        core = self._core
        run, message = await self._prepare(call, stream_mode=["messages"])
        core.enter_stream(call.request)
        watch = core.watches.enter(run.thread_id, run.run_id, frames=True)
        watch.unread = True  # until the run's creation is confirmed
        try:
            await core.watches.ready_beside(watch, self._runs.submit(run))
            out = TaskOut(call.request, core, watch, run, call.id, call.dialect)
            await out.begin(tasks.submitted(run.thread_id, run.run_id, message, call.dialect))
            out.guard(watch)
            out.read_task = self._read_task
            watch.missed = watch.missed or run.origin.key is not None  # the run of a repetition may be over already
            check = core.permissions.running(call.request, run.command)
            follow = TaskFollower(core, out, watch, run, call.dialect).follow
            return await out.while_permitted(core.permissions, run.thread_id, "leave", check, follow)
        finally:
            core.watches.close(watch)
            core.leave_stream(call.request)

    async def _prepare(self, call: Call, **more: Any) -> tuple[PreparedRun, Object]:
        """Return the run that a message requests, and the message. Raises RpcError."""
        message = call.params.get("message")
        if not isinstance(message, dict) or not isinstance(message.get("parts"), list):
            raise RpcError(INVALID_PARAMS, "Missing or invalid 'message' in params")
        given = tasks.given(message["parts"])
        if given is None or not message["parts"]:
            raise RpcError(INVALID_PARAMS, "Message parts must be text, file or data parts")
        thread_id = context_of(message)
        start_id = new_id()
        body: Object = {"metadata": {"a2a": {"task_start_id": start_id}}, "if_not_exists": "create", **more}
        named = str(message["taskId"]) if message.get("taskId") else None
        task = None if named is None else await self._task(named, call.assistant_id)
        if task is not None and task.state == "input-required":
            answer: Any = tasks.content_of(given.texts) if given.texts else given.data
            body["command"] = {"resume": Raw(msgspec.json.encode(answer))}
        else:
            body["input"] = Raw(msgspec.json.encode(self._input(call, message, given, start_id)))
        body["on_disconnect"] = "continue"
        run = await self._runs.prepare(call.request, call.assistant_id, thread_id, body)
        if named is not None and task is None:  # said only to a caller who may create runs on the thread
            raise task_not_found(named)
        return run, message

    def _input(self, call: Call, message: Object, given: tasks.Given, start_id: str) -> Object:
        if not given.texts:
            return given.data
        fields = _fields(call.assistant)
        if "messages" not in fields:
            raise RpcError(
                INVALID_PARAMS,
                f"Assistant '{call.assistant_id}' (graph '{call.assistant['graph_id']}') does not support A2A conversational "
                "messages. Graph input schema must include a 'messages' field to accept text or file parts. "
                f"Available input fields: {fields}",
            )
        message_input = {
            "role": "user",
            "content": tasks.content_of(given.texts),
            "id": str(message.get("messageId") or uuid4()),
            "additional_kwargs": {"a2a": {"task_start_id": start_id}},
        }
        return {**given.data, "messages": [message_input]}

    async def _task(self, id: str, assistant_id: str) -> Task | None:
        """Return the task of the assistant, without values; None if it does not exist."""
        thread_id, _, run_id = id.partition(":")
        row = await self._core.reads.row(SQL["run"], thread_id, run_id)
        return None if row is None or row["assistant_id"] != assistant_id else tasks.task_of(row, thread_id)

    # tasks

    async def _get(self, call: Call) -> Any:
        task = await self._named(call, "read")
        return {
            "kind": "task",
            "id": task.id,
            "contextId": task.thread_id,
            "status": tasks.status(task, call.dialect, with_text=True),
            "history": await self._history(call, task),
        }

    async def _cancel(self, call: Call) -> Any:
        task = await self._named(call, "update")
        if task.state in tasks.FINAL:
            raise RpcError(NOT_CANCELABLE, "Task is not cancelable in its current state")
        watch = await self._core.watches.open(task.thread_id, task.run_id)
        try:
            command = cmd.CancelRuns(thread_id=task.thread_id, run_ids=[task.run_id])
            await self._core.commands.execute(command, origin_of(call.request))
            watch.missed = True  # it may have ended by itself
            await self._waits.until_ended(watch, task.run_id)
        except ApiError as error:
            if error.status != 404:
                raise
            raise RpcError(NOT_CANCELABLE, "Task is not cancelable in its current state") from None
        finally:
            self._core.watches.close(watch)
        task = await self._read_task(task.thread_id, task.run_id)
        return {
            "kind": "task",
            "id": task.id,
            "contextId": task.thread_id,
            "status": tasks.status(task, call.dialect, with_text=True),
            "history": await self._history(call, task),
        }

    async def _named(self, call: Call, action: Any) -> Task:
        """Return the task that the request names, if its caller may see it. Raises RpcError."""
        id = call.params.get("id") or str(call.params.get("name") or "").removeprefix("tasks/")
        if not isinstance(id, str) or not id:
            raise RpcError(INVALID_PARAMS, "Missing task id")
        thread_id, _, run_id = id.partition(":")
        context = call.params.get("contextId")
        where = f" in context '{context}'" if context else ""
        missing = task_not_found(id, where)
        if not run_id or (context and context != thread_id):
            raise missing
        gone = not_found()
        try:
            value: Object = {"thread_id": thread_id, "metadata": {}}
            await admit(call.request, "threads", action, value, gone)
        except ApiError as error:
            if error is gone:
                raise missing from None
            raise
        row = await self._core.reads.row(SQL["run"], thread_id, run_id)
        if row is None or row["assistant_id"] != call.assistant_id:
            raise missing
        return tasks.task_of(row, thread_id, tasks.values_of(row))

    async def _read_task(self, thread_id: str, run_id: str) -> Task:
        row = await self._core.reads.row(SQL["run"], thread_id, run_id)
        if row is None:  # rolled back, or removed with its thread
            return Task(thread_id, run_id, "canceled", now_iso())
        return tasks.task_of(row, thread_id, tasks.values_of(row))

    async def _history(self, call: Call, task: Task) -> list[Object]:
        runs = await runs_by_mark(self._core.reads, [task.thread_id])
        return history(call, task, runs)


def _method_of(message: Object) -> str:
    """Return the method of a JSON-RPC request. Raises RpcError for anything else, a notification too."""
    if message.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, "Invalid JSON-RPC message: missing or invalid jsonrpc version")
    method = message.get("method")
    if message.get("id") is None or not isinstance(method, str):
        raise RpcError(INVALID_REQUEST, NO_REQUEST)
    return method


def _schema(assistant: Any) -> Object:
    schema: Object = msgspec.json.decode(assistant["input_schema"] or "null") or {}
    return schema


def _fields(assistant: Any) -> list[str]:
    return list(_schema(assistant).get("properties", {}))


def _bad_card(message: str) -> web.Response:
    return json_response(msgspec.json.encode({"error": {"code": INVALID_PARAMS, "message": message}}), 400)
