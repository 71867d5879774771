"""Assistants (wire contract §2)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from langlog_schemas import events as ev
from msgspec import UNSET, Struct, UnsetType

from .members import JsonObject, Row, Time, Uuid, raw, raw_of, stamp


class Assistant(Struct):
    """A graph with a configuration of its own. Present members depend on `select`."""

    assistant_id: Uuid | UnsetType = UNSET
    """Id of the assistant"""
    graph_id: str | UnsetType = UNSET
    """Name of the graph in `langgraph.json`"""
    config: JsonObject | UnsetType = UNSET
    """Configuration of the assistant's runs"""
    context: JsonObject | UnsetType = UNSET
    """Static context of the assistant's runs"""
    metadata: JsonObject | UnsetType = UNSET
    """Metadata, any JSON object"""
    name: str | UnsetType = UNSET
    """Name, not necessarily unique"""
    created_at: Time | UnsetType = UNSET
    """Time of creation"""
    updated_at: Time | UnsetType = UNSET
    """Time of the last change"""
    version: int | UnsetType = UNSET
    """Number of the version, from 1"""
    description: str | UnsetType | None = UNSET
    """Description for people and for MCP clients"""


class AssistantVersion(Struct):
    """One version of an assistant."""

    assistant_id: Uuid
    """Id of the assistant"""
    version: int
    """Number of the version, from 1"""
    graph_id: str
    """Name of the graph in `langgraph.json`"""
    config: JsonObject
    """Configuration of the assistant's runs"""
    context: JsonObject
    """Static context of the assistant's runs"""
    metadata: JsonObject
    """Metadata, any JSON object"""
    created_at: Time
    """Time of creation of the version"""
    name: str
    """Name, not necessarily unique"""
    description: str | None
    """Description for people and for MCP clients"""


def assistant(row: Row, select: Collection[str] = ()) -> Assistant:
    """Return the assistant of a row; with ``select`` only those members (the others need not be in the row)."""
    return Assistant(**{name: _MEMBERS[name](row[name]) for name in _MEMBERS if not select or name in select})


_MEMBERS: dict[str, Callable[[Any], Any]] = {
    "assistant_id": str,
    "graph_id": str,
    "config": raw,
    "context": raw,
    "metadata": raw,
    "name": str,
    "created_at": stamp,
    "updated_at": stamp,
    "version": int,
    "description": lambda text: text,
}


def created_assistant(assistant_id: str, content: ev.AssistantVersion) -> Assistant:
    """Return the assistant that an event has just created."""
    return Assistant(
        assistant_id=assistant_id,
        graph_id=content.graph_id,
        config=raw_of(content.config),
        context=raw_of(content.context),
        metadata=raw_of(content.metadata),
        name=content.name,
        created_at=content.created_at,
        updated_at=content.created_at,
        version=content.version,
        description=content.description,
    )


def assistant_version(row: Row) -> AssistantVersion:
    """Return the version of a row of ``assistant_versions``."""
    return AssistantVersion(
        row["assistant_id"],
        row["version"],
        row["graph_id"],
        raw(row["config"]),
        raw(row["context"]),
        raw(row["metadata"]),
        stamp(row["created_at"]),
        row["name"],
        row["description"],
    )
