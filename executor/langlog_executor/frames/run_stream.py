"""Turns a graph's output into the stream events of the wire contract (§6): names with namespaces, payloads in the contract's shapes.

One `RunStream` per attempt, used on the graph's own loop by one task; no effects besides the calls of ``emit``. Payloads are
encoded at once: nodes may change the objects that they yielded. It also records what the final report
needs (last values, whether the run was interrupted), so that a plain run reads no checkpoint again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage, BaseMessageChunk, message_chunk_to_message
from msgspec import Raw

from ..graphs.run_input import without_private
from ..values import encoding
from ..values.error_text import described
from ..values.interrupts import INTERRUPT, interrupt_list
from ..values.message_blocks import MessageBlocks
from .last_values import LastValues

if TYPE_CHECKING:
    from langlog_schemas.runs.ends import LifecycleStatus

    from .protocol_events import ProtocolEvents

Emit = Callable[[str, bytes], None]
"""Function of event name and data as JSON."""

LIBRARY_MODES = frozenset({"values", "updates", "custom", "tasks", "checkpoints", "debug", "messages", "tools"})
"""Modes with the same name in the library and the contract. ``messages-tuple`` and ``events`` are langlog's to make."""


class RunStream:
    """Turns chunks of ``graph.astream`` (or events of ``graph.astream_events``) into stream events."""

    def __init__(
        self,
        modes: Sequence[str],
        emit: Emit,
        protocol: ProtocolEvents,
        *,
        subgraphs: bool = False,
        recorded: Callable[[], Awaitable[None]] | None = None,
        mark: Callable[[str], None] | None = None,
    ) -> None:
        """``recorded``: waits until the graph's writes are in the log. ``mark``: is called with each checkpoint,
        between what was
        emitted before and what is emitted after it."""
        self._modes = frozenset(modes) or frozenset({"values"})
        self._emit = emit
        self._subgraphs = subgraphs
        self._recorded = recorded
        self._mark = mark
        self._protocol = protocol
        self._blocks = MessageBlocks()
        self._partial: dict[str, BaseMessageChunk] = {}
        self._seen: set[str] = set()
        self.last = LastValues()
        self.has_values = False
        self.interrupted = False
        """Whether the graph was stopped by `interrupt()` or by ``interrupt_before``/``interrupt_after``."""

    @property
    def events(self) -> bool:
        """Return whether ``astream_events`` has to be used."""
        return "events" in self._modes

    @property
    def library_modes(self) -> list[str]:
        """Return the modes to request from the library: those requested by the client, and the two for `values_json` and
        `interrupted`."""
        modes = {"values", "updates"} | (self._modes & LIBRARY_MODES)
        if self._mark is not None:
            modes.add("checkpoints")
        if "messages-tuple" in self._modes:
            modes.add("messages")
        return sorted(modes)

    @property
    def values_json(self) -> bytes | None:
        """Return the last values of the whole state that the thread keeps, or None."""
        return self.last.kept

    async def follow(self, chunks: AsyncIterator[Any]) -> None:
        """Handle all chunks of ``astream`` with a list of modes."""
        if self._subgraphs:
            async for namespace, mode, payload in chunks:
                await self._take(namespace, mode, payload)
        else:
            async for mode, payload in chunks:
                await self._take((), mode, payload)

    async def follow_events(self, events: AsyncIterator[Any], run_id: str) -> None:
        """Handle all events of ``astream_events`` version 2. The run's own stream events carry the chunks of the other modes."""
        async for event in events:
            if event["run_id"] == run_id and event["event"] == "on_chain_stream":
                chunk = event["data"]["chunk"]
                await self._take(*(chunk if self._subgraphs else ((), *chunk)))
            else:
                self._emit(
                    "events", encoding.encode({**event, "metadata": without_private(event.get("metadata") or {})})
                )

    async def _take(self, namespace: tuple[str, ...], mode: str, payload: Any) -> None:
        if _has_interrupt(payload):
            self._note_interrupts(namespace, payload[INTERRUPT])
            if self._recorded is not None:
                await self._recorded()
        self.chunk(namespace, mode, payload)

    def chunk(self, namespace: tuple[str, ...], mode: str, payload: Any) -> None:
        """Handle one chunk, with the library's name of its mode."""
        if mode == "values":
            self._on_values(namespace, payload)
        elif mode == "updates":
            if not namespace and isinstance(payload, dict) and INTERRUPT in payload:
                self.interrupted = True
            if "updates" in self._modes:
                self._send("updates", namespace, payload)
        elif mode == "messages":
            self._on_message(namespace, *payload)
        elif mode == "debug":
            self._send(mode, namespace, _debug(payload))
        elif mode == "checkpoints":
            if "checkpoints" in self._modes:
                self._send(mode, namespace, _without_private(payload))
            written = _checkpoint_id(payload)
            if self._mark is not None and not namespace and written is not None:
                self._mark(written)
        elif mode == "tasks" and mode in self._modes:
            self._send(mode, namespace, failure_named(payload))
        elif mode in self._modes:
            self._send(mode, namespace, payload)

    def _note_interrupts(self, namespace: tuple[str, ...], interrupts: Any) -> None:
        if isinstance(interrupts, tuple | list):  # a remote graph may send anything
            for interrupt in interrupts:
                self._protocol.raised_in(namespace, getattr(interrupt, "id", None))

    def _send(self, name: str, namespace: tuple[str, ...], payload: Any) -> None:
        self._emit("|".join((name, *namespace)) if namespace else name, encoding.encode(payload))

    def _on_values(self, namespace: tuple[str, ...], payload: Any) -> None:
        encoded = encoding.encode(payload)
        if not namespace:
            if isinstance(payload, dict) and INTERRUPT in payload:
                self._protocol.interrupted(payload[INTERRUPT])
            else:
                self.has_values, self.last.streamed = True, encoded
        if "values" in self._modes:
            self._emit("|".join(("values", *namespace)), encoded)
        else:
            self._protocol.values(namespace, encoded)

    def end(self, status: LifecycleStatus, error: str | None = None) -> None:
        """End open messages with the graph."""
        for namespace, event in self._blocks.finish():
            self._protocol.message(namespace, event)

    def _on_message(self, namespace: tuple[str, ...], message: Any, about: dict[str, Any]) -> None:
        metadata = without_private(about)
        if isinstance(message, BaseMessage):
            for event in self._blocks.take(namespace, message):
                self._protocol.message(namespace, event)
        if "messages-tuple" in self._modes:
            self._send("messages", namespace, (message, metadata))
            return
        if "messages" not in self._modes or not isinstance(message, BaseMessage):
            return
        key = message.id or ""
        if key not in self._seen:
            self._seen.add(key)
            self._send("messages/metadata", namespace, {key: {"metadata": metadata}})
        if isinstance(message, BaseMessageChunk):
            so_far = self._partial.get(key)
            whole = message if so_far is None else so_far + message
            assert isinstance(whole, BaseMessageChunk)
            self._partial[key] = whole
            self._send("messages/partial", namespace, [message_chunk_to_message(whole)])
        else:
            self._send("messages/complete", namespace, [message])


