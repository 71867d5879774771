"""Cross-origin answers (API.md 1.5): by default any origin may ask for anything."""

from __future__ import annotations

from aiohttp import web

METHODS = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY"
EXPOSED = "x-pagination-total, x-pagination-next, content-location"
MAX_AGE_S = 600


class Cors:
    def __init__(self, allow_origins: str) -> None:
        self._any = allow_origins.strip() == "*"
        self._allowed = frozenset(origin.strip() for origin in allow_origins.split(","))

    def preflight(self, request: web.Request) -> web.Response | None:
        """The answer to a preflight request; None when it is none."""
        if request.method != "OPTIONS" or "access-control-request-method" not in request.headers:
            return None
        origin = request.headers.get("origin", "")
        headers = {"access-control-allow-methods": METHODS, "access-control-max-age": str(MAX_AGE_S)}
        asked = request.headers.get("access-control-request-headers")
        if asked is not None:
            headers["access-control-allow-headers"] = asked
        if not (self._any or origin in self._allowed):
            return web.Response(status=400, text="Disallowed CORS origin", headers=headers)
        return web.Response(text="OK", headers=headers)

    async def decorate(self, request: web.Request, response: web.StreamResponse) -> None:
        """Headers of every answer, streams too."""
        headers = response.headers
        headers["vary"] = "Origin"
        origin = request.headers.get("origin")
        if origin is None:
            return
        headers["access-control-expose-headers"] = EXPOSED
        if self._any:
            headers["access-control-allow-origin"] = "*"
        elif origin in self._allowed:
            headers["access-control-allow-origin"] = origin
