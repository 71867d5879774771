"""Graph values to JSON: messages, pydantic models, dataclasses, sets, exceptions, and any other value that nodes put into state.

`encode` never fails: a value without a JSON form becomes its ``repr``. One encoder is shared by all threads (msgspec encoders hold no
state of a call). Shapes are those of the wire contract (§6.2): a message is its ``model_dump``, an exception its
``repr``, a set a list, bytes base64.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import enum
import itertools
import math
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any

import msgspec
from langgraph.types import Send
from langlog_backbone.values.json_shape import without_nul
from msgspec import UNSET

from .auth_user import AuthUser
from .error_text import class_name, text_of, written
from .expansion import attributes_of, expands, has_own_dump, is_attrs
from .fast_messages import dumped
from .redaction import shown

MAX_DEPTH = 200
"""Maximum nesting that `plain` follows; a deeper value becomes the ``repr`` of its type."""
MAX_VALUES = 1_000_000
"""Maximum number of values that `plain` visits in one call. A graph of objects that refer to each other has more ways
through it than memory has room."""
MAX_SHOWN = 10_000
"""Maximum number of values that are shown of one that is too large when it is written out (`expansion`)."""
TEXT_A_VALUE = 1_000
"""Number of characters or bytes that `plain` counts as a further value: a long text may be in many places."""
MAX_LISTED = 10_000_000
"""Maximum number of values that are read from one object by iterating over it: a ``range``, or a class of the graph's own,
may have more of them than memory has room, or no last one."""
INTEGER_BITS_MAX = 1_000
"""Maximum bits of an integer; larger ones become text: readers of JSON refuse them, and writing their digits takes time
with the square of their number."""


NATIVE = (datetime.date, datetime.time, datetime.timedelta, uuid.UUID, decimal.Decimal)
"""Classes of the standard library that msgspec writes as text."""
SCALARS = (bool, str, int, float, bytes, bytearray, memoryview, enum.Enum, *NATIVE)
MASK = "**********"
"""Text that pydantic's ``SecretStr``, ``SecretBytes`` and similar classes show for any value."""


def _hook(value: Any) -> Any:  # noqa: C901 - one case a kind of value
    """Convert a value that msgspec does not support to one that it does."""
    if value is None or isinstance(value, bool):  # as keys: values are known
        return key_text(value)
    values = dumped(value)
    if values is not None:
        return values
    if callable(getattr(value, "get_secret_value", None)) and not isinstance(value, type):
        return MASK
    dump = getattr(value, "model_dump", None)
    if dump is not None and not isinstance(value, type):
        return dump()
    if isinstance(value, AuthUser):
        return value.public()
    if isinstance(value, str):  # a class of its own: what the graph itself puts into its state is shown
        return str.__str__(value)
    if isinstance(value, BaseException):
        return shown(written(value))
    if isinstance(value, Send):
        return {"node": value.node, "arg": value.arg}
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {key: value[key] for key in _listed(value)}
    to_list = getattr(value, "tolist", None)
    if to_list is not None and not isinstance(value, type):  # numpy arrays and scalars
        return _bounded(to_list())
    as_dict = getattr(value, "dict", None)
    if callable(as_dict) and hasattr(value, "__fields__") and not isinstance(value, type):  # pydantic v1
        return as_dict()
    if isinstance(value, Iterable) and hasattr(value, "__len__") and not isinstance(value, type):  # deque, dict views
        return _listed(value)
    return written(value)


def _bounded(value: Any) -> Any:
    """Return what a method of a value has returned, whose members `expansion` could not count before."""
    return _Plain(MAX_SHOWN, large=True).of(value, 0) if expands(value) else value


def _listed(values: Iterable[Any]) -> list[Any]:
    """Return what the object yields. Raises ValueError for more than `MAX_LISTED` values."""
    listed = list(itertools.islice(values, MAX_LISTED + 1))
    if len(listed) > MAX_LISTED:
        raise ValueError(f"an object of the class {class_name(values)} has more than {MAX_LISTED} members")
    return listed


encoder = msgspec.json.Encoder(enc_hook=_hook)


