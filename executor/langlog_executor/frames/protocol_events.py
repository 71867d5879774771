"""Events of the streaming protocol (wire contract §9), as a worker emits them: frames whose names begin with ``@``.

A frame's name holds everything that readers select by: ``@<method>/<hint>|<namespace…>``. The hint is part of the event's id if the same
event has the same id for all readers (``lifecycle/completed``, ``input.requested/<interrupt>``); of ``custom`` it is the name. Names
with ``@@`` are about the end of the run, which readers receive once it can be looked up. No state beyond the reported
end;
called on the same threads as `FramesOut.emit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from langlog_schemas.runs.ends import LifecycleStatus
from langlog_schemas.runs.errors import Refusal

from ..values import encoding
from ..values.interrupts import requested

if TYPE_CHECKING:
    from langgraph.types import Interrupt

    from .run_stream import Emit

Namespace = Sequence[str]
CUSTOM_NAME_MAX = 200
"""Maximum length of the name of a ``custom`` event, in characters; it is part of the frame's name."""


class ProtocolEvents:
    def __init__(self, emit: Emit, graph_id: str) -> None:
        self._emit = emit
        self._graph_id = graph_id
        self._requested: set[str] = set()
        self._raised_in: dict[str, Namespace] = {}
        """Interrupt -> the graph that raised it; an interrupt of the whole graph may be missing."""
        self._interrupted = False

    def running(self, answered: Sequence[str] = ()) -> None:
        """Emit the beginning of the attempt. ``answered``: the interrupts that it answers by id, so that clients no longer offer them."""
        self._send("@lifecycle/running", (), {"event": "running", "graph_name": self._graph_id})
        if answered:
            self._send("@input.answered", (), {"interrupt_ids": list(answered)})

    def closed(self, status: LifecycleStatus, error: str | None = None, refusal: Refusal | None = None) -> None:
        """Emit the end of the run, unless its stop for a human was emitted already."""
        if status == "interrupted" and self._interrupted:
            return
        data: dict[str, Any] = {"event": status, "graph_name": self._graph_id}
        if error is not None:
            data["error"] = error
        if refusal is not None:
            data |= msgspec.structs.asdict(refusal)
        self._send(f"@@lifecycle/{status}", (), data)

    def raised_in(self, namespace: Namespace, interrupt_id: object) -> None:
        """Note where an interrupt was raised. The graphs around report it too, later: the first report counts."""
        if isinstance(interrupt_id, str):
            self._raised_in.setdefault(interrupt_id, namespace)

    def interrupted(self, interrupts: Sequence[Interrupt]) -> None:
        """Emit the interrupts of a graph that has stopped for a human, then the stop. The last values follow."""
        for interrupt in interrupts:
            if interrupt.id not in self._requested:
                self._requested.add(interrupt.id)
                namespace = self._raised_in.get(interrupt.id, ())
                self._send(f"@@input.requested/{interrupt.id}", namespace, requested(interrupt))
        self.closed("interrupted")
        self._interrupted = True

    def subgraph_started(
        self, namespace: Namespace, graph_name: str, trigger: str | None, cause: dict[str, Any] | None
    ) -> None:
        data: dict[str, Any] = {"event": "started", "namespace": list(namespace), "graph_name": graph_name}
        if trigger is not None:
            data["trigger_call_id"] = trigger
        if cause is not None:
            data["cause"] = cause
        self._send("@lifecycle", namespace, data)

    def subgraph_closed(
        self, namespace: Namespace, graph_name: str, status: LifecycleStatus, error: str | None = None
    ) -> None:
        data: dict[str, Any] = {"event": status, "graph_name": graph_name}
        if error is not None:
            data["error"] = error
        self._send(f"@lifecycle/{status}", namespace, data)

    def values(self, namespace: Namespace, data: bytes) -> None:
        """Emit state values that the run's own stream does not show, as JSON."""
        self._emit("|".join(("@values", *namespace)), data)

    def message(self, namespace: Namespace, event: Any) -> None:
        self._send("@messages", namespace, event)

    def tool(self, namespace: Namespace, event: Any) -> None:
        self._send("@tools", namespace, event)

    def update(self, namespace: Namespace, data: Any) -> None:
        self._send("@updates", namespace, data)

    def custom(self, namespace: Namespace, data: Any) -> None:
        """Emit custom data of a node. Clients subscribe by its member ``name``, so the event carries it; without such a name the event
        is the data alone."""
        name = data.get("name") if isinstance(data, dict) else None
        named = isinstance(name, str) and 0 < len(name) <= CUSTOM_NAME_MAX and "|" not in name
        self._send(f"@custom/{name}" if named else "@custom", namespace, data)

    def _send(self, name: str, namespace: Namespace, data: Any) -> None:
        self._emit("|".join((name, *namespace)), encoding.encode(data))
