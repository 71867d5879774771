"""Callers own what they make. Handlers look objects up by a client without an address."""

from langgraph_sdk import Auth, get_client

auth = Auth()
server = get_client()


@auth.authenticate
async def authenticate(authorization, headers):
    names = sorted(name.decode() for name in headers)
    if not authorization:
        raise Auth.exceptions.HTTPException(status_code=401, detail=f"no credentials: {' '.join(names)}")
    known = await server.assistants.count()
    return {"identity": authorization, "assistants": known}


@auth.on
async def own(ctx, value):
    owner = {"owner": ctx.user.identity}
    value.setdefault("metadata", {}).update(owner)
    return owner


@auth.on.threads.read
async def read(ctx, value):
    thread = await server.threads.get(value["thread_id"])
    if ctx.user.identity in thread["metadata"].get("readers", ()):
        return True
    return {"owner": ctx.user.identity}


@auth.on.store
async def store(ctx, value):
    return False
