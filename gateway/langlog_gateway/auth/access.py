"""Access control: the one gate that every endpoint passes (wire contract §18).

`identify` runs before routing, for everything but the open paths; `authorize` calls the project's handlers for one access, and
`admit` also checks, in SQL, that the caller may see the object. Without custom authentication everyone is
allowed and has no identity; with it, the project's own code refuses unauthenticated callers with 401, or admits them.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

from aiohttp import web
from langlog_schemas.rules.filters import Filter

from ..http.errors import ApiError
from .own_calls import is_own_call

Resource = Literal["assistants", "threads", "crons", "store"]
Action = Literal["create", "read", "update", "delete", "search", "create_run", "put", "get", "list_namespaces"]
User = dict[str, Any]
"""Members of an authenticated caller; ``identity`` is always present."""

USER = web.RequestKey("user", User)


class Gate(Protocol):
    """The project's authentication and authorization."""

    async def identify(self, request: web.Request) -> User:
        """Return the caller. Raises ApiError to refuse."""
        ...

    async def authorize(self, user: User, resource: Resource, action: Action, value: dict[str, Any]) -> Filter | None:
        """Return the handler's filter, or None. Raises ApiError to refuse."""
        ...

    async def sees(self, resource: Resource, id: str, visible: Filter) -> bool:
        """Return whether the object exists and matches a filter."""
        ...


GATE = web.AppKey("gate", Gate)


def gate_of(request: web.Request) -> Gate | None:
    """Return what judges the caller; None: nothing does, because the project has no authentication, or its own code calls."""
    return None if is_own_call(request) else request.app.get(GATE)


async def identify(request: web.Request) -> None:
    """Authenticate: store the caller in ``request[USER]``, unless nothing judges it. Raises ApiError to refuse."""
    gate = gate_of(request)
    if gate is not None and USER not in request:
        request[USER] = await gate.identify(request)


def caller(request: web.Request) -> User | None:
    """Return the caller; None without authentication, and for the project's own code."""
    return request.get(USER)


def identity_of(request: web.Request) -> str:
    """Return the caller's identity, to which shares of common limits are counted; empty without a caller."""
    user = caller(request)
    return "" if user is None else user["identity"]


def guarded(request: web.Request) -> bool:
    """Return whether the project's handlers judge the caller. If not, values that only they read need not be prepared."""
    return gate_of(request) is not None


async def authorize(request: web.Request, resource: Resource, action: Action, value: dict[str, Any]) -> Filter | None:
    """Call the project's handlers. They may change ``value``; a filter narrows what the caller sees. Raises ApiError to refuse."""
    gate = gate_of(request)
    if gate is None:
        return None
    user = caller(request)
    if user is None:  # nothing gets here unauthenticated; if it ever does, it ends here
        raise ApiError(403, "Forbidden")
    return await gate.authorize(user, resource, action, value)


OPERATOR = "langlog:operator"
"""The permission to see the whole system, including all tenants' records, and to release parked keys."""


def admit_operator(request: web.Request) -> None:
    """Check that the caller is an operator. Raises ApiError 403.

    If the project authenticates, its handler grants operators the permission `OPERATOR`: filters of its other handlers do not apply
    to objects of no tenant. The project's own code is no operator.
    """
    if GATE in request.app:
        _operates(caller(request))


async def admit_operator_again(request: web.Request) -> None:
    """Check again, with the project's code, that the caller is an operator: for open streams. Raises ApiError."""
    gate = request.app.get(GATE)
    if gate is not None:
        _operates(await gate.identify(request))


def _operates(user: User | None) -> None:
    permissions = () if user is None else user.get("permissions")
    if not isinstance(permissions, list | tuple | set | frozenset) or OPERATOR not in permissions:
        raise ApiError(403, f"This needs the permission {OPERATOR}: have authenticate return it for operators")


async def admit(
    request: web.Request, resource: Resource, action: Action, value: dict[str, Any], missing: ApiError
) -> Filter | None:
    """Authorize access to the one object whose id ``value`` holds. Raises ``missing`` if the caller may not see it.

    Without a filter there is no query: the endpoint itself then checks that the object exists.
    """
    id = value[f"{resource[:-1]}_id"]
    visible = await authorize(request, resource, action, value)
    gate = gate_of(request)
    if visible and gate is not None and not await gate.sees(resource, id, visible):
        raise missing
    return visible
