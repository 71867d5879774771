"""Runs as A2A tasks, messages as A2A messages, in the words of protocol versions 0.3 and 1.0 (wire contract §14). Pure.

A task's messages on a thread begin with the human message that carries its ``task_start_id`` and end before the next such one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, get_args

import msgspec
from langlog_backbone.time.clock import iso, now_iso
from langlog_backbone.time.sources import uuid4
from langlog_schemas.json_types import Object
from langlog_schemas.runs.ends import LIFECYCLE_OF, LifecycleStatus

State = Literal["submitted", "working", "input-required", "completed", "failed", "canceled"]
FINAL: tuple[State, ...] = ("completed", "failed", "canceled", "input-required")
STATE_OF_LIFECYCLE: dict[LifecycleStatus, State] = {
    "completed": "completed",
    "failed": "failed",
    "interrupted": "canceled",
}
STATE_OF_STATUS: dict[str, State] = {
    "pending": "submitted",
    "running": "working",
    **{status: STATE_OF_LIFECYCLE[lifecycle] for status, lifecycle in LIFECYCLE_OF.items()},
}
"""Run's status -> state of its task. A run that has stopped for a human has succeeded; its task is ``input-required``."""
STATUSES_OF_STATE: dict[State, list[str]] = {
    state: [
        status
        for status, other in STATE_OF_STATUS.items()
        if other == ("completed" if state == "input-required" else state)
    ]
    for state in get_args(State)
}
STATUS_TEXTS: dict[State, str] = {"completed": "Task completed successfully", "canceled": "Task was canceled"}


class Dialect(NamedTuple):
    """Names of a version of the protocol."""

    v1: bool

    def role(self, name: Literal["user", "agent"]) -> str:
        return f"ROLE_{name.upper()}" if self.v1 else name

    def state(self, name: State) -> str:
        return f"TASK_STATE_{name.upper().replace('-', '_')}" if self.v1 else name

    def state_of(self, name: str) -> State | None:
        """Return the state that a client names."""
        plain = name.removeprefix("TASK_STATE_").lower().replace("_", "-")
        return next((state for state in STATUSES_OF_STATE if state == plain), None)


class Task(NamedTuple):
    """A run as A2A clients see it."""

    thread_id: str
    run_id: str
    state: State
    at: str
    error: str = ""
    values: Any = None
    schemas: Sequence[Object] = ()
    """Schemas of the expected answers, of each interrupt that has one: ``{interrupt_id, response_schema}``."""

    @property
    def id(self) -> str:
        return task_id(self.thread_id, self.run_id)


def task_id(thread_id: str, run_id: str) -> str:
    return f"{thread_id}:{run_id}"


def values_of(row: Mapping[str, Any]) -> Any:
    """Return the values of a row of `run` or `conversations` in agents.sql."""
    return msgspec.json.decode(row["state_values"] or "null")


def task_of(row: Mapping[str, Any], thread_id: str, values: Any = None) -> Task:
    """Return the task of a row of `run` or `runs` in agents.sql. ``values``: those of its thread that are to be shown."""
    state = STATE_OF_STATUS.get(row["status"], "working")
    if state == "completed" and row["interrupts"] not in (None, "{}"):
        state = "input-required"
    error = msgspec.json.decode(row["error"] or "{}")
    moment: datetime = row["updated_at"]
    message = error.get("message") or error.get("error") or ""
    schemas: list[Object] = []
    if state == "input-required":
        interrupts = [one for of_task in msgspec.json.decode(row["interrupts"]).values() for one in of_task]
        texts = [one["value"] for one in interrupts]
        message = "\n".join(one if isinstance(one, str) else msgspec.json.encode(one).decode() for one in texts)
        schemas = [
            {"interrupt_id": one.get("id"), "response_schema": one["response_schema"]}
            for one in interrupts
            if one.get("response_schema") is not None
        ]
    return Task(thread_id, row["run_id"], state, iso(moment), message, values, schemas)


def status(task: Task, dialect: Dialect, *, with_text: bool = False) -> Object:
    """Return the ``status`` of a task; ``with_text``: always with a sentence."""
    members: Object = {"state": dialect.state(task.state), "timestamp": task.at}
    text = task.error or (STATUS_TEXTS.get(task.state, "") if with_text else "")
    if text:
        members["message"] = {
            "kind": "message",
            "role": dialect.role("agent"),
            "parts": [text_part(text), *({"kind": "data", "data": schema} for schema in task.schemas)],
            "messageId": uuid4(),
            "taskId": task.id,
        }
    return members


def text_part(text: str) -> Object:
    return {"kind": "text", "text": text}


