"""Old versions of commands and events, brought up to the present one when they are read. Pure.

A released version is never changed and never rewritten in the log. A new one gets a new ``.vN``, an entry in its family's
``UPCASTS``, and keeps the golden file of the old one (``docs/contracts/golden``), which CI keeps decoding and folding.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import msgspec

Upcasts = Mapping[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]]
"""Type of an old version -> (type of the next one, function that converts a body to the next version)."""


def bring_up(type_name: str, value: bytes, upcasts: Upcasts, msgpack: Collection[str]) -> tuple[str, bytes]:
    """Return the present type and body of a record of an old version. ``msgpack``: types, old ones too, whose body is msgpack.

    Raises KeyError for a type that no upcast leads from, msgspec.MsgspecError for a body that cannot be read.
    """
    if type_name not in upcasts:
        raise KeyError(type_name)
    body: dict[str, Any] = (msgspec.msgpack if type_name in msgpack else msgspec.json).decode(value)
    while type_name in upcasts:
        type_name, upcast = upcasts[type_name]
        body = upcast(body)
    return type_name, (msgspec.msgpack if type_name in msgpack else msgspec.json).encode(body)
