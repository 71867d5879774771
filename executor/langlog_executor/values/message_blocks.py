"""Messages as the streaming protocol sends them (wire contract §9.2): content blocks that start, grow and finish.

Models in runs of the protocol send these events themselves; this module derives them from the stream of other runs (mode
``messages``): chunks of a message as they arrive, or a complete message. A chunk's `content_blocks` are its additions. One
`MessageBlocks` per attempt, on the graph's loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from langchain_core.messages import AIMessageChunk, BaseMessage, RemoveMessage, ToolMessage

Block = dict[str, Any]
Event = dict[str, Any]
Namespace = tuple[str, ...]

ROLES = {"human": "human", "system": "system"}
LARGE = frozenset({"args", "data", "base64", "output", "value"})
"""Members of a block that only its finish carries."""
TEXTS = {"text": ("text", "text-delta"), "reasoning": ("reasoning", "reasoning-delta")}
CALLS = frozenset({"tool_call_chunk", "server_tool_call_chunk"})


class MessageBlocks:
    def __init__(self) -> None:
        self._open: dict[tuple[Namespace, str], _Message] = {}

    def take(self, namespace: Namespace, message: BaseMessage) -> list[Event]:
        """Return the events of a chunk or of a complete message. Results of tools and removals are no messages here."""
        if isinstance(message, ToolMessage | RemoveMessage):
            return []
        if not isinstance(message, AIMessageChunk):
            whole = _Message(message)
            return [whole.start(), *whole.add(message), *whole.finish()]
        key = (namespace, message.id or "")
        events: list[Event] = []
        known = self._open.get(key)
        if known is None:
            known = self._open[key] = _Message(message)
            events.append(known.start())
        events += known.add(message)
        if message.chunk_position == "last":
            del self._open[key]
            events += known.finish()
        return events

    def finish(self) -> list[tuple[Namespace, Event]]:
        """Return the events that finish messages without a last chunk."""
        left = [(key[0], event) for key, message in self._open.items() for event in message.finish()]
        self._open.clear()
        return left


class _Message:
    def __init__(self, first: BaseMessage) -> None:
        self._first = first
        self._blocks: dict[Any, tuple[int, Block]] = {}
        self._usage: dict[str, Any] = {}

    def start(self) -> Event:
        message = self._first
        event: Event = {"event": "message-start", "role": ROLES.get(message.type, "ai"), "id": message.id or ""}
        response = message.response_metadata or {}
        names = (("model_provider", "provider"), ("model_name", "model"))
        metadata = {shown: response[key] for key, shown in names if key in response}
        return {**event, "metadata": metadata} if metadata else event

    def add(self, message: BaseMessage) -> Iterator[Event]:
        for position, block in enumerate(_blocks(message)):
            index = block.get("index")
            key = (block.get("type"), position) if index is None else index
            if key in self._blocks:
                number, so_far = self._blocks[key]
                _grow(so_far, block)
            else:
                number = len(self._blocks)
                self._blocks[key] = (number, dict(block))
                yield {"event": "content-block-start", "index": number, "content": _empty(block)}
            delta = _delta(block)
            if delta is not None:
                yield {"event": "content-block-delta", "index": number, "delta": delta}
        for name, value in (getattr(message, "usage_metadata", None) or {}).items():
            known = self._usage.get(name)
            self._usage[name] = known + value if isinstance(known, int) and isinstance(value, int) else value

    def finish(self) -> Iterator[Event]:
        for number, block in self._blocks.values():
            yield {"event": "content-block-finish", "index": number, "content": _finished(block)}
        yield {"event": "message-finish", **({"usage": self._usage} if self._usage else {})}


def _blocks(message: BaseMessage) -> list[Block]:
    try:
        return [dict(block) for block in message.content_blocks]
    except Exception:  # content of a form that no translator knows
        return []


def _empty(block: Block) -> Block:
    kind = block.get("type", "text")
    if kind in TEXTS:
        member = TEXTS[kind][0]
        return {k: v for k, v in block.items() if k not in (member, "index", "annotations")} | {member: ""}
    if kind in CALLS:
        identity = {k: block[k] for k in ("type", "id", "name", "index") if block.get(k) is not None}
        return {"id": None, "name": None, **identity, "args": ""}
    bare = {k: v for k, v in block.items() if k not in LARGE}
    if kind in ("tool_call", "server_tool_call"):
        bare["args"] = {}
    elif kind == "non_standard":
        bare["value"] = {}
    return bare


def _delta(block: Block) -> Block | None:
    kind = block.get("type")
    if kind in TEXTS:
        member, name = TEXTS[kind]
        return {"type": name, member: block[member]} if block.get(member) else None
    if kind in CALLS:
        return {"type": "tool-call-delta", "args": block["args"]} if block.get("args") else None
    return None


def _grow(so_far: Block, more: Block) -> None:
    kind = so_far.get("type")
    if kind != more.get("type") or (kind not in TEXTS and kind not in CALLS):
        so_far.clear()
        so_far.update(more)
        return
    member = "args" if kind in CALLS else TEXTS[kind][0]
    for name, value in more.items():
        if name == member:
            so_far[name] = (so_far.get(name) or "") + (value or "")
        elif value is not None:
            so_far[name] = value


def _finished(block: Block) -> Block:
    """Return a finished block. A tool call whose arguments are not JSON is an invalid one."""
    kind = block.get("type")
    if kind not in CALLS:
        return block
    others = {k: v for k, v in block.items() if k not in ("type", "id", "name", "args", "index") and v is not None}
    known = {"id": block.get("id"), "name": block.get("name")}
    try:
        args = msgspec.json.decode(block.get("args") or "{}")
    except msgspec.DecodeError:
        why = "Failed to parse tool call arguments as JSON"
        return {"type": "invalid_tool_call", **known, "args": block.get("args"), "error": why, **others}
    whole = "tool_call" if kind == "tool_call_chunk" else "server_tool_call"
    return {"type": whole, "id": known["id"] or "", "name": known["name"] or "", "args": args, **others}
