"""Open interrupts of all threads, and outcomes of answers to them (langlog's own)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from langlog_backbone.history.event_view import node_of
from msgspec import UNSET, Raw, Struct, UnsetType

from .members import JsonObject, OptionalJsonObject, Row, Time, Uuid, raw, stamp


class Interrupt(Struct):
    """A question of a graph to a human that waits for an answer."""

    interrupt_id: str
    """Id of the interrupt, by which it is answered"""
    thread_id: Uuid
    """Id of the thread that was interrupted"""
    run_id: Uuid | None
    """Id of the thread's last run, which was interrupted; null if it was deleted"""
    assistant_id: str | None
    """Id of the assistant of the thread's last run"""
    graph_id: str | None
    """Graph that was interrupted"""
    task_id: str
    """Id of the task that waits; tasks of a state have the same ids"""
    node: str | None
    """Node of the graph that waits, or the node of the subgraph inside of which another one waits; null if a client has
    changed the state since"""
    value: Raw
    """Argument of `interrupt()` in the node"""
    response_schema: OptionalJsonObject
    """JSON Schema of the answer; null if the graph declares none"""
    created_at: Time
    """Time at which the thread was interrupted"""
    metadata: JsonObject
    """Metadata of the thread"""


class Answered(Struct):
    """Outcome of the answer to an interrupt."""

    thread_id: Uuid
    """Id of the thread"""
    interrupt_id: str
    """Id of the interrupt"""
    status: Literal["created", "refused"]
    """`created`: a run resumes the thread with the answer"""
    run_id: Uuid | UnsetType = UNSET
    """Id of that run; absent if the answer was refused"""
    code: int | UnsetType = UNSET
    """HTTP status of the refusal: 404 if nothing waits for an answer, 409 if the interrupt has been answered"""
    detail: str | UnsetType = UNSET
    """Reason for which the answer was refused"""


def interrupt(row: Row) -> Interrupt:
    """Return the interrupt of a row of the statement ``search`` of ``interrupts.sql``."""
    metadata: dict[str, Any] = msgspec.json.decode(row["metadata"])
    return Interrupt(
        interrupt_id=row["interrupt_id"],
        thread_id=row["thread_id"],
        run_id=row["run_id"],
        assistant_id=row["run_assistant_id"] or _text(metadata.get("assistant_id")),
        graph_id=row["run_graph_id"] or _text(metadata.get("graph_id")),
        task_id=row["task_id"],
        node=None if row["task_path"] is None else node_of(row["task_path"]),
        value=raw(row["value"]),
        response_schema=raw(row["response_schema"]),
        created_at=stamp(row["state_updated_at"]),
        metadata=raw(row["metadata"]),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
