"""Dumps plain messages and restores them from stored bytes without pydantic: they were valid when they were created.

On a thread of 580 messages a run spent 5 of 30 ms in pydantic's validation of what langgraph's serializer had dumped, and 8 in
dumping them four times. Here a plain message (text, no tool calls) becomes an object directly, and its values are returned unchanged;
any other, and any other type, uses the library's code. Objects and values are equal to those that the class itself
would create: checked on a sample of each class, so that a langchain whose messages are built differently simply uses the
slow code.

Pure; used by any thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ormsgpack
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langgraph.checkpoint.serde.jsonplus import EXT_PYDANTIC_V2

Hook = Callable[[int, bytes], Any]
"""Hook of ormsgpack: an extension's code and bytes to an object."""

_COUNTS = frozenset(("input_tokens", "output_tokens", "total_tokens"))
_DETAILS = frozenset(("audio", "cache_creation", "cache_read", "reasoning"))
_TYPES: dict[type[BaseMessage], Any] = {
    kind: kind.model_fields["type"].default for kind in (HumanMessage, AIMessage, SystemMessage)
}
_KNOWN = frozenset(("additional_kwargs", "content", "example", "id", "name", "response_metadata", "type"))
_KNOWN_OF_AI = frozenset(("invalid_tool_calls", "tool_calls", "usage_metadata"))
_NONE: list[Any] = []
_SCALARS = frozenset((str, int, float, bool, type(None)))
_KEPT = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
"""Attributes of a pydantic object."""


def dumped(value: Any) -> dict[str, Any] | None:
    """Return the ``model_dump`` of a plain message: its own values, not to be changed. None for any other value."""
    fields = _FIELDS.get(type(value))
    if fields is None or value.__pydantic_extra__:
        return None
    values: dict[str, Any] = value.__dict__
    if (
        (*values,) == fields
        and _plain(type(value), values)
        and (not (more := values["additional_kwargs"]) or _flat(more))
        and (not (more := values["response_metadata"]) or _flat(more))
        and not values.get("example")
    ):
        return values
    return None


def _flat(values: dict[Any, Any]) -> bool:
    """Return whether dumping would not change the value."""
    return all(type(key) is str and type(value) in _SCALARS for key, value in values.items())


def message_hook(otherwise: Hook) -> Hook:
    """Return a hook that creates plain messages itself and passes everything else to ``otherwise``."""
    kinds = [(_beginning(kind), kind, list(fields)) for kind, fields in _FIELDS.items()]

    def hook(code: int, data: bytes) -> Any:
        if code == EXT_PYDANTIC_V2:
            for start, kind, fields in kinds:
                if data.startswith(start):
                    values = ormsgpack.unpackb(data, ext_hook=hook, option=ormsgpack.OPT_NON_STR_KEYS)[2]
                    if type(values) is dict and [*values] == fields and _plain(kind, values):
                        return _made(kind, values)
                    break
        return otherwise(code, data)

    return hook


def _beginning(kind: type[BaseMessage]) -> bytes:
    """Return the first bytes of every object of the class: (module, class, values, method)."""
    whole = ormsgpack.packb((kind.__module__, kind.__name__, None, None))
    return whole[:-2]


def _plain(kind: type[BaseMessage], values: dict[str, Any]) -> bool:
    """Return whether the class would accept the values unchanged."""
    name, id = values["name"], values["id"]
    if (
        type(values["content"]) is not str
        or type(values["additional_kwargs"]) is not dict
        or type(values["response_metadata"]) is not dict
        or values["type"] != _TYPES[kind]
        or (name is not None and type(name) is not str)
        or (id is not None and type(id) is not str)
    ):
        return False
    if kind is not AIMessage:
        return True
    usage = values["usage_metadata"]
    return (
        not values["additional_kwargs"]  # may hold a provider's tool calls, which the class would parse
        and values["tool_calls"] == _NONE
        and values["invalid_tool_calls"] == _NONE
        and (usage is None or _plain_usage(usage))
    )


def _plain_usage(usage: Any) -> bool:
    if type(usage) is not dict or not usage.keys() >= _COUNTS:
        return False
    for key, value in usage.items():
        if key in _COUNTS:
            if type(value) is not int:
                return False
        elif (
            key not in ("input_token_details", "output_token_details")
            or type(value) is not dict
            or not value.keys() <= _DETAILS
            or any(type(count) is not int for count in value.values())
        ):
            return False
    return True


def _made(kind: type[BaseMessage], values: dict[str, Any]) -> BaseMessage:
    message = kind.__new__(kind)
    put = object.__setattr__  # pydantic would read its own as fields
    put(message, "__dict__", values)
    put(message, "__pydantic_fields_set__", set(values))
    put(message, "__pydantic_extra__", {})
    put(message, "__pydantic_private__", None)
    return message


def _as_the_class_does(kind: type[BaseMessage], fields: list[str]) -> bool:
    usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3, "output_token_details": {"reasoning": 1}}
    sample: BaseMessage = kind("text", id="1", response_metadata={"model": {"name": "m"}})
    if kind is AIMessage:
        sample = AIMessage("text", id="1", response_metadata={"model": {"name": "m"}}, usage_metadata=usage)
    values = sample.model_dump()
    known = _KNOWN | _KNOWN_OF_AI if kind is AIMessage else _KNOWN
    if [*values] != fields or {*fields} - {"example"} != known - {"example"}:
        return False
    if not _plain(kind, values) or kind.__pydantic_post_init__ is not None:
        return False
    theirs, ours = kind(**values), _made(kind, values)
    return all(getattr(theirs, name) == getattr(ours, name) for name in _KEPT) and _dumps_itself(kind)


def _dumps_itself(kind: type[BaseMessage]) -> bool:
    sample = kind("text", id="1", name="n", response_metadata={"model": "m", "n": 1, "none": None})
    dumped = sample.model_dump()
    return dumped == sample.__dict__ and [*dumped] == [*sample.__dict__] and not sample.__pydantic_extra__


_FIELDS: dict[type, tuple[str, ...]] = {
    kind: (*kind.model_fields,)
    for kind in (HumanMessage, AIMessage, SystemMessage)
    if _as_the_class_does(kind, list(kind.model_fields))
}
"""Supported class -> its fields in order."""
