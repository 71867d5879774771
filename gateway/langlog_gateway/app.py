"""The HTTP application: routes, and the one middleware around all of them.

The middleware answers preflights, redirects trailing slashes, identifies the caller, turns what handlers raise into the error
shapes of the wire contract (§1.2), and counts.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import msgspec
import structlog
from aiohttp import hdrs, web
from aiohttp.http import SERVER_SOFTWARE
from aiohttp.typedefs import Middleware
from langlog_backbone.metrics import tenants
from langlog_backbone.process import tracing
from langlog_backbone.process.activity import Activity

from .agents.a2a import A2a
from .agents.mcp import Mcp
from .auth.access import GATE, identify, identity_of
from .auth.encryption_context import serving
from .auth.own_calls import OwnCalls
from .changes.hub import Hub
from .changes.routes import Changes
from .components.routes import Components
from .console.routes import Console, is_console
from .core import ID_SECRET, Core
from .custom_app.asgi import CustomApp
from .custom_app.live_code import LiveGate
from .http import effect
from .http.aiohttp_members import fits
from .http.backends import UserCodeError
from .http.bodies.budget import BodyBudget
from .http.bodies.expectation import keeps_body
from .http.bodies.reader import BUDGET, LIMITS, NO_BODY, BodyLimits, receive_body, release_body
from .http.browser_guard import SAFE, BrowserGuard
from .http.cors import Cors, cors_of
from .http.errors import CLOSING, ApiError, internal_error, reason_of, unprocessable
from .http.options import HttpOptions
from .http.validation import url_of
from .openapi.document import document
from .operator.dead_letters import DeadLetters
from .operator.health import HealthPages
from .operator.imports import Imports
from .operator.live import LiveStreams
from .operator.records import LogRecords
from .operator.runs import RunInsights
from .operator.webhooks import Webhooks
from .protocol.feed import Feeds
from .protocol.history import History
from .protocol.http import SOCKET_PATH, Protocol
from .resources.assistants import Assistants
from .resources.crons import Crons
from .resources.store import Store
from .resources.system import System
from .resources.truncation import Truncation
from .resources.webhooks import WebhookLog
from .runs.retry import Retries
from .runs.routes import Runs
from .runs.search import RunSearch
from .threads.events import ThreadEvents
from .threads.fork import Forks
from .threads.interrupts import Interrupts
from .threads.routes import Threads
from .threads.state import ThreadState
from .threads.stream import ThreadStreams

logger = structlog.get_logger(__name__)

OPEN = frozenset({"", "/", "/ok", "/info", "/docs", "/openapi.json", "/metrics"})
"""Paths that need no credentials (wire contract §18)."""

FREQUENT = frozenset(
    f"/threads/{{thread_id}}/{what}" for what in ("runs", "runs/wait", "runs/stream", "state", "history")
)
"""Paths that are tried first: aiohttp tries those of a thread one after the other. Each ends in a word that precedes a variable in its
place (``runs/{run_id}``) anyway."""

SOCKETS = frozenset({SOCKET_PATH})
"""Routes that accept WebSockets themselves; the project's application cannot replace them."""

ROUTES_NAMED = 50
"""Maximum number of routes of the project's application in one log line."""

CLIENT_GONE = 499
"""Status counted for requests whose connection broke; never sent."""

