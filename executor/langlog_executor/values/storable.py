"""Values that nodes put into the store, as JSON: all of a value, or an error that names the part that cannot be stored.

A value that is read equals the one that was put. `encoding.encode` shows any value somehow, because a stream must continue;
here that would store a ``repr`` in place of the value, which would go unnoticed until the value is needed. Pure.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, ItemsView, KeysView, Mapping, Sequence, Set, ValuesView
from pathlib import PurePath
from typing import Any

import msgspec
from langgraph.types import Send

from . import encoding, expansion
from .auth_user import AuthUser
from .fast_messages import dumped

LISTS = (list, tuple, Set, deque, KeysView, ItemsView, ValuesView, Sequence)
TABLES = ("pandas", "polars", "pyarrow", "dask", "modin", "geopandas")
"""Packages whose classes have no JSON form: as iterables, their rows or indexes would be lost."""
ARRAYS = ("numpy", "jax", "jaxlib", "torch", "cupy")
"""Packages whose arrays and scalars ``tolist`` converts completely."""


class NotStorable(TypeError):
    """A value, or a part of it, has no JSON form. The message names the part by its path, and its class."""

    for_clients = True


def storable(value: Any, root: str = "value") -> bytes:
    """Return the value as JSON. ``root``: prefix of paths in errors. Raises NotStorable."""
    try:
        expansion.check(value)
    except expansion.TooManyMembers as error:
        raise NotStorable(f"cannot store {root}: {error}") from None
    try:
        return _encoder.encode(value)
    except BaseException:  # an unusual key, a lone surrogate, a cycle, a part with no form: the walk finds out which
        return encoding.encoder.encode(_Walk().of(value, root, 0))


def _hook(value: Any) -> Any:
    """Convert a value that msgspec does not support to one that it does. Raises NotStorable."""
    if value is None or isinstance(value, bool):  # as keys: values are known
        return encoding.key_text(value)
    return _simpler(value, "value")


_encoder = msgspec.json.Encoder(enc_hook=_hook)


class _Walk:
    """One traversal of a value, which converts it to plain data."""

    def __init__(self) -> None:
        self._left = encoding.MAX_VALUES
        self._above: set[int] = set()

    def of(self, value: Any, path: str, depth: int) -> Any:
        """Return the value as plain data. Raises NotStorable."""
        self._left -= 1
        if self._left < 0:
            raise NotStorable(f"cannot store {path}: the value has more than {encoding.MAX_VALUES} parts")
        if depth > encoding.MAX_DEPTH:
            raise NotStorable(f"cannot store {path}: it is nested more than {encoding.MAX_DEPTH} levels deep")
        if id(value) in self._above:
            raise NotStorable(f"cannot store {path}: it contains itself")
        self._above.add(id(value))
        try:
            return self._made(value, path, depth)
        finally:
            self._above.discard(id(value))

    def _made(self, value: Any, path: str, depth: int) -> Any:
        if isinstance(value, Mapping):
            return {_key(k, path): self.of(v, f"{path}[{_shown(k)}]", depth + 1) for k, v in value.items()}
        if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > encoding.INTEGER_BITS_MAX:
            raise NotStorable(f"cannot store {path}: an integer of more than {encoding.INTEGER_BITS_MAX} bits")
        if encoding.is_scalar(value):
            return encoding.plain(value)
        if isinstance(value, list | tuple | set | frozenset):
            return [self.of(part, f"{path}[{n}]", depth + 1) for n, part in enumerate(value)]
        if isinstance(value, type):
            raise _refusal(value, path)
        if dataclasses.is_dataclass(value):
            fields = dataclasses.fields(value)
            return {f.name: self.of(getattr(value, f.name), f"{path}.{f.name}", depth + 1) for f in fields}
        if isinstance(value, msgspec.Struct):
            names = value.__struct_fields__
            return {name: self.of(getattr(value, name), f"{path}.{name}", depth + 1) for name in names}
        return self.of(_simpler(value, path), path, depth + 1)


def _simpler(value: Any, path: str) -> Any:
    """Return the value converted by its own method. Raises NotStorable."""
    package = type(value).__module__.partition(".")[0]
    if package in TABLES or isinstance(value, type | BaseException):
        raise _refusal(value, path)
    if (values := dumped(value)) is not None:
        return values
    if callable(getattr(value, "get_secret_value", None)) and not isinstance(value, type):
        # its mask in place of it would be found out only when it is needed
        raise NotStorable(
            f"cannot store {path}: a {_class(value)} shows a mask in place of its value; "
            "leave it out, or put what get_secret_value() returns"
        )
    try:
        if (convert := _own_conversion(value, package)) is not None:
            return convert()
    except Exception as error:
        raise NotStorable(f"cannot store {path}: its {_class(value)} cannot be converted: {error}") from error
    if isinstance(value, AuthUser):
        return value.public()
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Send):
        return {"node": value.node, "arg": value.arg}
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, LISTS):
        return list(value)
    raise _refusal(value, path)


def _own_conversion(value: Any, package: str) -> Callable[[], Any] | None:
    """Return the method by which a model or an array converts itself; None if it has none."""
    if callable(dump := getattr(value, "model_dump", None)):
        return dump  # type: ignore[no-any-return]
    if package in ARRAYS and callable(to_list := getattr(value, "tolist", None)):
        return to_list  # type: ignore[no-any-return]
    if hasattr(value, "__fields__") and callable(as_dict := getattr(value, "dict", None)):  # pydantic v1
        return as_dict  # type: ignore[no-any-return]
    return None


def _key(key: Any, path: str) -> str:
    if key is None or encoding.is_scalar(key):
        return encoding.key_text(key)
    raise NotStorable(f"cannot store {path}: one of its keys is a {_class(key)}; keys are text")


def _shown(key: Any) -> str:
    """Return a key as part of a path."""
    text = repr(key)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _refusal(value: Any, path: str) -> NotStorable:
    what = f"the class {value.__module__}.{value.__qualname__}" if isinstance(value, type) else f"a {_class(value)}"
    hint = "convert it before the put"
    if type(value).__module__.partition(".")[0] in TABLES:
        hint = "store its rows instead, for instance frame.to_dict('records')"
    return NotStorable(f"cannot store {path}: {what} has no JSON form; {hint}")


def _class(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
