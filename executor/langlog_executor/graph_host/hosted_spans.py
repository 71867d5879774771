"""Spans of nodes, model calls and tools of a graph on the host, for traces: made of the items of ``streams/spans.ts``.

The same as `NodeSpans` of graphs in Python. A span begins and ends when its item arrives. What is not over when the attempt ends is
not sent. On the I/O loop.
"""

from __future__ import annotations

from typing import Any

from langlog_backbone.process import tracing


class HostedSpans:
    def __init__(self, parent: str) -> None:
        """``parent``: the attempt's traceparent."""
        self._parent = parent
        self._open: dict[str, tracing.Span] = {}
        self._above: dict[str, str | None] = {}

    def take(self, item: list[Any]) -> None:
        """Handle an item, without its kind. Raises ValueError for an unknown one."""
        match item:
            case [str(id), error]:
                self._end(id, error)
            case [str(id), parent, kind, name, step]:
                self._above[id] = parent
                if kind is not None:
                    known = {} if step is None else {"langlog.step": int(step)}
                    self._open[id] = tracing.span(f"{kind} {name}", known, parent=self._around(parent))
            case _:
                raise ValueError(
                    f"the graph host streamed a span of {len(item)} parts, which this worker does not know"
                )

    def _around(self, id: str | None) -> str:
        while id is not None:
            span = self._open.get(id)
            if span is not None and span.traceparent is not None:
                return span.traceparent
            id = self._above.get(id)
        return self._parent

    def _end(self, id: str, error: str | None) -> None:
        self._above.pop(id, None)
        span = self._open.pop(id, None)
        if span is not None:
            if error is not None:
                span.fail(error)
            span.end()
