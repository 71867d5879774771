"""The HTTP application: routes, and the one middleware around all of them.

The middleware answers preflights, redirects trailing slashes, identifies the caller, turns what handlers raise into the error
shapes of API.md 1.2, and counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from .access import GATE, identify
from .assistants import Assistants
from .core import Core
from .cors import Cors
from .crons import Crons
from .custom_auth import load_auth
from .errors import ApiError, internal_error, unprocessable
from .ports import UserCodeError
from .runs import Runs
from .store import Store
from .system import System
from .thread_state import ThreadState
from .thread_stream import ThreadStreams
from .threads import Threads
from .webhooks import WebhookLog

logger = structlog.get_logger(__name__)

OPEN = frozenset({"", "/", "/ok", "/info", "/docs", "/openapi.json", "/metrics"})
"""Paths that need no credentials (API.md 18)."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_app(core: Core) -> web.Application:
    """The application of one gateway."""
    settings = core.settings
    cors = Cors(settings.cors_allow_origins)
    app = web.Application(middlewares=[_middleware(core, cors)], client_max_size=settings.max_body_bytes)
    app.on_response_prepare.append(cors.decorate)
    gate = load_auth(core.options, core.reads)
    if gate is not None:
        app[GATE] = gate
    system, state = System(core), ThreadState(core)
    prefix = core.options.prefix
    if prefix:
        app.router.add_get("/ok", system.ok)
    routes = [
        *system.routes(),
        *Assistants(core).routes(),
        *Threads(core).routes(),
        *state.routes(),
        *ThreadStreams(core, state).routes(),
        *Crons(core).routes(),
        *Runs(core).routes(),
        *WebhookLog(core).routes(),
        *Store(core).routes(),
    ]
    for route in routes:
        app.router.add_route(route.method, prefix + route.path, route.handler)
        if route.method == hdrs.METH_GET:
            app.router.add_route(hdrs.METH_HEAD, prefix + route.path, route.handler)
    return app


def _middleware(core: Core, cors: Cors) -> Middleware:
    prefix = core.options.prefix

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        preflight = cors.preflight(request)
        if preflight is not None:
            return preflight
        clock = asyncio.get_running_loop().time
        began = clock()
        if "%00" in request.raw_path:
            return unprocessable("The NUL character (%00) cannot be part of an id or a key").response()
        response = await _answer(request, handler, open=request.path.removeprefix(prefix) in OPEN)
        resource = request.match_info.route.resource
        path = "unknown" if resource is None else resource.canonical
        core.metrics.count(request.method, path, response.status, clock() - began)
        return response

    return around


async def _answer(request: web.Request, handler: Handler, *, open: bool) -> web.StreamResponse:
    try:
        if not open:
            await identify(request)
        return await handler(request)
    except ApiError as error:
        return error.response()
    except web.HTTPNotFound:
        return await _unrouted(request)
    except web.HTTPMethodNotAllowed as error:
        # the methods of the path's first route, as the peer says it (API.md 1.2)
        return ApiError(405, "Method Not Allowed", {"allow": _allowed(request, error)}).response()
    except web.HTTPRequestEntityTooLarge as error:
        return ApiError(413, error.text or "Request body too large").response()
    except (web.HTTPException, ConnectionResetError):
        raise
    except UserCodeError as error:
        logger.warning("gateway.user_code_failed", path=request.path, error=str(error))
        return internal_error()
    except Exception:
        logger.exception("gateway.request_failed", method=request.method, path=request.path)
        return internal_error()


async def _unrouted(request: web.Request) -> web.Response:
    """404, or 307 to the path without its trailing slash when that one is known."""
    path = request.path
    if path.endswith("/") and path.strip("/"):
        bare = request.rel_url.with_path(path.rstrip("/"), encoded=False).with_query(request.rel_url.query)
        found = await request.app.router.resolve(request.clone(rel_url=bare))
        if not isinstance(found.http_exception, web.HTTPNotFound):
            return web.Response(status=307, headers={"location": str(request.url.origin().join(bare))})
    return ApiError(404, "Not Found").response()


def _allowed(request: web.Request, error: web.HTTPMethodNotAllowed) -> str:
    for resource in request.app.router.resources():
        if resource._match(request.path) is None:  # type: ignore[attr-defined]
            continue
        for route in resource:
            return "GET, HEAD" if route.method in (hdrs.METH_GET, hdrs.METH_HEAD) else route.method
    return ", ".join(sorted(error.allowed_methods))