BEGUN = web.RequestKey("begun", bool)
"""Set once the response begins."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_app(core: Core, components: Components) -> web.Application:
    """Return the application of one gateway. Raises StartError for an object that the project names and that cannot be loaded."""
    settings, options = core.settings, core.options
    cors = cors_of(settings, options)
    code = core.code
    code.load()
    components.load()
    if code.any:
        from langlog_backbone.project.cache import open_cache  # here: it brings the SDK into memory

        open_cache(core.pipe, settings)
    guard = None
    if options.auth.path is None:
        guard = BrowserGuard(settings, cors, socket.gethostname())
    around = _middleware(core, cors, guard, components)
    app = web.Application(middlewares=[around], client_max_size=settings.max_body_bytes)
    app[ID_SECRET] = core.id_secret
    app[LIMITS] = BodyLimits(settings.max_body_bytes, settings.body_timeout_s)
    # a compressed body takes memory twice: as received, and unpacked
    share = max(settings.max_bodies_bytes // 2, 2 * settings.max_body_bytes)
    app[BUDGET] = BodyBudget(settings.max_bodies_bytes, share)
    app.cleanup_ctx.append(code.lifespan)
    app.on_response_prepare.append(cors.decorate)
    app.on_response_prepare.append(_begins)
    if code.gate is not None:
        app[GATE] = LiveGate(code)
        if code.app is not None and not options.http.enable_custom_route_auth:
            _name_open_routes(code.app)
    system = System(core)
    routes = _routes(core, system, components)
    prefix = options.prefix
    if prefix:
        app.router.add_get("/ok", system.ok)

    def describe() -> None:
        system.document = msgspec.json.encode(document(routes, options, code.app, guarded=code.gate is not None))

    describe()
    code.on_change.append(describe)
    # in no document: pages are for people, truncation is for test suites
    console = Console(core)
    hidden = console.routes()
    if core.dev and options.auth.path is None and not settings.production:
        hidden += Truncation(core).routes()
    for route in sorted([*routes, *hidden], key=lambda route: route.path not in FREQUENT):
        if options.http.disabled(route.path):
            continue
        for_browsers = {"/": console.home, "/docs": console.docs}.get(route.path)
        handler = route.handler if for_browsers is None else for_browsers(route.handler)
        app.router.add_route(route.method, prefix + route.path, handler)
        if route.method == hdrs.METH_GET:
            app.router.add_route(hdrs.METH_HEAD, prefix + route.path, handler)
    return app


def _routes(core: Core, system: System, components: Components) -> list[web.RouteDef]:
    """Return the routes of the API, in the order of its document."""
    state, live = ThreadState(core), LiveStreams(core)
    hub = Hub(core.bus, core.reads, core.id_secret)
    core.on_drain.append(hub.close_all)
    core.on_stop.append(hub.stop)
    feeds = Feeds(core.watches, History(core.reads, core.backlog), core.backlog)
    return [
        *system.routes(),
        *Assistants(core).routes(),
        *Threads(core).routes(),
        *state.routes(),
        *ThreadStreams(core, state).routes(),
        *Protocol(core, feeds).routes(),
        *Changes(core, hub).routes(),
        *Interrupts(core).routes(),
        *Forks(core, state).routes(),
        *Crons(core).routes(),
        *Runs(core).routes(),
        *Retries(core).routes(),
        *RunSearch(core).routes(),
        *WebhookLog(core).routes(),
        *ThreadEvents(core).routes(),
        *Store(core).routes(),
        *Mcp(core).routes(),
        *A2a(core).routes(),
        *components.routes(),
        *HealthPages(core, live).routes(),
        *LogRecords(core, live).routes(),
        *DeadLetters(core).routes(),
        *Webhooks(core).routes(),
        *Imports(core).routes(),
        *RunInsights(core, live).routes(),
    ]


async def _begins(request: web.Request, response: web.StreamResponse) -> None:
    """Release the request's body once the response begins: a stream lasts, and must not keep it."""
    request[BEGUN] = True
    release_body(request)


async def unnamed(request: web.Request, response: web.StreamResponse) -> None:
    """Remove the header that names the server's software; one of the project's own application stays."""
    if response.headers.get(hdrs.SERVER) == SERVER_SOFTWARE:
        del response.headers[hdrs.SERVER]


def _name_open_routes(custom: CustomApp) -> None:
    """Log the routes of the project's application that anyone may call although the project authenticates."""
    routes = [f"{'/'.join(sorted(methods - {hdrs.METH_HEAD}))} {path}" for path, methods in custom.endpoints()]
    if routes or custom.opaque:
        logger.warning(
            "gateway.own_routes_unauthenticated",
            routes=routes[:ROUTES_NAMED],
            more=max(0, len(routes) - ROUTES_NAMED) or custom.opaque,
            means="auth.path does not guard the routes of http.app: set http.enable_custom_route_auth, or guard them there",
        )


