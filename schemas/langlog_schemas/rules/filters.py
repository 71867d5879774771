"""Filters on metadata (wire contract §18): the objects that an authorization handler lets its caller see. Pure.

``{"owner": "alice"}`` and ``{"owner": {"$eq": "alice"}}`` require equality, ``{"team": {"$contains": v | [v, …]}}`` a list with
all of these; keys are ANDed. ``{"$or": [filter, …]}`` requires at least one of the filters, ``{"$and": [filter, …]}`` all of them.
The gateway evaluates filters in SQL; deciders call `admits` with the state that a command changes. Both read a filter
through `terms`, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

Filter = dict[str, Any]


class FilterError(ValueError):
    """An invalid filter: an error of the handler that returned it. Access is denied."""


class Term(NamedTuple):
    key: str
    operator: Literal["eq", "contains"]
    value: Any
    """For ``contains``: the list of members."""


class Group(NamedTuple):
    """A group of filters: one (``or``) or all (``and``) of them must match."""

    operator: Literal["or", "and"]
    filters: list[Filter]


DEPTH_MAX = 8
"""Maximum nesting of groups."""


def terms(wanted: Mapping[str, Any], depth: int = 0) -> Iterator[Term | Group]:
    """The conditions of a filter; all must hold. Raises FilterError, also for what a group holds."""
    for key, value in wanted.items():
        if key in ("$or", "$and"):
            yield _group(key, value, depth)
            continue
        if not isinstance(key, str) or key.startswith("$"):
            raise FilterError(f"a filter's keys are names of metadata, not {key!r}")
        operators = isinstance(value, Mapping) and any(isinstance(k, str) and k.startswith("$") for k in value)
        if not operators:
            yield Term(key, "eq", value)
            continue
        for operator, operand in value.items():
            if operator == "$eq":
                yield Term(key, "eq", operand)
            elif operator == "$contains":
                yield Term(key, "contains", list(operand) if isinstance(operand, list | tuple | set) else [operand])
            else:
                raise FilterError(f"unknown operator {operator!r} in a filter")


def check(wanted: Mapping[str, Any]) -> None:
    """Check what an authorization handler returned, with what its groups hold. Raises FilterError.

    Unlike `terms`, it refuses ``$contains`` with an empty list, which every list contains: a caller who is in no team would see
    what belongs to any. Filters of commands and crons that older versions have made keep their meaning.
    """
    for term in terms(wanted):
        if isinstance(term, Group):
            for inner in term.filters:
                check(inner)
        elif term.operator == "contains" and not term.value:
            raise FilterError(
                f"$contains of {term.key!r} in a filter takes a value or a list that is not empty: every list contains an empty one. "
                "Return False for a caller who may see none"
            )


def _group(key: str, value: Any, depth: int) -> Group:
    if not isinstance(value, list | tuple) or not value or not all(isinstance(inner, Mapping) for inner in value):
        raise FilterError(f"{key} takes a list of filters that is not empty, not {value!r}")
    if depth == DEPTH_MAX:
        raise FilterError(f"{key} is nested more than {DEPTH_MAX} deep in a filter")
    for inner in value:
        tuple(terms(inner, depth + 1))
    return Group("or" if key == "$or" else "and", [dict(inner) for inner in value])


def admits(wanted: Mapping[str, Any] | None, metadata: Mapping[str, Any]) -> bool:
    """Return whether the caller may see an object with this metadata. Raises FilterError."""
    if not wanted:
        return True
    return all(_holds(term, metadata) for term in terms(wanted))


def _holds(term: Term | Group, metadata: Mapping[str, Any]) -> bool:
    if isinstance(term, Group):
        combine = any if term.operator == "or" else all
        return combine(admits(inner, metadata) for inner in term.filters)
    if term.key not in metadata:
        return False
    value = metadata[term.key]
    if term.operator == "eq":
        return _same(value, term.value)
    return isinstance(value, list) and all(any(_same(x, y) for x in value) for y in term.value)


def _same(a: Any, b: Any) -> bool:
    """Return whether two values are equal in JSON, where true is not 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)
