"""Authentication and authorization by the project's `langgraph_sdk.Auth` object (wire contract §18).

One per gateway, on its event loop. Exceptions of the project's code other than HTTPException and AssertionError are a 500, and never
admit a caller. A synchronous authenticate runs in a thread. If the project configures it, callers are cached for a while by some of
their headers.
"""

from __future__ import annotations

import asyncio
import hmac
import inspect
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import msgspec
import structlog
from aiohttp import web
from langlog_backbone.process.service import StartError
from langlog_backbone.process.settings import Settings
from langlog_backbone.project.exits import contained
from langlog_backbone.project.imports import load_object
from langlog_backbone.time.sources import monotonic
from langlog_backbone.values.json_shape import has_nul
from langlog_schemas.rules.filters import Filter, check

from ..http.backends import Reads
from ..http.bodies.reader import receive_body
from ..http.cors import STUDIO, origin_of
from ..http.errors import ApiError, JsonError
from ..http.options import AuthCache, Options
from .access import Action, Resource, User
from .request_headers import RequestHeaders
from .starlette import Caller, check_starlette, starlette_request
from .visibility import seen

if TYPE_CHECKING:
    from langgraph_sdk import Auth

PARAMETERS = frozenset(
    {
        "request",
        "headers",
        "body",
        "path",
        "method",
        "path_params",
        "query_params",
        "scopes",
        "authorization",
        "user",
    }
)


logger = structlog.get_logger(__name__)

IDENTITY_BYTES_MAX = 1_000
"""Maximum length of an identity in UTF-8, in bytes: Postgres keeps it in indexes, whose entries are bounded."""
NOT_TEXT = "The result of authentication has text that is not UTF-8, or a NUL character: it cannot be stored"

ACTIONS: dict[Resource, tuple[Action, ...]] = {
    "assistants": ("create", "read", "update", "delete", "search"),
    "threads": ("create", "read", "update", "delete", "search", "create_run"),
    "crons": ("create", "read", "update", "delete", "search"),
    "store": ("put", "get", "search", "list_namespaces", "delete"),
}
"""Resource -> actions for which handlers are called."""


DENY_BY_DEFAULT = "@auth.on\nasync def deny_by_default(ctx, value):\n    return False"
"""Example of a handler that covers every action without a handler of its own."""


class Studio(dict[str, Any]):
    """Members of a developer who uses Studio: handlers receive the SDK's ``StudioUser`` for it."""


STUDIO_SCHEME = "langsmith"
"""Studio's value of ``x-auth-scheme``."""
STUDIO_USER = "langgraph-studio-user"
STUDIO_HINT = (
    "requests of Studio need LANGLOG_STUDIO_API_KEY: set it on this server to a key of your own, and have Studio send that key as "
    "x-api-key with x-auth-scheme: langsmith"
)
STUDIO_WRONG_KEY = "this request of Studio does not carry the server's LANGLOG_STUDIO_API_KEY as x-api-key"


class Studios(NamedTuple):
    """Recognises requests of Studio: by their scheme, or by the origin of its page."""

    own: str = ""
    """Origin of the operator's own Studio; empty: the hosted one only."""

    def sent(self, request: web.Request) -> bool:
        if request.headers.get("x-auth-scheme", "").lower() == STUDIO_SCHEME:
            return True
        origin = request.headers.get("origin", "")
        return bool(origin) and (origin == self.own or STUDIO.fullmatch(origin) is not None)


AUTHENTICATING: ContextVar[bool] = ContextVar("langlog_authenticating", default=False)
"""Whether the project's authentication is being called."""


@contextmanager
def _authenticating() -> Iterator[None]:
    before = AUTHENTICATING.set(True)
    try:
        yield
    finally:
        AUTHENTICATING.reset(before)


