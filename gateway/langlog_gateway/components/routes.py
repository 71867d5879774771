"""``/ui``: the scripts and styles of components, as ``LoadExternalComponent`` of the public JavaScript client loads them.

    POST /ui/{assistant} {"name": …} ─► HTML that the client puts into its page: <link …> <script src=… onload=…>
    GET  /ui/{name}/{file}?key=…     ◄─ the browser, for that HTML; it sends no headers of the client

The first request is authenticated as every other. The addresses in its response hold a key, an HMAC of the file's name, so that a
client that has them may load the file and no other client may: the browser's request for a script carries no credentials, and to a
server without authentication it may look like that of a foreign page. All gateways of a deployment make the same key, which is valid as
long as the deployment's secret.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import html
import json
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING
from urllib.parse import quote

import structlog
from aiohttp import hdrs, web
from langlog_backbone.process.service import StartError
from langlog_backbone.project.config import Project
from langlog_backbone.project.language import JAVASCRIPT

from ..core import Core
from ..http.browser_guard import is_loopback
from ..http.errors import ApiError, not_found
from ..http.validation import canonical_uuid, read_body
from ..requests.assistants import COMPONENT_QUERY
from ..runs.assistants import RunAssistants

if TYPE_CHECKING:
    from .bundles import Bundles

logger = structlog.get_logger(__name__)

PAGE, FILE = "/ui/{assistant_id}", "/ui/{name}/{file}"
SOURCES = JAVASCRIPT | {".css"}
"""Ends of the names of files that bundles are made of."""
IN_FORCE = "the components that were bundled before stay in force"
_OTHERS = re.compile(r"[^a-zA-Z0-9]")


class Components:
    """The components that are served now. One per gateway, on its event loop."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._assistants = RunAssistants(core.reads)
        self._project = core.options.project
        self._file = f"{core.options.prefix}{FILE}"
        self._bundles: Bundles | None = None
        self._failed = False

    @property
    def behind(self) -> bool:
        """Whether the bundles are older than the project's files, because these do not build."""
        return self._failed

    def load(self) -> None:
        """Bundle the project's components, once. Blocks. Raises StartError."""
        if self._bundles is None:
            self._bundles = {} if self._project is None else _bundled(self._project, self._core)

    async def reload(self, project: Project, files: list[str]) -> None:
        """Bundle the components again if ``files``, the changed ones, may belong to them, or ``ui`` has changed, and log that."""
        before = self._project
        changed = before is None or any(
            before.config.get(key) != project.config.get(key) for key in ("ui", "ui_config")
        )
        if not (changed or self._failed or (self._bundles and any(PurePath(file).suffix in SOURCES for file in files))):
            return
        try:
            self._bundles = await asyncio.to_thread(_bundled, project, self._core)
        except (StartError, OSError) as error:
            self._failed = True
            logger.error("gateway.components_failed", files=files, error=str(error), effect=IN_FORCE)
            return
        self._project, self._failed = project, False
        logger.info("gateway.components_bundled", files=files, components=sorted(self._bundles))

    def routes(self) -> list[web.RouteDef]:
        return [web.post(PAGE, self.page), web.get(FILE, self.file)]

    def admits(self, request: web.Request) -> bool:
        """Return whether the request is for a file whose address holds its key: it needs no other credentials."""
        info = request.match_info
        resource = info.route.resource
        if resource is None or resource.canonical != self._file or not (given := request.query.get("key", "")):
            return False
        return hmac.compare_digest(given.encode(errors="replace"), self._key(info["name"], info["file"]).encode())

    def _key(self, name: str, file: str) -> str:
        text = f"ui/{quote(name, safe='')}/{quote(file, safe='')}".encode()
        return hmac.digest(self._core.id_secret, text, hashlib.sha256).hex()[:32]

    async def page(self, request: web.Request) -> web.Response:
        """Returns HTML that loads and renders a component of the assistant's graph, for `LoadExternalComponent` of the JavaScript
        client. Instead of an assistant's id the path may hold any name in `ui` of langgraph.json. `{{shadowRootId}}` in the HTML stands
        for the id of the element to render into.
        """
        body = await read_body(request, COMPONENT_QUERY)
        name = request.match_info["assistant_id"]
        if name not in self._served() and canonical_uuid(name) is not None:
            (assistant,) = await self._assistants.named(request, [name])
            name = assistant.graph_id
        files = self._served().get(name)
        if files is None:
            raise not_found(f'UI not found for agent "{name[:200]}": `ui` in langgraph.json does not name it')
        base = f"{_origin(request)}{self._core.options.prefix}/ui/{quote(name, safe='')}"
        text = "\n".join(
            _elements(name, files, body.name, lambda file: f"{base}/{quote(file)}?key={self._key(name, file)}")
        )
        return web.Response(text=text, content_type="text/html", headers={hdrs.CACHE_CONTROL: "no-store"})

    async def file(self, request: web.Request) -> web.Response:
        """Returns a script or a style sheet of components. The addresses in the response of `POST /ui/{assistant_id}` need no other
        credentials."""
        name, wanted = request.match_info["name"], request.match_info["file"]
        file = self._served().get(name, {}).get(wanted)
        if file is None:
            raise ApiError(404, f"The components of {name[:200]!r} have no file {wanted[:200]!r}")
        encoding, content = file.pick(request.headers.get(hdrs.ACCEPT_ENCODING, ""))
        etag = file.etag if encoding is None else f'{file.etag[:-1]}-{encoding}"'
        headers = {
            hdrs.ETAG: etag,
            hdrs.CACHE_CONTROL: "private, no-cache",
            hdrs.VARY: hdrs.ACCEPT_ENCODING,
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "cross-origin",  # pages of other origins render components
        }
        known = [one.strip().removeprefix("W/") for one in request.headers.get(hdrs.IF_NONE_MATCH, "").split(",")]
        if etag in known or "*" in known:
            return web.Response(status=304, headers=headers)
        if encoding is not None:
            headers[hdrs.CONTENT_ENCODING] = encoding
        is_text = file.content_type.startswith("text/")
        headers[hdrs.CONTENT_TYPE] = f"{file.content_type}; charset=utf-8" if is_text else file.content_type
        return web.Response(body=content, headers=headers)

    def _served(self) -> Bundles:
        return self._bundles or {}