def encode(value: Any) -> bytes:
    """Return the value as JSON, without NUL characters: every view of a value shows the same, and Postgres cannot hold them.

    Whatever cannot be encoded as it is, is encoded by way of `plain`; of a value that would be too large, the first members are shown.
    """
    try:
        data = encoder.encode(_Plain(MAX_SHOWN, large=True).of(value, 0) if expands(value) else value)
    except BaseException:  # an unusual key, a lone surrogate, a cycle, a user's model_dump that raises anything
        data = encoder.encode(plain(value))
    return without_nul(data)


def encode_text(value: Any) -> str:
    return encode(value).decode()


def plain(value: Any) -> Any:
    """Return the value built of dict, list, str, int, float, bool and None only. Never raises."""
    return _Plain(MAX_VALUES).of(value, 0)


class _Plain:
    """One traversal of a value."""

    def __init__(self, left: int, *, large: bool = False) -> None:
        """``left``: maximum number of values to visit. ``large``: whether they may be too many to be written out (`expansion`)."""
        self._left = left
        self._large = large
        self._above: set[int] = set()
        """Ids of the objects that contain the current one: an object within itself is a cycle."""

    def of(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH or id(value) in self._above:
            return f"<{class_name(value)}>"
        self._above.add(id(value))
        try:
            return self._value(value, depth)
        except BaseException:  # methods of the graph's own classes, of subclasses of str, int and dict too
            return f"<{class_name(value)}>"
        finally:
            self._above.discard(id(value))

    def _within(self, members: Iterable[Any]) -> Iterator[Any]:
        """Yield members up to the first one beyond `MAX_VALUES`, which `of` marks: a class of the graph's own may have no last one."""
        for member in members:
            yield member
            if self._left < 0:
                return

    def _value(self, value: Any, depth: int) -> Any:  # noqa: C901 - one case a kind of value
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, enum.Enum):
            return self.of(value.value, depth + 1)
        if isinstance(value, str):
            self._left -= len(value) // TEXT_A_VALUE
            return _text(value)
        if isinstance(value, int):
            return _integer(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else None
        if isinstance(value, bytes | bytearray | memoryview):
            self._left -= len(value) // TEXT_A_VALUE
            return base64.b64encode(value).decode()
        if isinstance(value, NATIVE):
            return msgspec.to_builtins(value)
        if isinstance(value, Mapping):
            return {self._key(k): self.of(v, depth + 1) for k, v in self._within(value.items())}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.of(v, depth + 1) for v in self._within(value)]
        if isinstance(value, type):
            return _text(repr(value))
        if dataclasses.is_dataclass(value):
            return {
                key_text(f.name): self.of(getattr(value, f.name, None), depth + 1) for f in dataclasses.fields(value)
            }
        if isinstance(value, msgspec.Struct):
            members = ((name, getattr(value, name, None)) for name in value.__struct_fields__)
            return {key_text(name): self.of(member, depth + 1) for name, member in members if member is not UNSET}
        if is_attrs(type(value)):
            return {key_text(name): self.of(member, depth + 1) for name, member in attributes_of(value).items()}
        if self._large and has_own_dump(type(value)):  # which would write out all of it
            return f"<{class_name(value)}>"
        return self.of(_hook(value), depth + 1)

    def _key(self, key: Any) -> str:
        text = key_text(key)
        self._left -= len(text) // TEXT_A_VALUE
        return text


def _text(value: str) -> str:
    return "".join((value,)).encode("utf-8", "replace").decode()


def _integer(value: int) -> Any:
    value = int(value)
    if -(2**63) <= value < 2**64:
        return value
    return value if value.bit_length() <= INTEGER_BITS_MAX else hex(value)


def is_scalar(value: Any) -> bool:
    """Return whether the value is a single text, number or word in JSON."""
    return value is None or isinstance(value, SCALARS)


def key_text(key: Any) -> str:
    """Return a dict's key as JSON text, the same for every encoder."""
    if isinstance(key, str):
        return _text(key)
    if key is None:
        return "null"
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, enum.Enum):
        return key_text(key.value)
    if isinstance(key, int):
        return str(_integer(key))
    if isinstance(key, bytes | bytearray | memoryview):
        return base64.b64encode(key).decode()
    if isinstance(key, NATIVE):
        return str(msgspec.to_builtins(key))
    return _text(text_of(key)) or f"<{class_name(key)}>"
