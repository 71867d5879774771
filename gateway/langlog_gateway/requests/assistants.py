"""Request bodies of assistants (wire contract §2)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from langlog_schemas.json_types import Object
from msgspec import UNSET, Meta, Struct, UnsetType

from .members import ENTRIES_MAX, Description, Limit, Name, Offset, SortOrder

AssistantColumn = Literal[
    "assistant_id",
    "graph_id",
    "name",
    "description",
    "config",
    "context",
    "created_at",
    "updated_at",
    "metadata",
    "version",
]


COMPONENT_NAME_MAX = 1_000
"""Maximum length of a component's name, in characters."""


class AssistantCreate(Struct):
    """A new assistant: a graph with a configuration of its own."""

    graph_id: str
    """Name of the graph in `langgraph.json`"""
    assistant_id: str | None = None
    """Id of the assistant; the server creates one if it is absent"""
    config: Object = {}
    """Configuration of the assistant's runs: `tags`, `recursion_limit`, `configurable`. Set either this `configurable` or
    `context`: the server copies one to the other"""
    context: Object = {}
    """Static context of the assistant's runs"""
    metadata: Object = {}
    """Metadata, any JSON object"""
    name: Name = "Untitled"
    """Name, not necessarily unique"""
    description: Description | None = None
    """Description for people and for MCP clients"""
    if_exists: Literal["raise", "do_nothing"] = "raise"
    """Response if the id is taken: `raise` is 409, `do_nothing` returns the existing assistant"""


class AssistantPatch(Struct):
    """Changes of an assistant. Absent members keep their values; every update creates a version."""

    graph_id: str | UnsetType = UNSET
    """Name of the graph in `langgraph.json`"""
    config: Object | UnsetType = UNSET
    """New configuration; replaces the old one"""
    context: Object | UnsetType = UNSET
    """New static context; replaces the old one"""
    metadata: Object | UnsetType = UNSET
    """Members to merge into the metadata"""
    name: Name | UnsetType = UNSET
    """New name"""
    description: Description | UnsetType = UNSET
    """New description"""


class AssistantSearch(Struct):
    """Conditions and form of a search for assistants. All conditions must hold."""

    metadata: Object = {}
    """Metadata that the objects must contain; nested objects are compared member by member"""
    graph_id: str | UnsetType = UNSET
    """Name of the assistants' graph"""
    name: str | UnsetType = UNSET
    """Part of the name, in upper or lower case"""
    limit: Limit = 10
    """Maximum number of entries"""
    offset: Offset = 0
    """Number of entries to skip"""
    sort_by: Literal["assistant_id", "created_at", "updated_at", "name", "graph_id"] = "created_at"
    """Member to sort by"""
    sort_order: SortOrder = "desc"
    """Direction of sorting"""
    select: Annotated[list[AssistantColumn], Meta(max_length=ENTRIES_MAX)] = []
    """Members to return; an empty list returns all"""


class AssistantCount(Struct):
    """Conditions of a count of assistants. All conditions must hold."""

    metadata: Object = {}
    """Metadata that the objects must contain; nested objects are compared member by member"""
    graph_id: str | UnsetType = UNSET
    """Name of the assistants' graph"""
    name: str | UnsetType = UNSET
    """Part of the name, in upper or lower case"""


class AssistantVersions(Struct):
    """Conditions of a list of versions, newest first."""

    metadata: Object = {}
    """Metadata that the versions must contain"""
    limit: Limit = 10
    """Maximum number of entries"""
    offset: Offset = 0
    """Number of entries to skip"""


class AssistantLatest(Struct):
    """The version to go back or forward to."""

    version: int | UnsetType = UNSET
    """Number of the version. No version is created, and later ones stay listed"""


class ComponentQuery(Struct):
    """The component to render."""

    name: Annotated[str, Meta(min_length=1, max_length=COMPONENT_NAME_MAX)]
    """Name of the component, as the module in `ui` exports it and messages of the graph name it"""


ASSISTANT_CREATE = msgspec.json.Decoder(AssistantCreate)
ASSISTANT_PATCH = msgspec.json.Decoder(AssistantPatch)
ASSISTANT_SEARCH = msgspec.json.Decoder(AssistantSearch)
ASSISTANT_COUNT = msgspec.json.Decoder(AssistantCount)
ASSISTANT_VERSIONS = msgspec.json.Decoder(AssistantVersions)
ASSISTANT_LATEST = msgspec.json.Decoder(AssistantLatest)
COMPONENT_QUERY = msgspec.json.Decoder(ComponentQuery)
