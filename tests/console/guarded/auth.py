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
