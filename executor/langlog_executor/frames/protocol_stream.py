"""Streams a graph in a run of the streaming protocol (wire contract §9): with subgraphs, and models in content blocks.

The library is used in its second form (``version="v2"``), in which values name their interrupts and chat models stream content
blocks. As `RunStream`: one per attempt, used on the graph's own loop by one task, no effects besides the calls of ``emit``; and it
records the values for the final report.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Mapping
from typing import Any

from langchain_core.messages import AIMessageChunk, BaseMessage
from langlog_schemas.runs.ends import LifecycleStatus

from ..values import encoding
from ..values.interrupts import INTERRUPT, interrupt_list
from ..values.library_features import GraphDrained
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

NAMED = "custom:"
"""Prefix of a method whose event was pushed on a transformer's named channel."""
SHOWN = frozenset({"custom", "tools", "updates", "values"})
UNSEEN = frozenset({"checkpoints", "debug", "lifecycle", "tasks"})
"""Methods of langgraph's own events that the protocol's events are not made of: `Subgraphs` emits the lifecycle."""


class ProtocolStream:
    events = False
    library_modes: tuple[str, ...] = ("messages", "tasks", "tools", "updates", "values")

    def __init__(self, emit: Emit, protocol: ProtocolEvents) -> None:
        self._emit = emit
        self._protocol = protocol
        self._subgraphs = Subgraphs(protocol)
        self._blocks = MessageBlocks()
        self._own: frozenset[str] = frozenset()
        self._stop: tuple[Any, ...] = ()
        self._drained = False
        self.last = LastValues()
        self.has_values = False
        self.interrupted = False

    @property
    def values_json(self) -> bytes | None:
        """Return the last values of the whole state that the thread keeps, or None."""
        return self.last.kept

    def heed(self, modes: Iterable[str]) -> None:
        """Add the stream modes that the graph's transformers require. Call it before `library_modes`."""
        self._own = OWN & frozenset(modes)
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
        encoded = self._record(mode, namespace, data, interrupts)
        self._show(mode, namespace, data, interrupts, encoded)

    async def tap(self, parts: AsyncGenerator[Any, None], required: Collection[str]) -> AsyncGenerator[Any, None]:
        """Yield the parts of ``astream`` that transformers require, and handle the others. What the run itself has to know is
        recorded here, whatever transformers make of it."""
        async with contextlib.aclosing(parts):
            try:
                async for part in parts:
                    mode, namespace, data = part["type"], tuple(part["ns"]), part["data"]
                    interrupts = part.get("interrupts") or ()
                    self._record(mode, namespace, data, interrupts)
                    if mode == "values" and not namespace and interrupts:
                        self._stop = interrupts
                    if mode in required:
                        yield part
                    else:
                        self._show(mode, namespace, data, interrupts)
            except GraphDrained:
                self._drained = True
                raise

    async def follow_transformed(self, events: AsyncIterator[Any]) -> None:
        """Handle what transformers have made of the parts that `tap` yields. Interrupts are shown last, after what transformers push
        when the graph has stopped: a client reads no further."""
        shown: tuple[Any, ...] = ()
        async for event in events:
            if self._drained:
                continue  # pushed by `fail`, but the run has not failed: another attempt continues it
            method, namespace, data = event["method"], tuple(event["params"]["namespace"]), event["params"]["data"]
            if method == "values" and not namespace and event["params"].get("interrupts"):
                shown = (data,)
            else:
                self._transformed(method, namespace, data)
        if self._stop:
            self._on_stop(self._stop, *shown)

    def _transformed(self, method: str, namespace: tuple[str, ...], data: Any) -> None:
        if method == "messages" and isinstance(data, tuple | list) and len(data) == 2:
            if data[0] is not None:
                self._on_message(namespace, *data)
        elif method in SHOWN:
            self._show(method, namespace, data)
        elif method not in UNSEEN:  # without the prefix it is the channel of a transformer that calls itself native
            self._protocol.custom(namespace, {"name": method.removeprefix(NAMED), "payload": data})

    def _record(
        self, mode: str, namespace: tuple[str, ...], data: Any, interrupts: tuple[Any, ...] = ()
    ) -> bytes | None:
        """Record what the run has to know of a part, and return the state that it had to encode for that."""
        match mode:
            case "tasks":
                self._subgraphs.task(namespace, data)
            case "updates" if not namespace and isinstance(data, dict) and INTERRUPT in data:
                self.interrupted = True
            # of a typed state the checkpoint knows which members are set
            case "values" if not namespace and not interrupts and isinstance(data, dict):
                self.has_values, self.last.streamed = True, encoding.encode(data)
                return self.last.streamed
        return None

    def _show(
        self,
        mode: str,
        namespace: tuple[str, ...],
        data: Any,
        interrupts: tuple[Any, ...] = (),
        encoded: bytes | None = None,
    ) -> None:
        match mode:
            case "values" if interrupts and not namespace:
                self._on_stop(interrupts, data)
            case "values":
                values = encoding.encode(data) if encoded is None else encoded
                self._emit("|".join(("values", *namespace)), values)
            case "messages":
                self._on_message(namespace, *data)
            case "tools":
                self._protocol.tool(namespace, data)
            case "updates" if "updates" in self._own:
                self._protocol.update(namespace, data)
            case "custom":
                self._protocol.custom(namespace, data)

    def end(self, status: LifecycleStatus, error: str | None = None) -> None:
        """End open messages and subgraphs with the graph."""
        for namespace, event in self._blocks.finish():
            self._protocol.message(namespace, event)
        self._subgraphs.end(status, error)

    def _on_stop(self, interrupts: tuple[Any, ...], *values: Any) -> None:
        """Emit the interrupts that the graph has stopped at, and its values, if there are any to show."""
        self.end("interrupted")
        self._protocol.interrupted(interrupts)
        for data in values:
            with_them = {**data, INTERRUPT: interrupt_list(interrupts)} if isinstance(data, dict) else data
            self._emit("values", encoding.encode(with_them))

    def _on_message(self, namespace: tuple[str, ...], message: Any, about: Mapping[str, Any]) -> None:
        if isinstance(message, BaseMessage):
            if not isinstance(message, AIMessageChunk) and not message.text and OF_A_MODEL not in about:
                return  # a node that passes on a tool call: no model speaks; the message is among the values
            for event in self._blocks.take(namespace, message):
                self._protocol.message(namespace, event)
        else:
            self._protocol.message(namespace, message)