def _bundled(project: Project, core: Core) -> Bundles:
    if not project.config.get("ui"):
        return {}
    from .bundles import bundled  # here: most projects have no components

    return bundled(project, core.settings)


def _elements(name: str, files: Collection[str], component: str, address: Callable[[str], str]) -> Iterator[str]:
    """Yield the elements that load the files and render the component."""
    for file in files:
        if file.endswith(".css"):
            yield f'<link rel="stylesheet" href="{html.escape(address(file))}" />'
    for file in files:
        if file.endswith(".js"):
            # the client replaces the first {{shadowRootId}}, so that the component's name must not hold one
            argument = html.escape(json.dumps(component)).replace("{", "&#123;")
            call = f"{global_name(name)}.render({argument}, &quot;{{{{shadowRootId}}}}&quot;)"
            yield f'<script src="{html.escape(address(file))}" onload="{call}"></script>'


def global_name(name: str) -> str:
    """Return the variable that a bundle puts its ``render`` into, by the rule of ``@langchain/langgraph-ui``."""
    units = name.encode("utf-16-le", "surrogatepass")
    characters = (units[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(units), 2))
    return "__LGUI_" + "".join("_" if _OTHERS.match(each) else each for each in characters)


def _origin(request: web.Request) -> str:
    """Return the origin that the client's page reaches this server by: what proxies say, or else the ``Host`` that the client sent.

    Without a scheme where that is not known: then the browser takes that of the page.
    """
    forwarded = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    if forwarded in ("http", "https"):
        scheme = f"{forwarded}:"
    elif request.secure:
        scheme = "https:"
    else:
        host = re.sub(r":\d+$", "", request.host).strip("[]").lower()
        scheme = "http:" if is_loopback(host) else ""
    return f"{scheme}//{request.host}"
