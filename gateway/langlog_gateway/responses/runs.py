"""Runs (wire contract §5)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Literal

from langlog_backbone.history.run_view import shown_kwargs
from langlog_schemas import events as ev
from langlog_schemas.commands import MultitaskStrategy
from langlog_schemas.events import RunStatus
from msgspec import UNSET, Raw, Struct, UnsetType

from .members import JsonObject, Row, Time, Uuid, encode, raw, stamp


class Run(Struct):
    """One execution of a graph on a thread. Present members depend on `select`."""

    run_id: Uuid | UnsetType = UNSET
    """Id of the run"""
    thread_id: Uuid | UnsetType = UNSET
    """Id of the thread"""
    assistant_id: Uuid | UnsetType = UNSET
    """Id of the assistant"""
    metadata: JsonObject | UnsetType = UNSET
    """Metadata of assistant, thread and run, merged"""
    status: RunStatus | UnsetType = UNSET
    """`success` also if the graph stopped at an interrupt; `interrupted` if the run was cancelled"""
    kwargs: JsonObject | UnsetType = UNSET
    """The request as the server understood it: input, command, config, context and options"""
    multitask_strategy: MultitaskStrategy | UnsetType = UNSET
    """Behavior when the thread was busy: `enqueue`, `reject`, `interrupt` or `rollback`"""
    created_at: Time | UnsetType = UNSET
    """Time of creation"""
    updated_at: Time | UnsetType = UNSET
    """Time of the last change"""
    langsmith_session_name: str | UnsetType | None = UNSET
    """Project of the run's trace in LangSmith"""
    cancel_reason: str | UnsetType | None = UNSET
    """Reason of the cancellation, if one was given"""


class Retried(Struct):
    """Outcome of retrying a run."""

    retried_run_id: Uuid
    """Id of the run that failed"""
    thread_id: Uuid | None
    """Id of its thread; null if the run was not found"""
    status: Literal["created", "refused"]
    """`created`: there is a new run"""
    run_id: Uuid | UnsetType = UNSET
    """Id of the new run; absent if none was created"""
    code: int | UnsetType = UNSET
    """HTTP status of the refusal: 404 if the run was not found, 409 if it cannot be retried"""
    detail: str | UnsetType = UNSET
    """Reason for which no run was created"""


def run(row: Row, select: Collection[str] = ()) -> Run:
    """Return the run of a row; with ``select`` only those members (``kwargs`` need not be in the row unless it is one of them)."""
    if select:
        return Run(**{name: _MEMBERS[name](row) for name in _MEMBERS if name in select})
    return Run(
        run_id=row["run_id"],
        thread_id=row["thread_id"],
        assistant_id=row["assistant_id"],
        metadata=raw(row["metadata"]),
        status=row["status"],
        kwargs=_kwargs(row),
        multitask_strategy=row["multitask_strategy"],
        created_at=stamp(row["created_at"]),
        updated_at=stamp(row["updated_at"]),
        langsmith_session_name=None,
        cancel_reason=UNSET if row["cancel_reason"] is None else row["cancel_reason"],
    )


def _kwargs(row: Row) -> Raw:
    return Raw(shown_kwargs(row["kwargs"], row["metadata"], row["attempt"] if row["started_at"] else 0))


_MEMBERS: dict[str, Callable[[Row], Any]] = {
    "run_id": lambda row: row["run_id"],
    "thread_id": lambda row: row["thread_id"],
    "assistant_id": lambda row: row["assistant_id"],
    "metadata": lambda row: raw(row["metadata"]),
    "status": lambda row: row["status"],
    "kwargs": _kwargs,
    "multitask_strategy": lambda row: row["multitask_strategy"],
    "created_at": lambda row: stamp(row["created_at"]),
    "updated_at": lambda row: stamp(row["updated_at"]),
    "langsmith_session_name": lambda row: None,
    "cancel_reason": lambda row: row["cancel_reason"],
}


def created_run(event: ev.RunCreated, time: str) -> Run:
    """Return the pending run that an event has just created."""
    metadata = encode(event.metadata)
    return Run(
        run_id=event.run_id,
        thread_id=event.thread_id,
        assistant_id=event.assistant_id,
        metadata=Raw(metadata),
        status="pending",
        kwargs=Raw(shown_kwargs(bytes(event.kwargs), metadata.decode(), 0)),
        multitask_strategy=event.multitask_strategy,
        created_at=time,
        updated_at=time,
        langsmith_session_name=None,
    )


class Explanation(Struct):
    """Explanation of why a run is not moving."""

    run_id: str
    """Id of the run"""
    lines: list[str]
    """Sentences, the most important one first"""
    waits_for_run: str | None = None
    """Run of the same thread that this one waits for"""
