"""Streams a graph in a run of the streaming protocol (wire contract §9): with subgraphs, and models in content blocks.

The library is used in its second form (``version="v2"``), in which values name their interrupts and chat models stream content
blocks. As `RunStream`: one per attempt, used on the graph's own loop by one task, no effects besides the calls of ``emit``; and it
records the values for the final report.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from langchain_core.messages import AIMessageChunk, BaseMessage
from langlog_schemas.runs.ends import LifecycleStatus

from ..values import encoding
from ..values.interrupts import INTERRUPT, interrupt_list
from ..values.message_blocks import MessageBlocks
from .last_values import LastValues
from .protocol_events import ProtocolEvents
from .run_stream import Emit
from .subgraphs import Subgraphs

BLOCKS = "__pregel_stream_messages_v2"
"""Configurable by which the library makes chat models stream content blocks; without it they speak in chunks, which are translated."""


OF_A_MODEL = "ls_model_type"
"""Member of a message's metadata that is present if a chat model produced it, streamed or not."""

OWN = frozenset({"custom", "updates"})
"""Modes that a run emits when a transformer of the graph requests them (``compile(transformers=[CustomTransformer])``)."""


class ProtocolStream:
    events = False
    library_modes: tuple[str, ...] = ("messages", "tasks", "tools", "updates", "values")

    def __init__(self, emit: Emit, protocol: ProtocolEvents) -> None:
        self._emit = emit
        self._protocol = protocol
        self._subgraphs = Subgraphs(protocol)
        self._blocks = MessageBlocks()
        self._own: frozenset[str] = frozenset()
        self.last = LastValues()
        self.has_values = False
        self.interrupted = False

    @property
    def values_json(self) -> bytes | None:
        """Return the last values of the whole state that the thread keeps, or None."""
        return self.last.kept

    def heed(self, transformers: Iterable[Any]) -> None:
        """Add the stream modes of the transformers that the graph was compiled with. Call it before
        `library_modes`."""
        required = {mode for made in transformers for mode in getattr(made, "required_stream_modes", ())}
        self._own = OWN & required
        self.library_modes = tuple(sorted({*self.library_modes, *self._own}))

    async def follow(self, parts: AsyncIterator[Any]) -> None:
        """Handle all parts of ``astream``, in its second form or, if the library has only the first, in that."""
        async for part in parts:
            if isinstance(part, tuple):
                self._first_form(*part)
            else:
                self.part(part["type"], tuple(part["ns"]), part["data"], part.get("interrupts") or ())

    def _first_form(self, namespace: tuple[str, ...], mode: str, data: Any) -> None:
        """Handle a chunk of the first form, whose values include interrupts."""
        interrupts: tuple[Any, ...] = ()
        if mode == "values" and isinstance(data, dict) and INTERRUPT in data:
            interrupts = tuple(data[INTERRUPT])
            data = {name: value for name, value in data.items() if name != INTERRUPT}
        self.part(mode, tuple(namespace), data, interrupts)

    def part(self, mode: str, namespace: tuple[str, ...], data: Any, interrupts: tuple[Any, ...] = ()) -> None:
        match mode:
            case "values":
                self._on_values(namespace, data, interrupts)
            case "messages":
                self._on_message(namespace, *data)
            case "tasks":
                self._subgraphs.task(namespace, data)
            case "tools":
                self._protocol.tool(namespace, data)
            case "updates":
                if not namespace and isinstance(data, dict) and INTERRUPT in data:
                    self.interrupted = True
                if "updates" in self._own:
                    self._protocol.update(namespace, data)
            case "custom":
                self._protocol.custom(namespace, data)

    def end(self, status: LifecycleStatus, error: str | None = None) -> None:
        """End open messages and subgraphs with the graph."""
        for namespace, event in self._blocks.finish():
            self._protocol.message(namespace, event)
        self._subgraphs.end(status, error)

    def _on_values(self, namespace: tuple[str, ...], data: Any, interrupts: tuple[Any, ...]) -> None:
        encoded = encoding.encode(data)
        if namespace:
            self._emit("|".join(("values", *namespace)), encoded)
            return
        if interrupts:
            self.end("interrupted")
            self._protocol.interrupted(interrupts)
            if isinstance(data, dict):
                encoded = encoding.encode({**data, INTERRUPT: interrupt_list(interrupts)})
        elif isinstance(data, dict):  # of a typed state the checkpoint knows which members are set
            self.has_values, self.last.streamed = True, encoded
        self._emit("values", encoded)

    def _on_message(self, namespace: tuple[str, ...], message: Any, about: Mapping[str, Any]) -> None:
        if isinstance(message, BaseMessage):
            if not isinstance(message, AIMessageChunk) and not message.text and OF_A_MODEL not in about:
                return  # a node that passes on a tool call: no model speaks; the message is among the values
            for event in self._blocks.take(namespace, message):
                self._protocol.message(namespace, event)
        else:
            self._protocol.message(namespace, message)
