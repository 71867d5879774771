"""``/console`` and the paths below it, and the redirect of browsers from ``/``.

The files are the same for everybody and hold no data, so they need no credentials; the page then calls the public API through the
same authorisation as everyone. Any address below ``/console`` that names no file is a view of the page: it gets the page, which reads
the address itself.
"""

from __future__ import annotations

import html
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import hdrs, web
from langlog_backbone.process.settings import Settings

from ..core import Core
from ..http.errors import ApiError
from ..http.options import Options
from .files import PAGE, File, made, read_files

PATH = "/console"
POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data: blob:",  # images inside messages; none from elsewhere
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
FOREVER = "public, max-age=31536000, immutable"
_FILE = re.compile(r"[\w.-]+\.(js|css|svg|map|png|woff2)")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Console:
    def __init__(self, core: Core, files: dict[str, File] | None = None) -> None:
        """``files``: the files to serve; None: those in the package."""
        self._home = console_path(core.settings, core.options)
        self._files: dict[str, File] = {}
        if self._home is not None:
            self._files = read_files() if files is None else files
            page = self._files.pop(PAGE, None)
            self._page = _missing() if page is None else _placed(page, self._home, core.settings.console)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes. They are not in the OpenAPI document: they are pages for people."""
        if self._home is None:
            return []
        return [web.get(PATH, self.redirect), web.get(f"{PATH}/{{path:.*}}", self.answer)]

    def home(self, otherwise: Handler) -> Handler:
        """Return the handler of ``/``: it redirects browsers to the console, and passes other clients to ``otherwise``."""
        return otherwise if self._home is None else _for_browsers(self._home, otherwise)

    def docs(self, otherwise: Handler) -> Handler:
        """Return the handler of ``/docs``: it redirects browsers to the console's page of the API, if that is built."""
        return _for_browsers(f"{self._home}docs", otherwise) if self._files else otherwise

    async def redirect(self, request: web.Request) -> web.Response:
        """Redirect ``/console`` to ``/console/``: the page's relative URLs need the slash at the end."""
        query = f"?{request.query_string}" if request.query_string else ""
        return web.Response(status=307, headers={hdrs.LOCATION: f"{self._home}{query}"})

    async def answer(self, request: web.Request) -> web.Response:
        """Return a file, or the page for the URL of a view. Raises ApiError 404 for a file that is not there."""
        path = request.match_info["path"]
        file = self._files.get(path)
        if file is None and _FILE.fullmatch(path):
            raise ApiError(404, f"The console has no file {path[:200]!r}: reload its page, the server has been updated")
        return _response(request, file or self._page)


def _for_browsers(address: str, otherwise: Handler) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        if _is_browser(request):
            return web.Response(status=307, headers={hdrs.LOCATION: address, hdrs.VARY: "Accept"})
        return await otherwise(request)

    return answer


def console_path(settings: Settings, options: Options) -> str | None:
    """Return the path of the console; None if it is switched off."""
    off = settings.console == "off" or options.http.disable_console
    return None if off else f"{options.prefix}{PATH}/"


def is_console(path: str) -> bool:
    """Return whether a path (without prefix) is the console's: it needs no credentials."""
    return path == PATH or path.startswith(f"{PATH}/")


def _is_browser(request: web.Request) -> bool:
    return "text/html" in request.headers.get(hdrs.ACCEPT, "")


def _response(request: web.Request, file: File) -> web.Response:
    encoding, body = file.pick(request.headers.get(hdrs.ACCEPT_ENCODING, ""))
    etag = file.etag if encoding is None else f'{file.etag[:-1]}-{encoding}"'
    headers = {
        **HEADERS,
        hdrs.ETAG: etag,
        hdrs.CACHE_CONTROL: FOREVER if file.immutable else "no-cache",
        hdrs.VARY: hdrs.ACCEPT_ENCODING,
    }
    known = [one.strip().removeprefix("W/") for one in request.headers.get(hdrs.IF_NONE_MATCH, "").split(",")]
    if etag in known or "*" in known:
        return web.Response(status=304, headers=headers)
    if encoding is not None:
        headers[hdrs.CONTENT_ENCODING] = encoding
    headers[hdrs.CONTENT_TYPE] = f"{file.content_type}; charset=utf-8" if _is_text(file) else file.content_type
    return web.Response(body=body, headers=headers)


def _is_text(file: File) -> bool:
    return file.content_type.startswith("text/") or file.content_type == "image/svg+xml"


def _placed(page: File, home: str, mode: str) -> File:
    """Return the page with its own URL, to which its other URLs are relative."""
    text = page.plain.decode().replace("%base%", html.escape(home)).replace("%mode%", mode)
    return made(PAGE, text.encode())


def _missing() -> File:
    """Return the page that explains that the console was not built."""
    return made(PAGE, Path(__file__).with_name("not_built.html").read_bytes())
