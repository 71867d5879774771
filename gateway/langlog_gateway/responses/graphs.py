"""Graphs of assistants: their drawings and schemas (wire contract §2), as workers make them."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct, UnsetType

from .members import OptionalJsonObject


class DrawnNode(Struct):
    """A node of a graph."""

    id: str
    """Name of the node, with those of its subgraphs before it"""
    type: str | UnsetType = UNSET
    """Kind of the node"""
    data: Any = UNSET
    """Name or definition of the code that the node runs"""


class DrawnEdge(Struct):
    """An edge of a graph."""

    source: str
    """Id of the node that it leaves"""
    target: str
    """Id of the node that it enters"""
    conditional: bool | UnsetType = UNSET
    """Whether a condition chooses this edge"""
    data: Any = UNSET
    """Label of a conditional edge"""


class Drawing(Struct):
    """Nodes and edges of a graph."""

    nodes: list[DrawnNode]
    """All nodes"""
    edges: list[DrawnEdge]
    """All edges"""


class GraphSchemas(Struct):
    """JSON Schemas of a graph. A schema that cannot be derived is null."""

    graph_id: str | UnsetType = UNSET
    """Name of the graph"""
    input_schema: OptionalJsonObject | UnsetType = UNSET
    """Schema of the input"""
    output_schema: OptionalJsonObject | UnsetType = UNSET
    """Schema of the output"""
    state_schema: OptionalJsonObject | UnsetType = UNSET
    """Schema of the state"""
    config_schema: OptionalJsonObject | UnsetType = UNSET
    """Schema of `config.configurable`"""
    context_schema: OptionalJsonObject | UnsetType = UNSET
    """Schema of the static context"""
