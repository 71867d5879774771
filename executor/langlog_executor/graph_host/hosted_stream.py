"""The stream of a graph on the host, as frames: the worker's half of ``streams/items.ts``, which defines the items.

Replaces `RunStream` and `ProtocolStream`: one per attempt, no effects besides the calls of ``emit``, and it
remembers what the report at the end needs. On the I/O loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from langlog_backbone.values.json_shape import without_nul
from langlog_schemas.runs.ends import LifecycleStatus

from ..frames.last_values import LastValues
from ..frames.protocol_events import ProtocolEvents
from ..frames.run_stream import Emit
from ..frames.subgraphs import Subgraphs

if TYPE_CHECKING:
    from .hosted_spans import HostedSpans

FRAME, VALUES, INTERRUPTED, INTERRUPTS, TASK, MARK, SPAN, UNTRACKED = range(8)


class HostedInterrupt(NamedTuple):
    """The parts of an interrupt that `ProtocolEvents.interrupted` uses."""

    id: str
    value: Any
    response_schema: dict[str, Any] | None = None


def _ignore(checkpoint_id: str) -> None:
    return None


class HostedStream:
    def __init__(
        self, emit: Emit, protocol: ProtocolEvents, *, nested: bool, mark: Callable[[str], None] | None = None
    ) -> None:
        """``nested``: emit beginnings and ends of subgraphs, for the streaming protocol. ``mark``: as in `RunStream`."""
        self._emit = emit
        self._protocol = protocol
        self._subgraphs = Subgraphs(protocol) if nested else None
        self._mark = mark or _ignore
        self.last = LastValues()
        self.interrupted = False
        self.spans: HostedSpans | None = None
        """Of a run that is traced."""

    @property
    def values_json(self) -> bytes | None:
        """Return the last values of the whole state that the thread keeps, or None."""
        return self.last.kept

    def take(self, items: list[list[Any]]) -> None:
        """Handle an item of the host's stream. Raises ValueError for an unknown item."""
        for item in items:
            match item:
                case [0, name, data]:
                    self._emit(name, without_nul(data))
                case [1, name, data]:
                    self.last.streamed = without_nul(data)
                    self._emit(name, self.last.streamed)
                case [2]:
                    self.interrupted = True
                case [3, data]:
                    self._on_interrupts(data)
                case [4, namespace, data]:
                    if self._subgraphs is not None:
                        self._subgraphs.task(tuple(namespace), msgspec.json.decode(data))
                case [5, checkpoint_id]:
                    self._mark(checkpoint_id)
                case [6, *span]:
                    if self.spans is not None:
                        self.spans.take(span)
                case [7, names]:
                    self.last.untracked = frozenset(names)
                case _:
                    raise ValueError(
                        f"the graph host streamed an item of a kind {item[:1]}, which this worker does not know"
                    )

    def end(self, status: LifecycleStatus, error: str | None = None) -> None:
        """End open subgraphs with the graph. The host has ended its messages."""
        if self._subgraphs is not None:
            self._subgraphs.end(status, error)

    def _on_interrupts(self, data: bytes) -> None:
        interrupts: Any = [
            HostedInterrupt(str(one.get("id") or ""), one.get("value"), one.get("response_schema"))
            for one in msgspec.json.decode(data)
        ]
        if self._subgraphs is not None:
            self._subgraphs.end("interrupted")
        self._protocol.interrupted(interrupts)