def _checkpoint_id(payload: Any) -> str | None:
    """Return the checkpoint in a payload of mode ``checkpoints``, or None: a remote graph may send any payload."""
    config = payload.get("config") if isinstance(payload, dict) else None
    configurable = config.get("configurable") if isinstance(config, dict) else None
    checkpoint_id = configurable.get("checkpoint_id") if isinstance(configurable, dict) else None
    return checkpoint_id if isinstance(checkpoint_id, str) else None


def _has_interrupt(payload: Any) -> bool:
    """Return whether the payload holds an interrupt: a client that receives one may query or answer it at once."""
    return isinstance(payload, dict) and INTERRUPT in payload


def _debug(payload: Any) -> Any:
    """Return a debug event: checkpoints also name themselves and their parent in the form of the thread API."""
    if not isinstance(payload, dict):
        return payload
    if payload.get("type") == "task_result":
        return {**payload, "payload": failure_named(payload["payload"])}
    if payload.get("type") != "checkpoint":
        return payload
    body = _without_private(payload["payload"])
    body["checkpoint"] = _address(body.get("config"))
    body["parent_checkpoint"] = _address(body.get("parent_config"))
    body["tasks"] = [_debug_task(task) for task in body.get("tasks", ())]
    return {**payload, "payload": body}


def failure_named(task: Any) -> Any:
    """Return a task's result with its failure in the form of the run's own error: ``{error, message}``."""
    if not isinstance(task, dict) or not isinstance(task.get("error"), BaseException):
        return task
    error = described(task["error"])
    return {**task, "error": {"error": error.error, "message": error.message}}


def _without_private(checkpoint: Any) -> dict[str, Any]:
    """Return a checkpoint for a stream: its configs without credentials of the run's caller."""
    body = dict(checkpoint)
    for name in ("config", "parent_config"):
        config = body.get(name)
        if config:
            body[name] = config | {
                part: without_private(config[part]) for part in ("configurable", "metadata") if config.get(part)
            }
    if body.get("metadata"):
        body["metadata"] = without_private(body["metadata"])
    return body


def _debug_task(task: dict[str, Any]) -> dict[str, Any]:
    """Return a task for a stream: a subgraph shows its checkpoint's address instead of a state."""
    state = task.get("state")
    if isinstance(state, dict) and "configurable" in state:
        shown = {k: v for k, v in task.items() if k != "state"}
        shown["checkpoint"] = state["configurable"]
        return shown
    return task


def _address(config: Any) -> dict[str, Any] | None:
    if not config:
        return None
    configurable = config["configurable"]
    address = {
        "checkpoint_id": configurable.get("checkpoint_id"),
        "thread_id": configurable.get("thread_id"),
        "checkpoint_ns": configurable.get("checkpoint_ns", ""),
    }
    if "checkpoint_map" in configurable:
        address["checkpoint_map"] = configurable["checkpoint_map"]
    return address


def with_interrupts(values_json: bytes, values: Any, interrupts: Sequence[Any]) -> bytes:
    """Return the answer of ``/wait`` for a run that waits for a human: values plus ``__interrupt__`` (wire contract §5.2)."""
    listed = interrupt_list(interrupts)
    if isinstance(values, dict):
        return encoding.encode({**values, INTERRUPT: listed})
    return encoding.encode(
        {INTERRUPT: listed, "value": Raw(values_json)} if values is not None else {INTERRUPT: listed}
    )
