"""SQL conditions of store searches and listings of namespaces: fixed fragments, values as parameters only (wire contract §11). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..postgres.database import Parameters

ADDRESS_BYTES_MAX = 1_200
"""Maximum bytes of a key, and of a namespace with 8 for each label: Postgres holds both in one index entry of at most 2,704 bytes."""

_ORDER = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_AFTER_ANY = "\x01"
"""Suffix that turns a label into the first text after all texts that equal the label (NUL cannot occur)."""


class BadFilter(ValueError):
    """An invalid filter."""


def address_fault(namespace: Sequence[str], key: str) -> str | None:
    """Return the error for an address that is too long for an index, or None."""
    for what, size in (("key", len(key.encode())), ("namespace", sum(len(x.encode()) + 8 for x in namespace))):
        if size > ADDRESS_BYTES_MAX:
            return f"The {what} is too long: {size} bytes, at most {ADDRESS_BYTES_MAX} are allowed"
    return None


def prefix_filter(prefix: Sequence[str], parameters: Parameters, table: str = "i") -> list[str]:
    """Return the condition for namespaces that begin with these labels: a range of the primary key, since no text lies
    between a label and its end."""
    if not prefix:
        return []
    low = parameters.add(list(prefix), "::text[]")
    high = parameters.add([*prefix[:-1], prefix[-1] + _AFTER_ANY], "::text[]")
    return [f'{table}.namespace >= {low} COLLATE "C"', f'{table}.namespace < {high} COLLATE "C"']


def value_filter(wanted: Mapping[str, Any], parameters: Parameters) -> list[str]:
    """Return conditions on the value's members. Raises BadFilter for an unknown operator or an operand without an order."""
    conditions: list[str] = []
    for name, value in wanted.items():
        _member([name], value, parameters, conditions)
    return conditions


def _member(path: list[str], value: Any, parameters: Parameters, conditions: list[str]) -> None:
    if isinstance(value, Mapping) and value:
        if any(isinstance(key, str) and key.startswith("$") for key in value):
            for operator, operand in value.items():
                conditions.append(_operator(path, operator, operand, parameters))
        else:
            for key, inner in value.items():
                _member([*path, key], inner, parameters, conditions)
        return
    conditions.append(_operator(path, "$eq", value, parameters))


def _operator(path: list[str], operator: str, operand: Any, parameters: Parameters) -> str:
    member = f"i.value #> {parameters.add(path, '::text[]')}"
    if operator in ("$eq", "$ne"):
        sign = "IS NOT DISTINCT FROM" if operator == "$eq" else "IS DISTINCT FROM"
        shown = msgspec.json.encode(operand).decode()
        if operand is None:  # a member that is absent counts as null
            return f"coalesce({member}, 'null'::jsonb) {sign} {parameters.add(shown, '::jsonb')}"
        return f"{member} {sign} {parameters.add(shown, '::jsonb')}"
    if operator not in _ORDER:
        raise BadFilter(f"Unsupported operator: {operator}")
    sign = _ORDER[operator]
    if isinstance(operand, str):
        text = f"{member} #>> '{{}}'"
        return (
            f"(jsonb_typeof({member}) = 'string' AND ({text}) COLLATE \"C\" {sign} {parameters.add(operand, '::text')})"
        )
    if isinstance(operand, int | float) and not isinstance(operand, bool):
        number = parameters.add(msgspec.json.encode(operand).decode(), "::jsonb")
        # jsonb orders numbers by value; the type is checked first because it also orders types
        return f"(jsonb_typeof({member}) = 'number' AND {member} {sign} {number})"
    raise BadFilter(f"{operator} needs a number or a string")


def pattern_filter(pattern: Sequence[str], parameters: Parameters, *, suffix: bool) -> list[str]:
    """Return the condition for namespaces whose first (or last) labels match; ``*`` matches any label."""
    if not pattern:
        return []
    conditions = [f"cardinality(i.namespace) >= {len(pattern)}"]
    fixed = 0
    if not suffix:
        while fixed < len(pattern) and pattern[fixed] != "*":
            fixed += 1
        conditions += prefix_filter(pattern[:fixed], parameters)
    for n, label in enumerate(pattern):
        if label != "*" and n >= fixed:
            at = f"cardinality(i.namespace) - {len(pattern) - 1 - n}" if suffix else str(n + 1)
            conditions.append(f"i.namespace[{at}] = {parameters.add(label, '::text')}")
    return conditions
