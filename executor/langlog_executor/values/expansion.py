"""Whether a value becomes too large when it is written out: JSON and msgpack have no references, what two members share is written twice.

Forty lists, each of which holds the one before twice, are a few kilobytes in memory and a trillion members when they are written. The
encoders would write them until the memory of the worker is used up, so the members are counted before, as often as they would be
written. Nearly all values are so small that pickle, which can be told to write shared parts out as well, shows it in a fifth of the time
that counting takes; what it writes is thrown away, and never read. Pure.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import functools
import itertools
import pickle
import types
import uuid
from collections import Counter, UserList, deque
from collections.abc import Callable, Iterable, Mapping, MappingView
from functools import lru_cache
from typing import Any

import msgspec
from langgraph.store.base import Item
from langgraph.types import Send
from pydantic_core import ValidationError

MEMBERS_MAX = 20_000_000
"""Maximum number of members of a value, each counted as often as it is written."""
TEXT_MAX = 1_000_000_000
"""Maximum characters and bytes of these members."""
QUICK_BYTES = 2_000_000
"""Number of bytes after which the quick look gives up: for objects of the graph's own classes it takes as long as counting, and where
they share parts it would go on for seconds."""
FEW = 1_000
"""Number of members up to which their text may be any, as long as none of them is written twice."""
OWN_MAX = 10_000
"""Maximum number of members that are read of a mapping of the graph's own class, which may have no last one."""
DEPTH_MAX = 2_000
"""Maximum nesting that is followed: the encoders refuse a value before they get as deep, and one that contains itself."""
PROTOCOL = 4
"""Protocol of pickle with which a value is written: the first one that writes in frames of 64 kB."""
TEXTS = frozenset({str, bytes, bytearray})
LEAVES = TEXTS | {
    *(type(None), bool, int, float, complex, type, decimal.Decimal, uuid.UUID),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta),
}
"""Classes of values without members."""


class TooManyMembers(TypeError):
    """A value is too large when it is written out."""

    for_clients = True

    def __init__(self) -> None:
        super().__init__(
            f"a value has more than {MEMBERS_MAX} members, or {TEXT_MAX} characters, when it is written out, where what several "
            "members share is written for each of them: keep shared parts once, and refer to them by a key"
        )


def check(value: Any) -> None:
    """Raise TooManyMembers for a value that is too large when it is written out."""
    if expands(value):
        raise TooManyMembers


def expands(value: Any) -> bool:
    """Return whether a value is too large when it is written out. Visits no more than `MEMBERS_MAX` members."""
    return type(value) not in LEAVES and not _surely_small(value) and _counted_expands(value)


def _surely_small(value: Any) -> bool:
    """Return whether a value has at most `QUICK_BYTES` members and characters, by writing them: each takes a byte or more."""
    pickler = _Measure(_Bounded(), PROTOCOL)
    pickler.fast = True  # without references
    pickler.memo = _KNOWN
    try:
        pickler.dump(value)
    except (Exception, RecursionError):  # too large, a cycle, deeper than pickle goes, members that raise: count them
        return False
    return True


_KNOWN = {id(tuple): (0, tuple)}
"""Memo of a pickler: a reference to the class, whose name it would look up for each object otherwise."""


class _Bounded:
    """A file that keeps nothing, and is full after `QUICK_BYTES`."""

    def __init__(self) -> None:
        self._left = min(QUICK_BYTES, MEMBERS_MAX)

    def write(self, data: Any) -> int:
        size = len(data)
        self._left -= size
        if self._left < 0:
            raise OverflowError
        return size


_NOTHING: Any = (tuple, ((),))
"""Reduced form of a value without members."""


class _Measure(pickle.Pickler):
    """Writes objects as their members: none of their own methods is called."""

    def reducer_override(self, value: Any) -> Any:
        kind: Any = type(value)
        if kind in LEAVES:
            return _NOTHING
        if _is_model(kind):  # a message, most of the time
            return tuple, ((vars(value), getattr(value, "__pydantic_extra__", None)),)
        members_of = _members_of(kind)
        return _NOTHING if members_of is None else (tuple, (_read(members_of, value),))


def _counted_expands(value: Any) -> bool:
    level, members, text = [value], 0, 0
    for depth in range(DEPTH_MAX):
        inner: list[Any] = []
        for part in level:
            kind: Any = type(part)
            if kind is dict:
                inner += part.values()
                text += _text_of_keys(part)
            elif kind is list or kind is tuple:
                inner += part
            elif kind not in LEAVES and (members_of := _members_of(kind)) is not None:
                inner += _read(members_of, part)
                text += _text_of_keys(part)
            if members + len(inner) > MEMBERS_MAX:
                return True
        members += len(inner)
        kinds = set(map(type, inner))
        if not kinds.isdisjoint(TEXTS):
            text += sum([len(x) for x in inner if type(x) in TEXTS])
        if text > TEXT_MAX and (members > FEW or len(set(map(id, inner))) < len(inner)):
            return True
        if kinds <= LEAVES:
            return False
        level = [x for x in inner if type(x) not in LEAVES]
        if len(level) > FEW:
            times = Counter(map(id, level))
            if len(times) < len(level):
                parts = {id(x): (x, times[id(x)]) for x in level}
                return _shared_expand(parts, members, text, DEPTH_MAX - depth)
    return False