class CustomAuth:
    """`access.Gate` by an Auth object."""

    def __init__(
        self,
        auth: Auth,
        reads: Reads,
        cache: AuthCache | None = None,
        studio_key: str = "",
        studio: Studios | None = None,
    ) -> None:
        """``studio_key``: key of the Studio user; empty: there is none. ``studio``: Studios whose refused requests get a
        response with what they lack; None: the project admits no Studio user. Raises StartError for an object that cannot
        authenticate.
        """
        authenticate = auth._authenticate_handler
        if authenticate is None:
            raise StartError("auth.path: the Auth object has no @auth.authenticate")
        wanted = inspect.signature(authenticate).parameters
        everything = any(p.kind is p.VAR_KEYWORD for p in wanted.values())
        self._wanted = PARAMETERS - {"user", "request"} if everything else PARAMETERS & wanted.keys()
        unknown = [
            name
            for name, p in wanted.items()
            if name not in PARAMETERS and p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        ]
        if unknown:
            raise StartError(f"auth.path: authenticate has a parameter {unknown[0]!r}; known are {sorted(PARAMETERS)}")
        self._authenticate: Any = authenticate
        self._auth = auth
        self._context = auth.types.AuthContext
        self._reads = reads
        self._cache = cache
        self._studio_key = studio_key.encode()
        self._studio = studio
        self._known: OrderedDict[tuple[str | None, ...], tuple[float, User]] = OrderedDict()

    async def identify(self, request: web.Request) -> User:
        if self._studio_key and self._is_studio(request):
            known = self._auth.types.StudioUser(STUDIO_USER, is_authenticated=True)
            return Studio({**user_of(known), "kind": "StudioUser"})
        if self._cache is None:
            return await self._call_handler(request)
        key = tuple(request.headers.get(name) for name in self._cache.cache_keys)
        kept = self._known.get(key)
        if kept is not None and kept[0] > monotonic():
            self._known.move_to_end(key)
            return kept[1]
        user = await self._call_handler(request)
        if any(part is not None for part in key):
            self._known[key] = (monotonic() + self._cache.ttl_seconds, user)
            while len(self._known) > self._cache.max_size:
                self._known.popitem(last=False)
        return user

    def _is_studio(self, request: web.Request) -> bool:
        if request.headers.get("x-auth-scheme", "").lower() != STUDIO_SCHEME:
            return False
        given = request.headers.get("x-api-key", "").encode("utf-8", "surrogateescape")
        return hmac.compare_digest(given, self._studio_key)

    async def _call_handler(self, request: web.Request) -> User:
        given = await self._arguments(request)
        try:
            with contained(), _authenticating():
                if inspect.iscoroutinefunction(self._authenticate):
                    result = await self._authenticate(**given)
                else:
                    result = await asyncio.to_thread(self._authenticate, **given)
                    if inspect.isawaitable(result):
                        result = await result
        except Exception as error:
            refusal = _refusal(error, 401, "Unauthorized")
            if self._studio is not None and self._studio.sent(request):
                raise self._refused_studio(refusal, error) from None
            raise refusal or error from None
        return user_of(result)

    def _refused_studio(self, refusal: ApiError | None, error: Exception) -> ApiError:
        """Return the refusal of a request of Studio, which carries no credentials that the project's handler expects."""
        if refusal is None:
            logger.warning("gateway.authenticate_failed", exc_info=error)
        elif refusal.status not in (401, 403):
            return refusal
        why = f"{refusal.detail} " if refusal is not None else ""
        return ApiError(401, f"{why}({STUDIO_WRONG_KEY if self._studio_key else STUDIO_HINT})")

    async def _arguments(self, request: web.Request) -> dict[str, Any]:
        wanted = self._wanted
        arguments: dict[str, Any] = {}
        if "headers" in wanted:
            arguments["headers"] = RequestHeaders((k.lower(), v) for k, v in request.raw_headers)
        if "body" in wanted:
            try:
                arguments["body"] = msgspec.json.decode(await receive_body(request))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                arguments["body"] = None
        if "path" in wanted:
            arguments["path"] = request.path
        if "method" in wanted:
            arguments["method"] = request.method
        if "path_params" in wanted:
            arguments["path_params"] = dict(request.match_info)
        if "query_params" in wanted:
            arguments["query_params"] = dict(request.query)
        if "scopes" in wanted:
            arguments["scopes"] = []
        if "authorization" in wanted:
            arguments["authorization"] = request.headers.get("authorization")
        if "request" in wanted:
            arguments["request"] = await starlette_request(request)
        if "user" in wanted:
            arguments["user"] = None
        return arguments

    async def authorize(self, user: User, resource: Resource, action: Action, value: dict[str, Any]) -> Filter | None:
        handler = self._handler(resource, action)
        if handler is None:
            return None
        shown: Any = Caller(user)
        if isinstance(user, Studio):
            shown = self._auth.types.StudioUser(user["identity"], is_authenticated=True)
        ctx = self._context(permissions=user["permissions"], user=shown, resource=resource, action=action)
        try:
            with contained(), _authenticating():
                answer = await handler(ctx=ctx, value=value)
        except Exception as error:
            raise _refusal(error, 403, "Forbidden") or error from None
        if answer is None or answer is True:
            return None
        if answer is False:
            raise ApiError(403, "Forbidden")
        if not isinstance(answer, Mapping):
            raise TypeError(f"an authorization handler must give None, a bool or a filter, not {type(answer).__name__}")
        visible = dict(answer)
        check(visible)  # an invalid filter denies access
        return visible

    def _handler(self, resource: str, action: str) -> Any:
        """Return the most specific handler."""
        handlers = self._auth._handlers
        for key in ((resource, action), (resource, "*"), ("*", action)):
            if handler := handlers.get(key):
                return handler[-1]
        return self._auth._global_handlers[-1] if self._auth._global_handlers else None

    @property
    def wants_request(self) -> bool:
        """Whether ``authenticate`` has a parameter for the request itself."""
        return "request" in self._wanted

    def uncovered(self) -> dict[str, list[str]]:
        """Return resource -> its actions without a handler: every authenticated caller may do them, on every object."""
        uncovered: dict[str, list[str]] = {
            resource: [str(action) for action in actions if not self._handler(resource, action)]
            for resource, actions in sorted(ACTIONS.items())
        }
        return {resource: actions for resource, actions in uncovered.items() if actions}

    async def close(self) -> None:
        """Release what it holds of other processes: nothing here."""

    async def sees(self, resource: Resource, id: str, visible: Filter) -> bool:
        if resource == "store":
            raise TypeError("items of the store have no metadata")
        return bool(await seen(self._reads, resource, [id], visible))


