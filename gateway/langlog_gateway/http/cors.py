"""Cross-origin answers (wire contract §1.5).

By default any origin may read what an authenticated caller gets. A server without authentication admits pages of its own machine and
the hosted studio alone. ``http.cors`` and ``CORS_ALLOW_ORIGINS`` name other origins.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from aiohttp import web
from langlog_backbone.process.settings import Settings

from .options import CorsOptions, Options

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY")
SAFE_HEADERS = frozenset({"Accept", "Accept-Language", "Content-Language", "Content-Type"})
EXPOSED = ("x-pagination-total", "x-pagination-next", "x-pagination-after", "content-location")
THIS_MACHINE = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?", re.IGNORECASE)
"""``Host`` of a server that is addressed from its own machine."""


STUDIO = re.compile(r"https://([a-z0-9-]+\.)?smith\.langchain\.com")
"""Origins of the hosted studio, in all its regions."""


def is_local(origin: str) -> bool:
    """Return whether the origin is a page of this machine."""
    scheme, _, host = origin.partition("://")
    return scheme in ("http", "https") and THIS_MACHINE.fullmatch(host) is not None


def origin_of(address: str) -> str:
    """Return the origin of a page's URL; ``null`` for an invalid one."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "null"
    return f"{parts.scheme}://{parts.netloc}"


class Cors:
    def __init__(
        self, allow_origins: str, options: CorsOptions | None = None, *, guarded: bool = True, studio: str = ""
    ) -> None:
        """``allow_origins``: comma separated; its names take precedence over the options unless it is ``*``.

        ``guarded``: callers are authenticated. Then the default is any origin, else pages of this machine and the hosted studio.
        ``studio``: address of another one.
        """
        named = [origin.strip() for origin in allow_origins.split(",") if origin.strip()]
        configured = options or CorsOptions(expose_headers=list(EXPOSED), allow_headers=["*"])
        if named in ([], ["*"]):
            listed = configured.allow_origins or []
            if listed or configured.allow_origin_regex is not None:
                named = listed
            elif not named and guarded:
                named = ["*"]
        self._pattern = None if configured.allow_origin_regex is None else re.compile(configured.allow_origin_regex)
        self._default = not named and self._pattern is None
        self._any = "*" in named
        self._allowed = frozenset(named)
        self._studio = origin_of(studio) if studio else None
        methods = configured.allow_methods or ["*"]
        self._methods = METHODS if "*" in methods else tuple(method.upper() for method in methods)
        headers = configured.allow_headers or ["*"]
        self._any_header = "*" in headers
        self._headers = sorted(SAFE_HEADERS | set(headers), key=str.lower)
        self._credentials = configured.allow_credentials
        self._exposed = ", ".join(configured.expose_headers or ())
        self._max_age = configured.max_age

    def admits(self, origin: str) -> bool:
        """Return whether pages of that origin may read responses."""
        return self._any or self._names(origin)

    @property
    def admits_any(self) -> bool:
        return self._any

    def _names(self, origin: str) -> bool:
        if self._default:
            return is_local(origin) or STUDIO.fullmatch(origin) is not None or origin == self._studio
        return origin in self._allowed or (self._pattern is not None and self._pattern.fullmatch(origin) is not None)

    def _admits_privately(self, request: web.Request) -> bool:
        """Return whether a public page may reach this server in a private network (WICG Private Network Access).

        Chromium before 142 checks this, so that pages do not probe networks behind a firewall; a hosted studio that uses
        ``langlog dev`` needs it. "Any origin" therefore applies to the machine's own name only: elsewhere name the origin.
        """
        if self._names(request.headers.get("origin", "")):
            return True
        return self._any and THIS_MACHINE.fullmatch(request.headers.get("host", "")) is not None

    def admits_socket(self, request: web.Request, origin: str) -> bool:
        """Return whether a page of that origin may open a WebSocket: browsers do not check, and send cookies along.

        With cookies "any origin" is not enough: the origin must be named, or credentials allowed for any.
        """
        if self._any and ("cookie" not in request.headers or self._credentials):
            return True
        return self._names(origin)

    def preflight(self, request: web.Request) -> web.Response | None:
        """Return the response to a preflight request, or None for any other request."""
        if request.method != "OPTIONS" or "access-control-request-method" not in request.headers:
            return None
        headers = {
            "access-control-allow-methods": ", ".join(self._methods),
            "access-control-max-age": str(self._max_age),
        }
        requested = request.headers.get("access-control-request-headers")
        if not self._any_header:
            headers["access-control-allow-headers"] = ", ".join(self._headers)
        elif requested is not None:
            headers["access-control-allow-headers"] = requested
        if request.headers.get("access-control-request-private-network") == "true" and self._admits_privately(request):
            headers["access-control-allow-private-network"] = "true"
        failures = []
        if not self.admits(request.headers.get("origin", "")):
            failures.append("origin")
        if request.headers["access-control-request-method"] not in self._methods:
            failures.append("method")
        known = {name.lower() for name in self._headers}
        if not self._any_header and any(
            name.strip().lower() not in known for name in (requested or "").split(",") if name
        ):
            failures.append("headers")
        if failures:
            return web.Response(status=400, text=f"Disallowed CORS {', '.join(failures)}", headers=headers)
        return web.Response(text="OK", headers=headers)

    async def decorate(self, request: web.Request, response: web.StreamResponse) -> None:
        """Set the headers of a response, also of a stream."""
        headers = response.headers
        headers["vary"] = _varying(headers.getall("vary")) if "vary" in headers else "Origin"
        origin = request.headers.get("origin")
        if origin is None:
            return
        if self._credentials:
            headers["access-control-allow-credentials"] = "true"
        if self._exposed:
            headers["access-control-expose-headers"] = self._exposed
        if self._any and not (self._credentials and "cookie" in request.headers):
            headers["access-control-allow-origin"] = "*"
        elif self.admits(origin):
            headers["access-control-allow-origin"] = origin


def _varying(lines: Sequence[str]) -> str:
    """Return the ``Vary`` of a response that has one. It may hold ``Origin``: http.app hands on what was decorated."""
    varies = {name.strip().lower(): name.strip() for line in lines for name in line.split(",")}
    return ", ".join((varies | {"origin": "Origin"}).values())


def cors_of(settings: Settings, options: Options) -> Cors:
    """Return the policy of one gateway."""
    return Cors(
        settings.cors_allow_origins,
        options.http.cors,
        guarded=options.auth.path is not None,
        studio=settings.studio_url,
    )