def _shared_expand(level: dict[int, tuple[Any, int]], members: int, text: int, depth_left: int) -> bool:
    """Go on where several members are the same object: visit it once, and count what it has as often as it is written."""
    for _ in range(depth_left):
        inner: dict[int, tuple[Any, int]] = {}
        for part, times in level.values():
            kind_of_part: Any = type(part)
            members_of = _members_of(kind_of_part)
            text += times * _text_of_keys(part)
            for member in () if members_of is None else _read(members_of, part):
                kind, members = type(member), members + times
                if kind not in LEAVES:
                    _, before = inner.get(id(member), (None, 0))
                    inner[id(member)] = member, before + times
                elif kind in TEXTS:
                    text += times * len(member)
                if members > MEMBERS_MAX or text > TEXT_MAX:
                    return True
        if not inner:
            return False
        level = inner
    return False


def _text_of_keys(value: Any) -> int:
    """Return the number of characters of the keys of a dict; 0 for any other value."""
    if not issubclass(type(value), dict):
        return 0
    try:
        return sum(map(len, dict.keys(value)))
    except Exception:  # keys that have no length
        return sum([len(key) for key in [*dict.keys(value)] if type(key) in TEXTS])


def _read(members_of: Callable[[Any], Iterable[Any]], value: Any) -> list[Any]:
    """Return the members at once: another thread may change the value meanwhile."""
    try:
        return list(members_of(value))
    except Exception:  # members of the graph's own classes: the encoders show such a value by its class's name
        return []


def has_own_dump(kind: type) -> bool:
    """Return whether it is a class of pydantic, 2 or 1: a method of each value writes it out, with all that it holds."""
    return hasattr(kind, "model_dump") or hasattr(kind, "__fields__")


@lru_cache(1_000)
def _is_model(kind: type) -> bool:
    """Return whether `_members_of` reads its values as those of a class of pydantic."""
    builtin = (dict, list, tuple, set, frozenset, deque, type, msgspec.Struct)
    return has_own_dump(kind) and not issubclass(kind, builtin) and not dataclasses.is_dataclass(kind)


@lru_cache(1_000)
def _members_of(kind: type) -> Callable[[Any], Iterable[Any]] | None:  # noqa: C901 - one case a kind of value
    """Return a function that returns what encoders write of a value of the class; None for one with a form of its own."""
    if issubclass(kind, dict):
        return dict.values
    if issubclass(kind, list):  # not by its own iterator, which may have no end
        return lambda value: list.__getitem__(value, slice(None))
    if issubclass(kind, tuple):
        return lambda value: tuple.__getitem__(value, slice(None))
    for known in (set, frozenset, deque):
        if issubclass(kind, known):
            return known.__iter__
    if issubclass(kind, type):
        return None
    if issubclass(kind, Send):
        return lambda value: (value.arg,)
    if issubclass(kind, Item):
        return lambda value: (value.value,)
    if issubclass(kind, enum.Enum):
        return lambda value: (value.value,)
    if issubclass(kind, BaseException):  # written as their ``repr``
        return _of_exception
    if issubclass(kind, types.SimpleNamespace):
        return lambda value: vars(value).values()
    if issubclass(kind, functools.partial):
        return lambda value: (value.args, value.keywords)
    if issubclass(kind, msgspec.Struct):
        return _of_struct
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
        return lambda value: [getattr(value, name, None) for name in names]
    if has_own_dump(kind):
        return lambda value: [*vars(value).values(), getattr(value, "__pydantic_extra__", None)]
    if is_attrs(kind):
        return lambda value: attributes_of(value).values()
    if (kind.__module__, kind.__qualname__) == ("numpy", "ndarray"):
        return lambda value: value.ravel().tolist() if value.dtype.hasobject else ()
    if issubclass(kind, Mapping):
        return lambda value: [value[key] for key in itertools.islice(value, OWN_MAX)]
    if issubclass(kind, UserList | MappingView):
        return lambda value: itertools.islice(value, OWN_MAX)
    return None


def _of_struct(value: msgspec.Struct) -> Iterable[Any]:
    try:
        return msgspec.structs.astuple(value)
    except AttributeError:  # of a member that was never set, or was deleted
        return [getattr(value, name, None) for name in value.__struct_fields__]


def _of_exception(value: BaseException) -> Iterable[Any]:
    """Return what texts of an exception show, without calling what its class has in place of these members."""
    base = BaseException.__dict__
    members = [*base["args"].__get__(value), *base["__dict__"].__get__(value).values()]
    if isinstance(value, OSError):
        members += [OSError.__dict__[name].__get__(value) for name in ("filename", "filename2")]
    if isinstance(value, ValidationError):  # it has the ``repr`` of each input that it refuses
        members += [fault["input"] for fault in value.errors(include_url=False, include_context=False)]
    return members


def is_attrs(kind: type) -> bool:
    """Return whether msgspec writes values of the class as objects of attrs."""
    return "__attrs_attrs__" in vars(kind)


def attributes_of(value: Any) -> dict[str, Any]:
    """Return what msgspec writes of an object of attrs: all but what begins with an underscore."""
    names = [*(attribute.name for attribute in type(value).__attrs_attrs__), *getattr(value, "__dict__", ())]
    return {name: getattr(value, name, None) for name in names if not name.startswith("_")}