def studios(options: Options, settings: Settings) -> Studios | None:
    """Return how requests of Studio are recognised; None if there is no Studio user."""
    return None if options.auth.disable_studio_auth else Studios(origin_of(settings.studio_url))


def load_auth(options: Options, reads: Reads, settings: Settings) -> CustomAuth | None:
    """Return the gate that the project configures; None: every caller may do everything. Raises StartError."""
    if options.auth.path is None:
        return None
    auth = load_object(options.owner(), "auth.path", options.auth.path)
    from langgraph_sdk import Auth  # here: it brings a lot into memory that only projects with auth need

    if not isinstance(auth, Auth):
        raise StartError(f"auth.path: {options.auth.path!r} is a {type(auth).__name__}, not a langgraph_sdk.Auth")
    studio = studios(options, settings)
    gate = CustomAuth(auth, reads, options.auth.cache, settings.studio_api_key if studio else "", studio)
    warn_of_uncovered(gate, DENY_BY_DEFAULT)
    if gate.wants_request:
        check_starlette("authenticate takes the request")
    return gate


def warn_of_uncovered(gate: CustomAuth, remedy: str) -> None:
    """Log which actions no handler covers. ``remedy``: the lines of a project that deny them."""
    if uncovered := gate.uncovered():
        logger.warning(
            "gateway.auth_uncovered",
            resources=list(uncovered),
            actions=[f"{resource}.{action}" for resource, actions in uncovered.items() for action in actions],
            means="no authorization handler covers these actions: each authenticated caller may do them, to everything",
            to_deny_what_no_handler_covers=remedy,
        )


def user_of(user: Any) -> User:
    """Return the result of ``authenticate`` as a mapping for JSON. Raises ApiError 401 for None, TypeError for other types."""
    if user is None:
        raise ApiError(401, "Unauthorized")
    if isinstance(user, str):
        members: User = {"identity": user}
    elif isinstance(user, Mapping):
        members = dict(user)
    elif hasattr(user, "model_dump"):
        members = dict(user.model_dump())
    elif hasattr(user, "to_dict"):
        members = dict(user.to_dict())
    else:
        members = {k: v for k, v in getattr(user, "__dict__", {}).items() if not k.startswith("_")}
        for name in ("identity", "display_name", "is_authenticated", "permissions"):
            if hasattr(user, name):
                members[name] = getattr(user, name)
    identity = members["identity"] = _identity(members.get("identity"))
    members.setdefault("is_authenticated", True)
    members.setdefault("display_name", identity)
    members["permissions"] = list(members.get("permissions") or [])
    try:
        encoded = msgspec.json.encode(members, enc_hook=str)
    except UnicodeEncodeError:  # bytes of a header that are not UTF-8; replaced, they could become another caller's
        raise ApiError(401, NOT_TEXT) from None
    if has_nul(encoded):
        raise ApiError(401, NOT_TEXT)
    return msgspec.json.decode(encoded, type=dict[str, Any])


def _identity(identity: object) -> str:
    """Return the identity as text. Raises ApiError 401 for one that is too long, TypeError for other types."""
    if isinstance(identity, int | UUID) and not isinstance(identity, bool):  # keys of databases
        identity = str(identity)
    if not isinstance(identity, str):
        raise TypeError(
            f"authenticate must return a string, or an object whose identity is one, not an identity of type {type(identity).__name__}"
        )
    if len(identity.encode("utf-8", "surrogatepass")) > IDENTITY_BYTES_MAX:
        raise ApiError(401, f"The caller's identity is longer than {IDENTITY_BYTES_MAX} bytes")
    return identity


def _refusal(error: Exception, status_of_assert: int, detail_of_assert: str) -> ApiError | None:
    """Return the error of an HTTPException of the SDK or Starlette, or of an ``assert``, or None.

    An ``assert`` refuses with its text, or with ``detail_of_assert``: LangGraph's documentation has handlers that end so. Headers of an
    HTTPException are not passed on (wire contract §18).
    """
    if isinstance(error, AssertionError):
        return ApiError(status_of_assert, str(error) or detail_of_assert)
    status, detail = getattr(error, "status_code", None), getattr(error, "detail", None)
    if not isinstance(status, int) or not 400 <= status <= 599:
        return None
    return ApiError(status, detail) if isinstance(detail, str) else JsonError(status, detail)
