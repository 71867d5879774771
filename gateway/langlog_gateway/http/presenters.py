"""Rows and events as the API's JSON (wire contract §2, §3, §5, §11). Pure.

Big members (values, kwargs, output) come from Postgres as text and are put in as they are; nothing here parses them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from langlog_backbone.history.run_view import shown_kwargs
from langlog_schemas import events as ev
from langlog_schemas.events import AssistantVersion

Row = Mapping[str, Any]

_encode = msgspec.json.encode


def stamp(moment: datetime) -> str:
    """Microseconds and offset, always (wire contract §1.3)."""
    return moment.isoformat(timespec="microseconds")


def text(value: str | None) -> str:
    """A JSON string or null."""
    return "null" if value is None else _encode(value).decode()


def array(items: Iterable[str]) -> bytes:
    """A JSON array of JSON texts."""
    return f"[{','.join(items)}]".encode()


def _object(members: Mapping[str, str], select: Iterable[str] | None) -> str:
    wanted = members if not select else {k: v for k, v in members.items() if k in set(select)}
    return "{" + ",".join(f'"{k}":{v}' for k, v in wanted.items()) + "}"


# --- assistants ------------------------------------------------------------------------------


def assistant(row: Row, select: Iterable[str] | None = None) -> str:
    """A row of ``assistants``; with ``select`` only those members (the others need not be in the row)."""
    wanted = set(select or ()) or None

    def has(name: str) -> bool:
        return wanted is None or name in wanted

    members: dict[str, str] = {}
    if has("assistant_id"):
        members["assistant_id"] = text(row["assistant_id"])
    if has("graph_id"):
        members["graph_id"] = text(row["graph_id"])
    for name in ("config", "context", "metadata"):
        if has(name):
            members[name] = row[name]
    if has("name"):
        members["name"] = text(row["name"])
    for name in ("created_at", "updated_at"):
        if has(name):
            members[name] = f'"{stamp(row[name])}"'
    if has("version"):
        members["version"] = str(row["version"])
    if has("description"):
        members["description"] = text(row["description"])
    return _object(members, None)


def assistant_created(assistant_id: str, content: AssistantVersion) -> bytes:
    """The assistant that an event has just made."""
    return _encode(
        {
            "assistant_id": assistant_id,
            "graph_id": content.graph_id,
            "config": content.config,
            "context": content.context,
            "metadata": content.metadata,
            "name": content.name,
            "created_at": content.created_at,
            "updated_at": content.created_at,
            "version": content.version,
            "description": content.description,
        }
    )


def assistant_version(row: Row) -> str:
    """A row of ``assistant_versions``."""
    return (
        f'{{"assistant_id":{text(row["assistant_id"])},"version":{row["version"]},"graph_id":{text(row["graph_id"])},'
        f'"config":{row["config"]},"context":{row["context"]},"metadata":{row["metadata"]},'
        f'"created_at":"{stamp(row["created_at"])}","name":{text(row["name"])},'
        f'"description":{text(row["description"])}}}'
    )


# --- threads ---------------------------------------------------------------------------------


def thread(row: Row, *, ttl: bool = False) -> str:
    """A whole row of ``threads``. ``interrupts`` and ``error`` are absent until the first run (wire contract §3)."""
    members = {
        "thread_id": text(row["thread_id"]),
        "created_at": f'"{stamp(row["created_at"])}"',
        "updated_at": f'"{stamp(row["updated_at"])}"',
        "state_updated_at": f'"{stamp(row["state_updated_at"])}"',
        "metadata": row["metadata"],
        "status": f'"{row["status"]}"',
        "config": row["config"],
        "values": row["state_values"] or "null",
    }
    if row["state_values"] is None and row["has_checkpoints"] and row["config"] == "{}":
        del members["values"]  # a copied thread that never ran (wire contract §3)
    if row["interrupts"] is not None or row["error"] is not None:
        members["error"] = row["error"] or "null"
    if row["interrupts"] is not None:
        members["interrupts"] = row["interrupts"]
    if ttl and row["ttl_minutes"] is not None:
        members["ttl"] = thread_ttl(row)
    return _object(members, None)


def thread_ttl(row: Row) -> str:
    minutes = row["ttl_minutes"]
    return (
        f'{{"strategy":{text(row["ttl_strategy"] or "delete")},'
        f'"ttl_minutes":{_encode(int(minutes) if minutes == int(minutes) else minutes).decode()},'
        f'"expires_at":"{stamp(row["expires_at"])}"}}'
    )


THREAD_MEMBERS = {
    "thread_id": "thread_id",
    "created_at": "created_at",
    "updated_at": "updated_at",
    "state_updated_at": "state_updated_at",
    "metadata": "metadata",
    "config": "config",
    "context": "config -> 'configurable'",
    "status": "status",
    "values": "state_values",
    "interrupts": "interrupts",
}
"""Member of a thread -> its column, or what is made of one. ``context`` and the configurable are one thing (wire contract §2)."""


def thread_selected(row: Row, select: Iterable[str]) -> dict[str, str]:
    """The members asked for, as JSON texts; only their columns need to be in the row."""
    members: dict[str, str] = {}
    for name in THREAD_MEMBERS:
        if name not in select:
            continue
        value = row["context"] if name == "context" else row[THREAD_MEMBERS[name]]
        if name in ("thread_id", "status"):
            members[name] = text(value)
        elif name.endswith("_at"):
            members[name] = f'"{stamp(value)}"'
        elif name in ("interrupts", "context"):
            members[name] = value or "{}"
        else:
            members[name] = value or "null"
    return members


def thread_created(event: ev.ThreadCreated, time: str) -> bytes:
    """The thread that an event has just made."""
    return _encode(
        {
            "thread_id": event.thread_id,
            "created_at": time,
            "updated_at": time,
            "state_updated_at": time,
            "metadata": event.metadata,
            "status": "idle",
            "config": event.config,
            "values": None,
        }
    )


# --- runs ------------------------------------------------------------------------------------


def run(row: Row, select: Iterable[str] | None = None) -> str:
    """A row of ``runs`` (wire contract §5)."""
    members = {
        "run_id": text(row["run_id"]),
        "thread_id": text(row["thread_id"]),
        "assistant_id": text(row["assistant_id"]),
        "metadata": row["metadata"],
        "status": f'"{row["status"]}"',
    }
    if not select or "kwargs" in select:
        members["kwargs"] = shown_kwargs(row["kwargs"], row["metadata"], row["attempt"] if row["started_at"] else 0)
    members["multitask_strategy"] = f'"{row["multitask_strategy"]}"'
    members["created_at"] = f'"{stamp(row["created_at"])}"'
    members["updated_at"] = f'"{stamp(row["updated_at"])}"'
    members["langsmith_session_name"] = "null"
    if row["cancel_reason"] is not None or (select and "cancel_reason" in select):
        members["cancel_reason"] = text(row["cancel_reason"])
    return _object(members, select)


def run_created(event: ev.RunCreated, time: str) -> bytes:
    """The run that an event has just made: pending."""
    metadata = _encode(event.metadata).decode()
    return (
        f'{{"run_id":"{event.run_id}","thread_id":"{event.thread_id}","assistant_id":"{event.assistant_id}",'
        f'"metadata":{metadata},"status":"pending","kwargs":{shown_kwargs(bytes(event.kwargs), metadata, 0)},'
        f'"multitask_strategy":"{event.multitask_strategy}","created_at":"{time}","updated_at":"{time}",'
        f'"langsmith_session_name":null}}'
    ).encode()


def error_answer(error: str, message: str) -> bytes:
    """What ``/wait`` and ``/join`` answer when there is no output (wire contract §5.2)."""
    return _encode({"__error__": {"error": error, "message": message}})


RUN_NOT_FOUND = error_answer("HTTPException", "404: Run not found")


# --- store -----------------------------------------------------------------------------------


def item(row: Row) -> str:
    """A row of ``store_items``."""
    return f"{{{_item(row)}}}"


def found_item(row: Row, score: float | None) -> str:
    """The same as a search has found it: ``score`` is how near it is to what was searched for, if that was by meaning."""
    return f'{{{_item(row)},"score":{"null" if score is None else repr(score)}}}'


def _item(row: Row) -> str:
    return (
        f'"namespace":{_encode(row["namespace"]).decode()},"key":{text(row["key"])},"value":{row["value"]},'
        f'"created_at":"{stamp(row["created_at"])}","updated_at":"{stamp(row["updated_at"])}"'
    )


# --- states ----------------------------------------------------------------------------------


def empty_state(checkpoint: Mapping[str, Any] | None = None, select: Sequence[str] = ()) -> bytes:
    """The state of a thread without checkpoints, or at a checkpoint that does not exist. ``select``: as `state_select.checked`."""
    state: dict[str, Any] = {
        "values": {},
        "next": [],
        "tasks": [],
        "metadata": None,
        "created_at": None,
        "checkpoint": checkpoint,
        "parent_checkpoint": None,
        "interrupts": [],
        "checkpoint_id": None if checkpoint is None else checkpoint.get("checkpoint_id"),
        "parent_checkpoint_id": None,
    }
    members = {name.partition(".")[0] for name in select}
    return _encode({name: value for name, value in state.items() if not select or name in members})