def artifact(task: Task, assistant_id: str) -> Object:
    """Return the result of the run as an artifact: the last message of the model, or the values as Python writes them."""
    text = answer_of(task.values)
    if text is None:
        values = task.values if isinstance(task.values, dict) else {"output": task.values}
        text = repr({"messages": [], **values} if "messages" in values else {**values, "messages": []})
    return {
        "artifactId": uuid4(),
        "name": "Assistant Response",
        "description": f"Response from assistant {assistant_id}",
        "parts": [text_part(text)],
    }


def answer_of(values: Any) -> str | None:
    """Return the text of the model's last message that has text, or None if no message of the model has any."""
    messages = reversed(_messages(values))
    return next((answer for m in messages if m.get("type") == "ai" and (answer := text_of(m))), None)


def history(
    values: Any, thread_id: str, runs: Mapping[str, str], dialect: Dialect, only: str | None = None
) -> list[Object]:
    """Return the conversation. ``runs``: ``task_start_id`` -> run; ``only``: the run whose part of it is wanted."""
    selected: list[Object] = []
    run_id: str | None = None
    for message in _messages(values):
        extra = message.get("additional_kwargs")
        mark = extra.get("a2a") if isinstance(extra, dict) else None
        if isinstance(mark, dict):
            run_id = runs.get(mark.get("task_start_id", ""))
        parts = _parts(message)
        if not parts or (only is not None and run_id != only):
            continue
        shown: Object = {
            "kind": "message",
            "role": dialect.role("user" if message.get("type") == "human" else "agent"),
            "parts": parts,
            "messageId": message.get("id") or uuid4(),
        }
        if run_id is not None:
            shown["taskId"] = task_id(thread_id, run_id)
        selected.append({**shown, "contextId": thread_id})
    return selected


def text_of(message: Mapping[str, Any]) -> str:
    """Return all text of a message of the graph."""
    return "".join(part["text"] for part in _content(message) if "text" in part)


def _messages(values: Any) -> list[Object]:
    messages = values.get("messages") if isinstance(values, dict) else None
    return [m for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []


def _parts(message: Object) -> list[Object]:
    match message.get("type"):
        case "human" | "ai":
            return _content(message)
        case "tool":
            outcome = {
                "toolCallId": message.get("tool_call_id"),
                "content": message.get("content"),
                "name": message.get("name"),
                "status": message.get("status"),
            }
            return [{"kind": "data", "data": {"tool_results": [outcome]}}]
        case _:
            return []


def _content(message: Mapping[str, Any]) -> list[Object]:
    content = message.get("content")
    if isinstance(content, str):
        return [text_part(content)] if content else []
    blocks: list[Object] = []
    for block in content if isinstance(content, list) else ():
        if isinstance(block, str):
            blocks.append(text_part(block))
        elif isinstance(block, dict) and block.get("type") == "text":
            blocks.append(text_part(str(block.get("text", ""))))
        elif isinstance(block, dict):
            blocks.append({"kind": "data", "data": block})
    return blocks


class Given(NamedTuple):
    """Content of a client's message for the graph."""

    texts: list[Object]
    """Content blocks of a human message."""
    data: Object
    """Input members, unchanged."""


def given(parts: Sequence[Any]) -> Given | None:
    """Return the parts of a message; None if one of them is invalid."""
    blocks: list[Object] = []
    data: Object = {}
    for part in parts:
        if not isinstance(part, dict):
            return None
        if isinstance(part.get("text"), str):
            blocks.append({"type": "text", "text": part["text"]})
        elif isinstance(part.get("data"), dict):
            data |= part["data"]
        elif (file := _file(part)) is not None:
            blocks.append(file)
        else:
            return None
    return Given(blocks, data)


def _file(part: Object) -> Object | None:
    """Return a file part of either version as a content block."""
    inner = part.get("file") if isinstance(part.get("file"), dict) else part
    assert isinstance(inner, dict)
    media = inner.get("mimeType") or inner.get("mediaType") or "application/octet-stream"
    block: Object = {"type": "file", "mime_type": media}
    if isinstance(data := inner.get("bytes") or inner.get("raw"), str):
        return {**block, "source_type": "base64", "data": data}
    if isinstance(url := inner.get("uri") or inner.get("url"), str):
        return {**block, "source_type": "url", "url": url}
    return None


def content_of(blocks: list[Object]) -> Any:
    """Return a human message's content: plain text if there is nothing else."""
    if all(block["type"] == "text" for block in blocks):
        return "\n".join(block["text"] for block in blocks)
    return blocks


def submitted(thread_id: str, run_id: str, message: Object, dialect: Dialect) -> Object:
    """Return the task in its initial state."""
    id = task_id(thread_id, run_id)
    return {
        "kind": "task",
        "id": id,
        "contextId": thread_id,
        "history": [{"kind": "message", **message, "contextId": thread_id, "taskId": id}],
        "status": {"state": dialect.state("submitted"), "timestamp": now_iso()},
    }