def _middleware(core: Core, cors: Cors, guard: BrowserGuard | None, components: Components) -> Middleware:
    activity = Activity(core.settings)
    inside = _guarded_and_counted(core, cors, guard, components)
    own_calls = core.own_calls if core.code.gate is not None else OwnCalls([])

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        own_calls.recognise(request)
        clock = asyncio.get_running_loop().time
        began, status, reason = clock(), 500, ""
        try:
            response = await inside(request, handler)
            if keeps_body(request) and not response.prepared:
                response.force_close()
            status = response.status
            if activity.shows_reasons:
                reason = reason_of(response)
        except web.HTTPException as error:
            status = error.status
            raise
        except asyncio.CancelledError:
            status = CLIENT_GONE
            raise
        finally:
            activity.request(request.method, request.raw_path, status, clock() - began, reason)
        return response

    return around


def _guarded_and_counted(
    core: Core, cors: Cors, guard: BrowserGuard | None, components: Components
) -> Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]:
    prefix, http, code = core.options.prefix, core.options.http, core.code

    async def inside(request: web.Request, handler: Handler) -> web.StreamResponse:
        keyed = components.admits(request)
        if guard is not None and not keyed and (refused := _guarded(guard, request, prefix)) is not None:
            return refused
        preflight = cors.preflight(request)
        if preflight is not None:
            return preflight
        custom = code.app
        clock = asyncio.get_running_loop().time
        began = clock()
        if "%00" in request.raw_path:
            return unprocessable("The NUL character (%00) cannot be part of an id or a key").response()
        bare = request.path.removeprefix(prefix)
        public = bare in OPEN or is_console(bare) or keyed
        resource = request.match_info.route.resource
        path = "unknown" if resource is None else resource.canonical
        with tracing.span(f"{request.method} {path}", parent=request.headers.get("traceparent"), kind="server") as span:
            try:
                if custom is None or not request.path.startswith(f"{prefix}/"):
                    response = await _answer(request, handler, public=public, http=http, prefix=prefix)
                else:
                    response = await _through(custom, request, handler, public=public, core=core)
            finally:
                release_body(request)
            if response.status in CLOSING and not response.prepared:
                response.force_close()
            if span is not tracing.IDLE:
                _described(span, request, path, response.status)
        core.metrics.count(request.method, path, response.status, clock() - began)
        if tenants.REQUESTS.limit:
            tenants.REQUESTS.count(identity_of(request))
        return response

    return inside


def _described(span: tracing.Span, request: web.Request, route: str, status: int) -> None:
    """Set the span's attributes by OpenTelemetry's conventions for HTTP, without the query string, which may be private."""
    span.set(
        {
            "http.request.method": request.method,
            "http.route": route,
            "url.path": request.path,
            "http.response.status_code": status,
        }
    )
    if status >= 500:
        span.fail(str(status))


def _guarded(guard: BrowserGuard, request: web.Request, prefix: str) -> web.Response | None:
    """Return the refusal of a request that a web page may have sent, or None."""
    if request.method in SAFE and request.path in ("/ok", f"{prefix}/ok"):
        return None  # probes of load balancers have names of their own
    if request.method == "OPTIONS" and "access-control-request-method" in request.headers:
        why = guard.foreign_host(request.headers)  # `Cors` checks the origin of a preflight
    else:
        why = guard.refusal(request.method, request.headers)
    if why is None:
        return None
    logger.warning("gateway.refused_page", method=request.method, path=request.path[:200], why=why)
    response = ApiError(403, why).response()
    response.force_close()
    return response


async def _through(
    custom: CustomApp, request: web.Request, handler: Handler, *, public: bool, core: Core
) -> web.StreamResponse:
    """Return the response of the project's application, or of the built-in routes behind its middleware.

    Its own routes are authenticated only if the project requires it; then, and with ``auth_first``, none of its code runs before.
    """
    http, prefix = core.options.http, core.options.prefix

    async def builtin(inner: web.Request) -> web.StreamResponse:
        return await _answer(inner, handler, public=public, http=http, prefix=prefix)

    upgrade = _is_upgrade(request)
    reserved = upgrade and _takes_sockets(request, prefix)
    own = not reserved and custom.routes(request, "websocket" if upgrade else "http")
    guard_own = http.enable_custom_route_auth
    withheld = None
    try:
        if (guard_own and (own or custom.opaque)) or (
            http.middleware_order == "auth_first" and (upgrade or not public)
        ):
            try:
                await identify(request)
            except ApiError as error:
                if own or upgrade or not public or request.method not in SAFE:
                    raise
                withheld = error  # only an opaque application gets here: it may have a route of this open path
        if upgrade:
            limit = core.settings.max_body_bytes
            return await custom.socket(request, builtin, limit, guard_own=guard_own, reserved=reserved)
        return await custom.handle(request, builtin, guard_own=guard_own, withheld=withheld)
    except ApiError as error:
        return error.response()
    except ConnectionResetError:
        return _gone(request)
    except web.HTTPException:
        raise
    except Exception:
        logger.exception("gateway.app_failed", method=request.method, path=request.path, **_logged(request, http))
        return internal_error()


