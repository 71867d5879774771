"""Drawings of a graph: its nodes and edges, with subgraphs expanded to a depth (wire contract §2). Pure, but for the library's own."""

from __future__ import annotations

from typing import Any

from .loading import AnyGraph

MAX_DEPTH = 16
"""Maximum depth of drawings that are made beforehand; deeper ones show as the deepest of them."""


async def drawing(graph: AnyGraph, *, xray: bool | int) -> dict[str, Any]:
    """Return ``{nodes, edges}``. ``xray``: whether, or how deep, subgraphs are expanded. Raises what the library cannot draw."""
    drawn: dict[str, Any] = (await graph.aget_graph(xray=xray)).to_json()
    for node in drawn["nodes"]:
        if isinstance(node.get("data"), dict):
            node["data"].pop("id", None)  # the class that runs the node is internal
    return drawn


async def drawings(graph: AnyGraph) -> list[dict[str, Any]]:
    """Return the drawings by depth: first without subgraphs, last with all of them."""
    whole = await drawing(graph, xray=True)
    by_depth = [await drawing(graph, xray=False)]
    while by_depth[-1] != whole and len(by_depth) < MAX_DEPTH:
        by_depth.append(await drawing(graph, xray=len(by_depth)))
    return by_depth if by_depth[-1] == whole else [*by_depth, whole]
