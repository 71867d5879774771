"""Threads are shared with readers, who may not write to them; everything else belongs to its creator.

The credentials are ``name`` or ``name:exp`` with the time at which they expire, in seconds since 1970.
"""

from langgraph_sdk import Auth

auth = Auth()
banned = set()
"""Callers whom the handlers refuse from now on."""


@auth.authenticate
async def authenticate(authorization: str | None):
    if not authorization:
        raise Auth.exceptions.HTTPException(status_code=401, detail="no credentials")
    name, _, exp = authorization.partition(":")
    return {"identity": name, **({"exp": float(exp)} if exp else {})}


def refuse(ctx):
    if ctx.user.identity in banned:
        raise Auth.exceptions.HTTPException(status_code=403, detail="banned")


@auth.on
async def own(ctx, value):
    refuse(ctx)
    value.setdefault("metadata", {})["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}


@auth.on.threads.create
async def create(ctx, value):
    metadata = value.setdefault("metadata", {})
    metadata["owner"] = ctx.user.identity
    metadata.setdefault("readers", []).append(ctx.user.identity)


@auth.on.threads.read
async def read(ctx, value):
    refuse(ctx)
    return {"readers": {"$contains": ctx.user.identity}}


@auth.on.threads.search
async def search(ctx, value):
    return {"readers": {"$contains": ctx.user.identity}}


@auth.on.threads.update
async def update(ctx, value):
    return {"owner": ctx.user.identity}


@auth.on.threads.create_run
async def create_run(ctx, value):
    refuse(ctx)
    metadata = value.setdefault("metadata", {})
    metadata["stamped_by"] = ctx.user.identity
    metadata["owner"] = ctx.user.identity
    metadata["readers"] = [ctx.user.identity]
    value["kwargs"]["config"]["configurable"]["tier"] = "gold"
    value["kwargs"]["config"]["configurable"].pop("secret", None)
    return {"owner": ctx.user.identity}


@auth.on.store
async def store(ctx, value):
    value["namespace"] = (ctx.user.identity, *(value.get("namespace") or ()))