def _is_upgrade(request: web.Request) -> bool:
    """Return whether a WebSocket is requested. Other upgrades are ignored."""
    return request.headers.get("upgrade", "").lower() == "websocket"


def _takes_sockets(request: web.Request, prefix: str) -> bool:
    resource = request.match_info.route.resource
    return resource is not None and resource.canonical.removeprefix(prefix) in SOCKETS


def _logged(request: web.Request, http: HttpOptions) -> dict[str, object]:
    """Return the headers that the project logs."""
    return {} if http.logging_headers is None else {"headers": http.logging_headers.pick(request.headers)}


async def _answer(
    request: web.Request, handler: Handler, *, public: bool, http: HttpOptions, prefix: str
) -> web.StreamResponse:
    """Return the response of a built-in route: the caller is identified first, then the body is read."""
    try:
        serving(request)
        effect.begin()
        refused = _is_upgrade(request) and not _takes_sockets(request, prefix)
        if refused or not public:
            await identify(request)
        if refused:
            return web.Response(status=403)  # no other route accepts WebSockets (wire contract §9.3)
        if request.method not in NO_BODY and request.match_info.http_exception is None:
            await receive_body(request, identity_of(request))
        return await handler(request)
    except ApiError as error:
        return _instead(request, error.response())
    except web.HTTPNotFound:
        return await _unrouted(request)
    except web.HTTPMethodNotAllowed as error:
        # the methods of the path's first route, as the reference server reports them (wire contract §1.2)
        return ApiError(405, "Method Not Allowed", {"allow": _allowed(request, error)}).response()
    except ConnectionResetError:
        return _gone(request)
    except web.HTTPException as error:  # of the handshake of a WebSocket
        return ApiError(error.status, error.text or error.reason).response()
    except UserCodeError as error:
        logger.warning("gateway.user_code_failed", path=request.path, error=str(error), **_logged(request, http))
        return _instead(request, internal_error(str(error)))
    except Exception:
        logger.exception("gateway.request_failed", method=request.method, path=request.path, **_logged(request, http))
        return _instead(request, internal_error())


def _instead(request: web.Request, response: web.Response) -> web.Response:
    """Return the response of a request that failed; if another has begun, which cannot be taken back, close the connection: a client
    sees that what it got is not whole, and reconnects."""
    if not request.get(BEGUN):
        return response
    logger.warning("gateway.response_broken_off", path=request.path, status=response.status)
    return _gone(request)


def _gone(request: web.Request) -> web.Response:
    """Close the connection mid-response: the client disconnected, or the server is shutting down."""
    if request.transport is not None:
        request.transport.close()
    return web.Response(status=CLIENT_GONE)


async def _unrouted(request: web.Request) -> web.Response:
    """Return 404, or 307 to the path without its trailing slash if that path has a route."""
    path = request.path
    if path.endswith("/") and path.strip("/"):
        bare = request.rel_url.with_path(path.rstrip("/"), encoded=False).with_query(request.rel_url.query)
        if any(fits(resource, bare.raw_path) for resource in request.app.router.resources()):
            try:
                location = url_of(request).origin().join(bare)
            except ApiError as error:
                return error.response()
            return web.Response(status=307, headers={"location": str(location)})
    return ApiError(404, "Not Found").response()


def _allowed(request: web.Request, error: web.HTTPMethodNotAllowed) -> str:
    for resource in request.app.router.resources():
        if not fits(resource, request.path):
            continue
        for route in resource:
            return "GET, HEAD" if route.method in (hdrs.METH_GET, hdrs.METH_HEAD) else route.method
    return ", ".join(sorted(error.allowed_methods))
