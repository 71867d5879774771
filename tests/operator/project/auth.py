"""Everybody owns what they make; whose name is ``operator`` may see the whole system."""

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
def authenticate(authorization):
    if not authorization:
        raise Auth.exceptions.HTTPException(status_code=401, detail="no credentials")
    permissions = ["langlog:operator"] if authorization == "operator" else ["langlog", "operator"]
    return {"identity": authorization, "permissions": permissions}


@auth.on
async def own(ctx, value):
    owner = {"owner": ctx.user.identity}
    value.setdefault("metadata", {}).update(owner)
    return owner


@auth.on.threads.create_run
async def run(ctx, value):
    if ctx.user.identity == "reader":
        return False
    assert value["kwargs"] is not None and value["assistant_id"]
    return {"owner": ctx.user.identity}
