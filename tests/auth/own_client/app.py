"""Routes that call the server that serves them, and one that tells what it gets."""

from langgraph_sdk import get_client
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

server = get_client()


async def seen(request):
    return JSONResponse({"headers": sorted(request.headers.keys()), "user": "user" in request.scope})


async def ask(request):
    thread = await server.threads.create(metadata={"owner": "bob"})
    limited = get_client(headers={"authorization": "alice"})
    return JSONResponse(
        {
            "thread": thread["thread_id"],
            "bob": await server.threads.count(metadata={"owner": "bob"}),
            "alice": await limited.threads.count(metadata={"owner": "bob"}),
            "seen": await server.http.get("/seen"),
        }
    )


app = Starlette(routes=[Route("/seen", seen), Route("/ask", ask)])
