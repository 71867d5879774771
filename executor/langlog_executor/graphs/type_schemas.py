"""JSON Schema of a state's type field by field, for types that pydantic refuses as a whole.

Two kinds are common: ``typing.TypedDict`` before Python 3.12, for which pydantic requires ``typing_extensions.TypedDict``, and
``Annotated[NotRequired[...], ...]``, which it rejects. A field that has no schema even by itself is
open (``{}``): one field never affects the schemas of others. Pure.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any

import structlog
import typing_extensions
from pydantic import TypeAdapter

logger = structlog.get_logger(__name__)

DEPTH_MAX = 32
"""Maximum nesting of types; deeper ones are open. Also what ends a type that contains itself."""
_QUALIFIERS = (typing_extensions.NotRequired, typing_extensions.Required, typing_extensions.ReadOnly)


def object_schema(title: str, fields: Mapping[str, Any], optional: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the schema of an object with these fields (name -> type). Those in ``optional`` are not ``required``."""
    properties: dict[str, Any] = {}
    definitions: dict[str, Any] = {}
    for name, field in fields.items():
        field_schema = _field_schema(title, name, field)
        definitions.update(field_schema.pop("$defs", {}))
        properties[name] = {"title": name.replace("_", " ").title(), **field_schema}
    schema: dict[str, Any] = {"properties": properties, "title": title, "type": "object"}
    if required := [name for name in fields if name not in optional]:
        schema["required"] = required
    return {"$defs": definitions, **schema} if definitions else schema


def typed_dict_schema(kind: Any) -> dict[str, Any]:
    """Return the schema of a TypedDict class of either module. Raises NameError for annotations that nothing resolves."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return object_schema(kind.__name__, hints, optional_fields(kind, hints))


def optional_fields(kind: Any, hints: Mapping[str, Any]) -> frozenset[str]:
    """Return the keys of a TypedDict that may be absent, also those marked inside ``Annotated``."""
    marked = {name for name, hint in hints.items() if typing_extensions.NotRequired in _qualifiers(hint)}
    return frozenset(marked | set(getattr(kind, "__optional_keys__", ())))


def _field_schema(title: str, name: str, field: Any) -> dict[str, Any]:
    try:
        schema: dict[str, Any] = TypeAdapter(_plain(field, 0)).json_schema()
    except Exception as error:  # pydantic's, or whatever a type's own hook raises
        logger.warning("graph.field_without_schema", type=title, field=name, error=str(error).partition("\n")[0])
        return {}
    return schema


def _qualifiers(hint: Any) -> set[Any]:
    qualifiers = set()
    while True:
        origin = typing.get_origin(hint)
        if origin is typing.Annotated:
            hint = typing.get_args(hint)[0]
        elif origin in _QUALIFIERS:
            qualifiers.add(origin)
            hint = typing.get_args(hint)[0]
        else:
            return qualifiers


def _plain(hint: Any, depth: int) -> Any:
    """Return the same type without qualifiers, with ``typing_extensions.TypedDict`` in place of every other one."""
    if depth > DEPTH_MAX:
        return Any
    origin = typing.get_origin(hint)
    if origin in _QUALIFIERS:
        return _plain(typing.get_args(hint)[0], depth + 1)
    if origin is typing.Annotated:
        inner, *rest = typing.get_args(hint)
        return typing.Annotated[(_plain(inner, depth + 1), *rest)]
    if typing_extensions.is_typeddict(hint):
        hints = typing.get_type_hints(hint, include_extras=True)
        optional = optional_fields(hint, hints)
        members: dict[str, Any] = {}
        for name, member in hints.items():
            plain = _plain(member, depth + 1)
            members[name] = typing_extensions.NotRequired[plain] if name in optional else plain
        return typing_extensions.TypedDict(hint.__name__, members)  # type: ignore[operator]  # a class made at run time
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(_plain(x, depth + 1) for x in typing.get_args(hint))]  # noqa: UP007  # a tuple made at run time
    if origin is not typing.Literal and hasattr(origin, "__class_getitem__"):
        arguments = [x if x is ... or isinstance(x, list) else _plain(x, depth + 1) for x in typing.get_args(hint)]
        return origin.__class_getitem__(tuple(arguments) if len(arguments) > 1 else arguments[0])
    return hint
