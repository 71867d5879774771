"""An application of the project's own: routes, a middleware, a lifespan; and one that knows ASGI alone."""

from contextlib import asynccontextmanager

from langgraph_sdk import Auth
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Host, Route, Router, WebSocketRoute

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


async def empty(request):
    """A response that must not have a body, with one."""
    return Response(b"not to be sent", status_code=204)


async def named(request):
    """Headers in UTF-8 and in latin-1, past Starlette, which knows latin-1 alone."""
    response = PlainTextResponse("named")
    response.raw_headers += [(b"x-utf", "Łukasz".encode()), (b"x-latin", "René".encode("latin-1"))]
    return response


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
        Route("/own/empty", empty),
        Route("/own/broken", broken),
        Route("/own/named", named),
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


class Wrapped:
    """A wrapper like those of tracing, error reporting and socket servers."""

    def __init__(self, app):
        self.inside = app

    async def __call__(self, scope, receive, send):
        await self.inside(scope, receive, send)


def by_function(app):
    async def wrapped(scope, receive, send):
        await app(scope, receive, send)

    return wrapped


class KeyNeeded:
    """Asks for a key at every request and every WebSocket."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "lifespan" and dict(scope["headers"]).get(b"x-key") != b"secret":
            if scope["type"] == "http":
                await JSONResponse({"detail": "no key"}, 401)(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 4401})
            return
        await self.app(scope, receive, send)


class Moves:
    """Sends requests for /moved to where a route is."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and scope["path"] == "/moved":
            scope = {**scope, "path": "/own", "raw_path": b"/own"}
        await self.app(scope, receive, send)


async def data(request):
    return JSONResponse({"admin": "data"})


def routed(*middleware):
    return Starlette(
        routes=[
            Route("/own", echo, methods=["GET", "POST"]),
            WebSocketRoute("/own/shout/{name}", shout),
            Host("admin.example.com", Router(routes=[Route("/hosted", data)])),
        ],
        middleware=[Middleware(each) for each in middleware],
    )


keyed = routed(KeyNeeded)
keyed_outside = KeyNeeded(routed())
moving = routed(Moves)
wrapped = Wrapped(routed())
twice_wrapped = by_function(Wrapped(routed()))
bare_router = Router(routes=[Route("/own", echo, methods=["GET", "POST"])])


async def hidden(scope, receive, send):
    """Shows no router, and has a page of its own at an open path."""
    if scope["type"] != "http":
        await send({"type": "websocket.close", "code": 1000})
        return
    body = b"hidden" if scope["path"] in ("/own", "/docs") else b""
    await send({"type": "http.response.start", "status": 200 if body else 404, "headers": []})
    await send({"type": "http.response.body", "body": body})


by_header = Auth()


@by_header.authenticate
async def by_authorization(authorization):
    if not authorization:
        raise Auth.exceptions.HTTPException(status_code=401, detail="who?")
    return authorization
