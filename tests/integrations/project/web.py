"""Authentication that remembers callers in the SDK's cache, and routes that use it too."""

from datetime import timedelta

from langgraph_sdk import Auth
from langgraph_sdk.cache import cache_get, cache_set, swr
from lookups import lookups
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None) -> dict:
    token = authorization or "anybody"

    async def look_up() -> dict:
        lookups.append(token)
        return {"identity": token}

    result = await swr(f"token {token}", look_up, fresh_for=timedelta(minutes=5))
    return result.value


async def entry(request):
    key = request.path_params["key"]
    if request.method == "PUT":
        await cache_set(key, await request.json())
    return JSONResponse(await cache_get(key))


async def count(request):
    return JSONResponse(lookups.count(request.path_params["token"]))


app = Starlette(routes=[Route("/own/cache/{key}", entry, methods=["GET", "PUT"]), Route("/own/lookups/{token}", count)])
