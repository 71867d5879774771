"""Spans of a graph's nodes, model calls and tools, for traces (`langlog_backbone.process.tracing`).

A callback handler of one attempt; the library calls it on the graph loop and in node threads. A span's parent is that of the
nearest thing around it that has one. What is not over when the attempt ends is not sent.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langlog_backbone.process import tracing

STEP = "graph:step:"
"""The library's tag prefix of nodes, as opposed to parts of one."""


class NodeSpans(BaseCallbackHandler):
    run_inline = True
    """Call handlers directly on the node's thread: a thread for each call would cost more than the span."""

    def __init__(self, parent: str) -> None:
        self._parent = parent
        self._open: dict[UUID, tracing.Span] = {}
        self._above: dict[UUID, UUID | None] = {}

    def _begin(self, kind: str, name: str, run_id: UUID, parent_run_id: UUID | None, **more: str | int | None) -> None:
        span = tracing.span(
            f"{kind} {name}", {f"langlog.{k}": v for k, v in more.items()}, parent=self._around(parent_run_id)
        )
        self._open[run_id] = span

    def _around(self, run_id: UUID | None) -> str:
        while run_id is not None:
            span = self._open.get(run_id)
            if span is not None and span.traceparent is not None:
                return span.traceparent
            run_id = self._above.get(run_id)
        return self._parent

    def _end(self, run_id: UUID, error: BaseException | None = None) -> None:
        self._above.pop(run_id, None)
        span = self._open.pop(run_id, None)
        if span is not None:
            if error is not None:
                span.fail(type(error).__qualname__)
            span.end()

    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: dict[str, Any],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        self._above[run_id] = parent_run_id
        step = next((tag for tag in tags or () if tag.startswith(STEP)), None)
        if step is not None:
            name = str((metadata or {}).get("langgraph_node") or kwargs.get("name"))
            self._begin("node", name, run_id, parent_run_id, step=int(step.removeprefix(STEP)))

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> Any:
        self._end(run_id)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> Any:
        self._end(run_id, error)

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[Any]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> Any:
        self._begin("model", _name(serialized, kwargs, "model"), run_id, parent_run_id)

    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> Any:
        self._begin("model", _name(serialized, kwargs, "model"), run_id, parent_run_id)

    def on_llm_end(self, response: Any, *, run_id: UUID, **kwargs: Any) -> Any:
        self._end(run_id)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> Any:
        self._end(run_id, error)

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> Any:
        self._begin("tool", _name(serialized, kwargs, "tool"), run_id, parent_run_id)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> Any:
        self._end(run_id)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> Any:
        self._end(run_id, error)


def _name(serialized: dict[str, Any] | None, more: dict[str, Any], otherwise: str) -> str:
    return str(more.get("name") or (serialized or {}).get("name") or otherwise)
