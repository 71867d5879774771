"""Everybody owns what they make: the authorization most projects have, for the test matrix."""

import asyncio
import datetime
import sys

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
def authenticate(authorization, path, method, headers, query_params, request=None):
    if ticket := headers.get("X-Ticket"):
        assert headers[b"x-ticket"] == ticket.encode()
        if ticket == "punched":
            raise Auth.exceptions.HTTPException(status_code=401, detail={"code": "used", "at": [1, None]})
        assert ticket.startswith("of "), f"{ticket} is no ticket"
        assert "nobody" not in ticket
        return {"identity": ticket.removeprefix("of ")}
    if not authorization:
        raise Auth.exceptions.HTTPException(status_code=401, detail="no credentials", headers={"x-secret": "1"})
    if authorization == "broken":
        raise RuntimeError("authenticator broke")
    if authorization == "leaves":
        sys.exit(1)
    if authorization == "interrupts":
        raise KeyboardInterrupt
    if authorization == "cancels":
        raise asyncio.CancelledError
    return {"identity": authorization, "permissions": ["user"], "team": "blue"}


@auth.on
async def own(ctx, value):
    if ctx.user.identity == "leaves later":
        sys.exit(1)
    assert ctx.user.identity != "a guest", "not for guests"
    if ctx.user.identity == "a member":
        raise Auth.exceptions.HTTPException(status_code=402, detail=["unpaid", datetime.date(2026, 1, 1)])
    assert ctx.user.identity != "a stranger"
    owner = {"owner": ctx.user.identity}
    value.setdefault("metadata", {}).update(owner)
    return owner


@auth.on.store
async def store(ctx, value):
    value["namespace"] = (ctx.user["identity"], *(value.get("namespace") or ()))
    return


@auth.on.assistants.search
async def find(ctx, value):
    return {"owner": {"$eq": ctx.user.identity}}
