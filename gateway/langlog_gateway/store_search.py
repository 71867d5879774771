"""What a store search or a listing of namespaces means in SQL: fixed fragments, values as parameters only (API.md 11). Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from .errors import ApiError
from .visibility import Parameters

_ORDER = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_AFTER_ANY = "\x01"
"""Appended to a label it gives the first text after all that equals the label (NUL cannot occur)."""


def prefix_filter(prefix: list[str], parameters: Parameters) -> list[str]:
    """Namespaces that begin with these labels; the bounds let the primary key find them."""
    if not prefix:
        return []
    low = parameters.add(prefix, "::text[]")
    high = parameters.add([*prefix[:-1], prefix[-1] + _AFTER_ANY], "::text[]")
    return [f'namespace >= {low} COLLATE "C"', f'namespace < {high} COLLATE "C"', f"namespace[1:{len(prefix)}] = {low}"]


def value_filter(wanted: dict[str, Any], parameters: Parameters) -> list[str]:
    """Conditions on the value's members. Raises ApiError 400 for an unknown operator."""
    found: list[str] = []
    for name, value in wanted.items():
        _member([name], value, parameters, found)
    return found


def _member(path: list[str], value: Any, parameters: Parameters, found: list[str]) -> None:
    if isinstance(value, dict) and value:
        if any(key.startswith("$") for key in value):
            for operator, operand in value.items():
                found.append(_operator(path, operator, operand, parameters))
        else:
            for key, inner in value.items():
                _member([*path, key], inner, parameters, found)
        return
    found.append(_operator(path, "$eq", value, parameters))


def _operator(path: list[str], operator: str, operand: Any, parameters: Parameters) -> str:
    member = f"value #> {parameters.add(path, '::text[]')}"
    if operator in ("$eq", "$ne"):
        sign = "IS NOT DISTINCT FROM" if operator == "$eq" else "IS DISTINCT FROM"
        shown = msgspec.json.encode(operand).decode()
        if operand is None:  # a member that is absent counts as null
            return f"coalesce({member}, 'null'::jsonb) {sign} {parameters.add(shown, '::jsonb')}"
        return f"{member} {sign} {parameters.add(shown, '::jsonb')}"
    if operator not in _ORDER:
        raise ApiError(400, f"Unsupported operator: {operator}")
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
    raise ApiError(400, f"{operator} needs a number or a string")


def pattern_filter(pattern: list[str], parameters: Parameters, *, suffix: bool) -> list[str]:
    """Namespaces whose first (or last) labels match; ``*`` stands for any label."""
    if not pattern:
        return []
    found = [f"cardinality(namespace) >= {len(pattern)}"]
    for n, label in enumerate(pattern):
        if label != "*":
            at = f"cardinality(namespace) - {len(pattern) - 1 - n}" if suffix else str(n + 1)
            found.append(f"namespace[{at}] = {parameters.add(label, '::text')}")
    return found
