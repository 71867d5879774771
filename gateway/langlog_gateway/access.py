"""Who may do what: the one place that every endpoint asks (API.md 18).

Without custom authentication everyone is allowed and nobody has a name. A filter compares with ``metadata`` by containment.
"""

from __future__ import annotations

from typing import Any, Literal

from aiohttp import web

Resource = Literal["assistants", "threads", "crons", "store"]
Action = Literal["create", "read", "update", "delete", "search", "create_run", "put", "get", "list_namespaces"]
Filter = dict[str, Any]
User = dict[str, Any]
"""What authentication says of a caller; ``identity`` is always there."""

USER = web.RequestKey("user", User)


async def identify(request: web.Request) -> None:
    """Authenticate: put the caller into ``request[USER]``, unless it is nobody in particular. Raises ApiError to refuse."""


def caller(request: web.Request) -> User | None:
    """Who asks, as far as it is known."""
    return request.get(USER)


async def authorize(request: web.Request, resource: Resource, action: Action, value: dict[str, Any]) -> Filter | None:
    """Ask the project's handlers. They may change ``value``; a filter narrows what is seen. Raises ApiError to refuse."""
    return None
