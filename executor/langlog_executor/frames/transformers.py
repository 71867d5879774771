"""Stream transformers that a graph was compiled with (``compile(transformers=[…])``): run as langgraph runs them in a process.

langgraph's own ``astream_events(version="v3")`` drives them, so their order, their scopes and their hooks at the end are langgraph's.
The stream of the graph that it reads passes `ProtocolStream.tap` first. Used on the graph's own loop, on which langgraph may pull the
next part from a task of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import AsyncGenerator, Iterable
from typing import Any

from .protocol_stream import ProtocolStream

LOCAL = frozenset(
    {
        ("langgraph", "CheckpointsTransformer"),
        ("langgraph", "CustomTransformer"),
        ("langgraph", "DebugTransformer"),
        ("langgraph", "TasksTransformer"),
        ("langgraph", "ToolCallTransformer"),
        ("langgraph", "UpdatesTransformer"),
        ("langchain", "SubagentTransformer"),
    }
)
"""Transformers, by package and class, that neither change events nor push on named channels: what they make is for readers in the same
process. Each agent of langchain has two of them."""
ABORT_S = 1.0
"""Time for what transformers have scheduled when a run is stopped, in seconds."""


def required_modes(transformers: Iterable[Any]) -> set[str]:
    """Return the stream modes that a graph's transformers name on their classes."""
    return {mode for made in transformers for mode in getattr(made, "required_stream_modes", ())}


def speaking(transformers: Iterable[Any]) -> bool:
    """Return whether any of a graph's transformers can change what clients receive."""
    kinds = [made if isinstance(made, type) else type(made) for made in transformers]
    return any((kind.__module__.partition(".")[0], kind.__name__) not in LOCAL for kind in kinds)


async def transformed(
    graph: Any, graph_input: Any, config: Any, stream: ProtocolStream, options: dict[str, Any]
) -> AsyncGenerator[Any, None]:
    """Yield langgraph's events: the graph's parts that its transformers kept, and what they pushed on named channels.

    ``options``: those of ``astream``. Raises the errors of the graph and of its transformers. When it is closed, the graph has stopped.
    """
    sources: list[AsyncGenerator[Any, None]] = []

    def astream(given: Any, patched: Any, *, stream_mode: list[str], **rest: Any) -> AsyncGenerator[Any, None]:
        stream.heed(stream_mode)
        modes = sorted({*stream.library_modes, *stream_mode})
        sources.append(stream.tap(graph.astream(given, patched, stream_mode=modes, **rest), frozenset(stream_mode)))
        return sources[-1]

    driven = copy.copy(graph)
    vars(driven)["astream"] = astream
    wanted = {name: value for name, value in options.items() if name not in ("stream_mode", "subgraphs")}
    run = await driven.astream_events(graph_input, config, version="v3", **wanted)
    try:
        async for event in run:
            yield event
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ABORT_S):
                await run.abort()
        for source in sources:  # langgraph leaves it open when a transformer raises
            await source.aclose()
