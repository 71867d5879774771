"""Values of channels from their JSON: messages become messages again, and what a channel has a type for becomes that type.

A value is only taken if it shows the same JSON as what it was made of; otherwise it stays plain data. Pure; holds what it has learned
of types.
"""

from __future__ import annotations

from typing import Any

import msgspec
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from pydantic import TypeAdapter

from ..values import encoding

MESSAGES: dict[str, type[BaseMessage]] = {
    "human": HumanMessage,
    "ai": AIMessage,
    "AIMessageChunk": AIMessageChunk,
    "system": SystemMessage,
    "tool": ToolMessage,
    "function": FunctionMessage,
    "chat": ChatMessage,
}
MEMBERS = frozenset(("content", "additional_kwargs", "response_metadata", "type", "id"))
"""Members that every message has."""
PLAIN = (Any, object, str, int, float, bool, dict, list, type(None))
DEPTH_MAX = 100
"""Levels of nesting that are searched for messages."""


class ValueReader:
    def __init__(self) -> None:
        self._adapters: dict[Any, TypeAdapter[Any] | None] = {}

    def read(self, value: Any, channel: Any) -> Any:
        """Return the value of a channel (None: of no channel). Never raises."""
        restored = with_messages(value)
        if restored is not value:
            return restored
        adapter = self._adapter(channel)
        if adapter is not None:
            try:
                typed = adapter.validate_python(value)
            except Exception:  # validators of the project's classes may raise anything
                return value
            if _shows(typed, value):
                return typed
        return value

    def _adapter(self, channel: Any) -> TypeAdapter[Any] | None:
        try:
            kind = channel.ValueType
        except Exception:  # a channel class of the project's own, or none
            return None
        if kind in PLAIN:
            return None
        key = id(kind)
        if key not in self._adapters:
            try:
                self._adapters[key] = TypeAdapter(kind)
            except Exception:  # not a type that pydantic knows
                self._adapters[key] = None
        return self._adapters[key]


def with_messages(value: Any, depth: int = 0) -> Any:
    """Return the value with messages in place of their JSON; the same object if there are none."""
    if depth > DEPTH_MAX:
        return value
    if isinstance(value, list):
        items = [with_messages(item, depth + 1) for item in value]
        return items if any(a is not b for a, b in zip(items, value, strict=True)) else value
    if not isinstance(value, dict):
        return value
    if value.keys() >= MEMBERS and isinstance(value["type"], str) and (kind := MESSAGES.get(value["type"])) is not None:
        try:
            message = kind.model_validate(value)
        except ValueError:
            return value
        return message if _shows(message, value) else value
    members = {name: with_messages(member, depth + 1) for name, member in value.items()}
    return members if any(members[name] is not value[name] for name in value) else value


def _shows(made: Any, value: Any) -> bool:
    return bool(msgspec.json.decode(encoding.encode(made)) == value)
