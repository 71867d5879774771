"""Beginnings and ends of a run's subgraphs, derived from the tasks that the library streams (mode ``tasks``).

A subgraph's namespace ends in ``<node>:<task>``: it begins with the first task in it, and ends with the result of that task in the
graph around it. One `Subgraphs` per attempt, on the graph's loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from langlog_schemas.runs.ends import LifecycleStatus

from ..values.error_text import text_of
from ..values.redaction import shown
from .protocol_events import ProtocolEvents

AGENT_NAME = "lc_agent_name"
"""Metadata with the name of an agent that ``create_agent`` made."""


class _Open(NamedTuple):
    graph_name: str
    task_id: str | None


class Subgraphs:
    def __init__(self, events: ProtocolEvents) -> None:
        self._events = events
        self._open: dict[tuple[str, ...], _Open] = {}
        self._seen: set[tuple[str, ...]] = set()
        self._calls: dict[str, str] = {}
        """Task -> the tool call that it executes."""

    def task(self, namespace: tuple[str, ...], data: Mapping[str, Any]) -> None:
        """Handle the beginning or the result of a task."""
        if "result" in data:
            self._result(namespace, data)
            return
        task_id = data.get("id")
        call = _tool_call(data.get("input"))
        if isinstance(task_id, str) and call is not None:
            self._calls[task_id] = call
        if namespace and namespace not in self._seen:
            self._begin(namespace, data.get("metadata") or {})

    def end(self, status: LifecycleStatus, error: str | None = None) -> None:
        """End open subgraphs with the run, the innermost first."""
        for namespace in sorted(self._open, key=len, reverse=True):
            self._events.subgraph_closed(namespace, self._open[namespace].graph_name, status, error)
        self._open.clear()

    def _begin(self, namespace: tuple[str, ...], metadata: Mapping[str, Any]) -> None:
        self._seen.add(namespace)
        node, _, task_id = namespace[-1].partition(":")
        agent = metadata.get(AGENT_NAME)
        name = agent if isinstance(agent, str) else node
        call = self._calls.get(task_id) if agent is not None else None
        cause = None if call is None else {"type": "toolCall", "tool_call_id": call}
        self._open[namespace] = _Open(name, task_id or None)
        self._events.subgraph_started(namespace, name, task_id or None, cause)

    def _result(self, namespace: tuple[str, ...], data: Mapping[str, Any]) -> None:
        for interrupt in data.get("interrupts") or ():
            self._events.raised_in(namespace, interrupt.get("id") if isinstance(interrupt, Mapping) else None)
        for inner, opened in list(self._open.items()):
            if inner[:-1] != namespace or opened.task_id != data.get("id"):
                continue
            del self._open[inner]
            if data.get("interrupts"):
                self._events.subgraph_closed(inner, opened.graph_name, "interrupted")
            elif data.get("error"):
                self._events.subgraph_closed(inner, opened.graph_name, "failed", shown(text_of(data["error"])))
            else:
                self._events.subgraph_closed(inner, opened.graph_name, "completed")


def _tool_call(task_input: Any) -> str | None:
    """Return the id of the tool call that a task was begun with: alone, or the first of a list."""
    tool_call = task_input.get("tool_call") if isinstance(task_input, Mapping) else None
    if tool_call is None and isinstance(task_input, list):
        tool_call = next(
            (call for call in task_input if isinstance(call, Mapping) and isinstance(call.get("id"), str)), None
        )
    id = tool_call.get("id") if isinstance(tool_call, Mapping) else None
    return id if isinstance(id, str) else None
