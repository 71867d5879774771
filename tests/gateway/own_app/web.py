"""An application of the project's own: routes, a middleware, a lifespan; and one that knows ASGI alone."""

from contextlib import asynccontextmanager

from langgraph_sdk import Auth
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

lives = []


class Stamp(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        if request.headers.get("x-stop"):
            return PlainTextResponse("stopped", status_code=418)
        response = await call_next(request)
        response.headers["x-stamp"] = "seen"
        return response


async def echo(request):
    user = request.user.identity if "user" in request.scope else None
    return JSONResponse({"body": (await request.body()).decode(), "user": user, "lives": lives})


@requires("staff")
async def staff(request):
    user = request.user
    return JSONResponse({"user": dict(user), "known": user.is_authenticated, "team": getattr(user, "team", None)})


async def parts(request):
    async def stream():
        for n in range(3):
            yield f"{n}\n"

    return StreamingResponse(stream())


async def broken(request):
    raise ValueError("no")


async def shout(socket):
    await socket.accept(subprotocol=(socket.scope["subprotocols"] or [None])[0])
    user = socket.user["identity"] if "user" in socket.scope else None
    await socket.send_json({"lives": lives, "user": user, "path": socket.path_params})
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            lives.append(f"left {message['code']}")
            return
        if "text" in message and message["text"] == "break":
            raise ValueError("no")
        if "text" in message and message["text"] == "bye":
            await socket.close(code=4001, reason="bye")
            return
        if message.get("text") is not None:
            await socket.send_text(message["text"].upper())
        else:
            await socket.send_bytes(message["bytes"][::-1])


async def refuse(socket):
    await socket.close()


async def sorry(socket):
    await socket.send_denial_response(PlainTextResponse("no seats", status_code=429, headers={"x-why": "full"}))


@asynccontextmanager
async def lifespan(app):
    lives.append("up")
    yield
    lives.append("down")


app = Starlette(
    routes=[
        Route("/own", echo, methods=["GET", "POST"]),
        Route("/own/staff", staff),
        Route("/own/parts", parts),
        Route("/own/broken", broken),
        WebSocketRoute("/own/shout/{name}", shout),
        WebSocketRoute("/own/refuse", refuse),
        WebSocketRoute("/own/sorry", sorry),
        WebSocketRoute("/threads/{id}/stream/events", shout),
    ],
    middleware=[Middleware(Stamp)],
    lifespan=lifespan,
)


async def plain(scope, receive, send):
    """Bare ASGI: no lifespan, and 404 for what it does not know."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    status = 200 if scope["path"] == "/own" else 404
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"plain"})


auth = Auth()


@auth.authenticate
async def authenticate(request):
    if not request.headers.get("authorization"):
        raise Auth.exceptions.HTTPException(status_code=401, detail="who?")
    name = request.headers["authorization"]
    return {"identity": name, "team": "red", "permissions": ["staff"]} if name == "ann" else name
