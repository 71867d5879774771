"""JSON Schemas of a graph: input, output, state, config and context (API.md 2). What cannot be derived is null.

Pure, apart from opening the graph; a schema that the library or pydantic cannot express never fails the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import structlog
from langchain_core.utils.pydantic import create_model_v2
from langgraph.channels.base import BaseChannel
from langgraph.store.base import BaseStore

from .graphs import AnyGraph, Graphs

logger = structlog.get_logger(__name__)

MEMBERS = ("input_schema", "output_schema", "state_schema", "config_schema", "context_schema")


async def schemas_of(
    graphs: Graphs, graph_id: str, config: dict[str, Any] | None = None, store: BaseStore | None = None
) -> dict[str, Any]:
    """`graph_schemas` of a graph of the project. All null when its factory fails for this config."""
    try:
        async with graphs.open(graph_id, config, store=store, access_context="assistants.read") as graph:
            return graph_schemas(graph)
    except Exception:
        logger.warning("graph.no_schemas", graph_id=graph_id, exc_info=True)
        return dict.fromkeys(MEMBERS)


async def subgraph_schemas(graph: AnyGraph, namespace: str | None = None, *, recurse: bool) -> dict[str, Any]:
    """Name (with ``recurse`` also ``outer|inner``) -> `graph_schemas`; empty when there is none of that name."""
    return {
        name: graph_schemas(cast(AnyGraph, subgraph))
        async for name, subgraph in graph.aget_subgraphs(namespace=namespace, recurse=recurse)
    }


def graph_schemas(graph: AnyGraph) -> dict[str, Any]:
    """The object of ``GET /assistants/{id}/schemas`` without ``graph_id``."""
    return {
        "input_schema": _try(graph.get_input_jsonschema),
        "output_schema": _try(graph.get_output_jsonschema),
        "state_schema": _try(lambda: _state_schema(graph)),
        "config_schema": {} if graph.context_schema is None else _try(graph.get_context_jsonschema),
        "context_schema": _try(graph.get_context_jsonschema),
    }


def _state_schema(graph: AnyGraph) -> dict[str, Any]:
    fields = {}
    for name in graph.stream_channels_list:
        channel = graph.channels[name]
        if isinstance(channel, BaseChannel):
            fields[name] = (channel.UpdateType, None)
    found: dict[str, Any] = create_model_v2(graph.get_name("state"), field_definitions=fields).model_json_schema()
    return found


def _try(derive: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
    try:
        return derive()
    except Exception:  # a type that pydantic has no schema for
        return None
