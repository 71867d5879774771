"""JSON Schemas of a graph: input, output, state, config and context (wire contract §2). What cannot be derived is null.

Pure, apart from opening the graph; a schema that the library or pydantic cannot express never fails the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import structlog
import typing_extensions
from langchain_core.runnables import RunnableConfig
from langchain_core.utils.pydantic import create_model_v2
from langgraph.channels.base import BaseChannel
from langgraph.store.base import BaseStore

from .loading import AnyGraph, Graphs
from .type_schemas import object_schema, typed_dict_schema

logger = structlog.get_logger(__name__)

MEMBERS = ("input_schema", "output_schema", "state_schema", "config_schema", "context_schema")


async def schemas_of(
    graphs: Graphs,
    graph_id: str,
    config: RunnableConfig | None = None,
    store: BaseStore | None = None,
    user: Any = None,
) -> dict[str, Any]:
    """Return `graph_schemas` of a graph of the project. All null when its factory fails for this config and user."""
    try:
        async with graphs.open(graph_id, config, store=store, access_context="assistants.read", user=user) as graph:
            return graph_schemas(graph)
    except Exception:
        logger.warning("graph.no_schemas", graph_id=graph_id, exc_info=True)
        return dict.fromkeys(MEMBERS)


async def subgraph_schemas(graph: AnyGraph, namespace: str | None = None, *, recurse: bool) -> dict[str, Any]:
    """Return name (with ``recurse`` also ``outer|inner``) -> `graph_schemas`; empty when no subgraph has that name."""
    return {
        name: graph_schemas(cast(AnyGraph, subgraph))
        async for name, subgraph in graph.aget_subgraphs(namespace=namespace, recurse=recurse)
    }


def graph_schemas(graph: AnyGraph) -> dict[str, Any]:
    """Return the object of ``GET /assistants/{id}/schemas`` without ``graph_id``."""
    return {
        "input_schema": _derive(
            graph.get_input_jsonschema, lambda: _by_fields(graph, "input_schema", "Input", graph.input_channels)
        ),
        "output_schema": _derive(
            graph.get_output_jsonschema, lambda: _by_fields(graph, "output_schema", "Output", graph.output_channels)
        ),
        "state_schema": _derive(lambda: _state_schema(graph), lambda: _state_by_fields(graph)),
        "config_schema": {} if graph.context_schema is None else _context_schema(graph),
        "context_schema": _context_schema(graph),
    }


def _context_schema(graph: AnyGraph) -> dict[str, Any] | None:
    kind = graph.context_schema
    if not typing_extensions.is_typeddict(kind):
        return _derive(graph.get_context_jsonschema)
    return _derive(graph.get_context_jsonschema, lambda: typed_dict_schema(kind))


def _state_schema(graph: AnyGraph) -> dict[str, Any]:
    fields: dict[str, Any] = {name: (kind, None) for name, kind in _state_fields(graph).items()}
    schema: dict[str, Any] = create_model_v2(graph.get_name("state"), field_definitions=fields).model_json_schema()
    return schema


def _state_by_fields(graph: AnyGraph) -> dict[str, Any]:
    fields = _state_fields(graph)
    return object_schema(graph.get_name("state"), fields, frozenset(fields))


def _state_fields(graph: AnyGraph) -> dict[str, Any]:
    channels = {name: graph.channels[name] for name in graph.stream_channels_list}
    return {name: channel.UpdateType for name, channel in channels.items() if isinstance(channel, BaseChannel)}


def _by_fields(graph: AnyGraph, attribute: str, suffix: str, channels: str | Sequence[str]) -> dict[str, Any] | None:
    """Return the schema of the declared TypedDict, or of the channels if the graph declares none."""
    declared = getattr(getattr(graph, "builder", None), attribute, None)
    if typing_extensions.is_typeddict(declared):
        return typed_dict_schema(declared)
    if isinstance(channels, str):
        return None
    fields = {
        name: channel.UpdateType for name in channels if isinstance(channel := graph.channels.get(name), BaseChannel)
    }
    return object_schema(graph.get_name(suffix), fields, frozenset(fields))


def _unfolded(schema: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the same schema with its members at the top: pydantic names a type that contains itself, and refers to it from there.

    Clients of MCP want ``"type": "object"`` at the top.
    """
    if schema is None or "$ref" not in schema:
        return schema
    own = schema.get("$defs", {}).get(schema["$ref"].rpartition("/")[2])
    return schema if own is None else {**own, **{name: value for name, value in schema.items() if name != "$ref"}}


def _derive(*ways: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
    """Return the result of the first way that does not fail; None if all fail, with one log line."""
    error: Exception | None = None
    for way in ways:
        try:
            return _unfolded(way())
        except Exception as failure:  # a type that pydantic has no schema for
            error = error or failure
    logger.warning("graph.no_schema", error=str(error).partition("\n")[0])
    return None
