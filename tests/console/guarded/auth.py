"""Callers identify themselves by a header of the project's own; each owns the objects it creates."""

from typing import Any

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(headers: dict[bytes, bytes]) -> dict[str, Any]:
    key = headers.get(b"x-team-key", b"").decode()
    if key not in ("ada", "grace"):
        raise Auth.exceptions.HTTPException(status_code=401, detail="Send your key as x-team-key")
    return {"identity": key}


@auth.on
async def own(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> dict[str, Any]:
    owner = {"owner": ctx.user.identity}
    value.setdefault("metadata", {}).update(owner)
    return owner


@auth.on.assistants.read
@auth.on.assistants.search
async def shared(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> None:
    """Assistants are everybody's."""


@auth.on.store
async def inside_own_namespace(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> None:
    """Items are below the caller's name, whatever the request says."""
    namespace = tuple(value.get("namespace") or ())
    value["namespace"] = namespace if namespace[:1] == (ctx.user.identity,) else (ctx.user.identity, *namespace)
