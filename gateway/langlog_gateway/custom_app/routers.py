"""Finds the routers of an ASGI application, also inside wrappers.

Tracing, error reporting and socket servers wrap an application in an object or a function of theirs. The router in it is still where
the application's middleware hands requests to, so built-in routes and authentication belong there.
"""

from __future__ import annotations

import functools
import types
from collections import deque
from collections.abc import Iterator
from typing import Any

LOOKED_AT = 200
"""Maximum number of objects that a search examines."""


def find_routers(app: Any) -> list[Any]:
    """Return Starlette-like routers, the outermost first; none if no router is visible."""
    routers: list[Any] = []
    seen: set[int] = set()
    waiting = deque([app])
    while waiting and len(seen) < LOOKED_AT:
        current = waiting.popleft()
        if id(current) in seen:
            continue
        seen.add(id(current))
        router = next((each for each in (current, _attribute(current, "router")) if _is_router(each)), None)
        if router is None:
            waiting.extend(part for part in _wrapped(current) if callable(part) and not isinstance(part, type))
        elif not any(router is known for known in routers):
            routers.append(router)
    return routers


def _is_router(value: Any) -> bool:
    return all(_attribute(value, name) is not None for name in ("default", "routes", "middleware_stack"))


def _attribute(value: Any, name: str) -> Any:
    """Return an attribute; None if it is missing or getting it fails: proxies have any name, and raise anything."""
    try:
        return getattr(value, name, None)
    except Exception:
        return None


def _wrapped(value: Any) -> Iterator[Any]:
    """Yield the objects that an object or a function holds."""
    if isinstance(value, functools.partial):
        yield value.func
        yield from value.args
        yield from value.keywords.values()
    elif isinstance(value, types.MethodType):
        yield value.__self__
    elif isinstance(value, types.FunctionType):
        for cell in value.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:  # not set yet
                continue
    else:
        held = _attribute(value, "__dict__")
        yield from held.values() if isinstance(held, dict) else ()
        for kind in type(value).__mro__:
            for name in _slots(kind):
                yield _attribute(value, name)


def _slots(kind: type) -> tuple[str, ...]:
    slots = kind.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)
