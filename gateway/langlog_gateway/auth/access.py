"""Who may do what: the one gate that every endpoint passes (wire contract §18).

`identify` runs before routing, for everything but the open paths; `authorize` asks the project's handlers about one access, and
`admit` also makes sure, in SQL, that the object it is about is there for the caller. Without custom authentication everyone is
allowed and nobody has a name; with it, the project's own code answers unauthenticated callers with 401, or lets them in.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

from aiohttp import web
from langlog_schemas.rules.filters import Filter

from ..http.errors import ApiError

Resource = Literal["assistants", "threads", "crons", "store"]
Action = Literal["create", "read", "update", "delete", "search", "create_run", "put", "get", "list_namespaces"]
User = dict[str, Any]
"""What authentication says of a caller; ``identity`` is always there."""

USER = web.RequestKey("user", User)


class Gate(Protocol):
    """The project's authentication and authorization."""

    async def identify(self, request: web.Request) -> User:
        """The caller. Raises ApiError to refuse."""
        ...

    async def authorize(self, user: User, resource: Resource, action: Action, value: dict[str, Any]) -> Filter | None:
        """The handler's answer. Raises ApiError to refuse."""
        ...

    async def sees(self, resource: Resource, id: str, visible: Filter) -> bool:
        """Whether the object is there under a filter."""
        ...


GATE = web.AppKey("gate", Gate)


async def identify(request: web.Request) -> None:
    """Authenticate: put the caller into ``request[USER]``, unless it is nobody in particular. Raises ApiError to refuse."""
    gate = request.app.get(GATE)
    if gate is not None and USER not in request:
        request[USER] = await gate.identify(request)


def caller(request: web.Request) -> User | None:
    """The caller, as far as it is known."""
    return request.get(USER)


def identity_of(request: web.Request) -> str:
    """The caller's identity, by which shares of what all use are counted; empty: nobody in particular."""
    user = caller(request)
    return "" if user is None else user["identity"]


def guarded(request: web.Request) -> bool:
    """Whether handlers are asked at all: what only they look at need not be prepared otherwise."""
    return request.app.get(GATE) is not None


async def authorize(request: web.Request, resource: Resource, action: Action, value: dict[str, Any]) -> Filter | None:
    """Ask the project's handlers. They may change ``value``; a filter narrows what is seen. Raises ApiError to refuse."""
    gate = request.app.get(GATE)
    if gate is None:
        return None
    user = caller(request)
    if user is None:  # nothing gets here unauthenticated; if it ever does, it ends here
        raise ApiError(403, "Forbidden")
    return await gate.authorize(user, resource, action, value)


OPERATOR = "langlog:operator"
"""The permission of who may see the whole system, all tenants' records among it, and release parked keys."""


def admit_operator(request: web.Request) -> None:
    """Let the caller do what operators do. Raises ApiError 403.

    Where the project authenticates, its handler gives operators the permission `OPERATOR`: filters of its other handlers do not fit
    what belongs to no tenant.
    """
    if GATE in request.app:
        _operates(caller(request))


async def admit_operator_again(request: web.Request) -> None:
    """As `admit_operator`, asking the project's code anew: for streams that stay open. Raises ApiError."""
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
    """As `authorize`, about the one object that ``value`` names by its id. Raises ``missing`` when it is not there for the caller.

    Without a filter nothing is looked up: that the object exists is then for the endpoint to find out.
    """
    id = value[f"{resource[:-1]}_id"]
    visible = await authorize(request, resource, action, value)
    gate = request.app.get(GATE)
    if visible and gate is not None and not await gate.sees(resource, id, visible):
        raise missing
    return visible
