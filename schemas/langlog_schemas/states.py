"""States of threads as clients see them (wire contract §4): workers encode them, gateways pass them on."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct, UnsetType

from .json_types import Object


class FieldError(Struct):
    """Reason why a field does not fit the graph's schema."""

    error: str
    """Name of the exception's class"""
    message: str
    """Text of the exception"""


class Task(Struct):
    """A task of the next step."""

    id: str
    """Id of the task"""
    name: str
    """Name of the node"""
    path: list[Any]
    """Path of the task: the node or send that created it"""
    error: str | None
    """The exception that the task has raised, as text"""
    interrupts: list[Object]
    """Open interrupts: `id`, `value`, and `response_schema` if the graph names one"""
    checkpoint: Object | None
    """For a subgraph: address of its checkpoint"""
    state: State | None
    """For a subgraph, if requested: its state"""
    result: Any
    """Result that the task has written, once it has finished"""


class State(Struct):
    """State of a thread at a checkpoint. Present members depend on `select`."""

    values: Any = UNSET
    """Values of the state"""
    next: list[str] | UnsetType = UNSET
    """Nodes that run next; empty when the graph has finished"""
    tasks: list[Task] | UnsetType = UNSET
    """Tasks of the next step"""
    metadata: Object | UnsetType | None = UNSET
    """Metadata of the checkpoint: source, step, run and thread"""
    created_at: str | UnsetType | None = UNSET
    """Time of the checkpoint"""
    checkpoint: Object | UnsetType | None = UNSET
    """Address of the checkpoint"""
    parent_checkpoint: Object | UnsetType | None = UNSET
    """Address of the checkpoint before"""
    interrupts: list[Object] | UnsetType = UNSET
    """Open interrupts of all tasks"""
    checkpoint_id: str | UnsetType | None = UNSET
    """Id of the checkpoint (deprecated, see `checkpoint`)"""
    parent_checkpoint_id: str | UnsetType | None = UNSET
    """Id of the checkpoint before (deprecated, see `parent_checkpoint`)"""
    as_of: Any = UNSET
    """State of the thread at the time of the query parameter `as_of`: status, metadata and runs"""
    errors: dict[str, FieldError] | UnsetType = UNSET
    """Field -> reason why it does not fit the graph's schema; present only if the graph refuses the state"""
