"""The gateway as a service: HTTP for clients, on one event loop, without durable state.

When it dies, clients reconnect to another one: their commands are in the log, the read model is in Postgres, and streams continue
by ``Last-Event-ID``. Draining closes the listening socket first, then lets streams end so that their readers reconnect elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Collection
from pathlib import Path

import structlog
from aiohttp import web
from langlog_backbone.context import Backbone
from langlog_backbone.process.service import StartError
from langlog_backbone.process.settings import Settings
from langlog_backbone.project.config import Project
from langlog_backbone.read_model.catching_up import catch_up

from .app import build_app, unnamed
from .auth.own_calls import ProofFreeRequest
from .components.routes import Components
from .console.routes import console_path
from .core import Core
from .http.aiohttp_members import requests_of
from .http.bodies.expectation import ExpectantRequest
from .http.browser_guard import is_loopback
from .http.options import Options

logger = structlog.get_logger(__name__)

KEEPALIVE_S = 75.0
CLOSE_S = 5.0
"""Seconds for requests under way to end when the server stops."""
BACKLOG = 1024
READ_AGAIN = frozenset({"graphs", "dependencies", "env", "worker_lifespan", "ui", "ui_config", "$schema"})
"""Members of langgraph.json that a reload applies."""
LINGER_S = 5.0
"""Seconds for which the rest of a request that was refused early is read and dropped, so that the client reads the response."""


def _tls(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context of the server; None without a certificate. Raises StartError."""
    if not settings.tls_cert_file:
        if settings.tls_key_file:
            raise StartError("LANGLOG_TLS_KEY_FILE is set without LANGLOG_TLS_CERT_FILE: set both, or neither")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert_file, settings.tls_key_file or None)
    except (OSError, ssl.SSLError) as error:
        files = " and ".join(filter(None, (settings.tls_cert_file, settings.tls_key_file)))
        raise StartError(f"cannot read the TLS certificate and key in {files}: {error}") from None
    return context


def check_exposure(settings: Settings, options: Options) -> None:
    """Warn of a gateway without authentication that others can reach. Raises StartError for one in production."""
    if options.auth.path is not None or settings.allow_unauthenticated or is_loopback(settings.host.lower()):
        return
    advice = (
        "configure auth.path in langgraph.json, listen on 127.0.0.1 (LANGLOG_HOST, --host), or set "
        "LANGLOG_ALLOW_UNAUTHENTICATED=true when something in front of it authenticates callers"
    )
    if settings.production:
        raise StartError(
            f"no authentication is configured, and {settings.host} is an address that other machines reach: {advice}"
        )
    logger.warning(
        "gateway.unauthenticated",
        host=settings.host,
        effect="EVERYBODY WHO REACHES THIS ADDRESS MAY READ AND CHANGE EVERYTHING",
        advice=advice,
    )


class UnnamedRequest(ProofFreeRequest, ExpectantRequest):
    """A request as it arrives. Its response does not name the server's software, also where it is no HTTP and no application sees it."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        await unnamed(self, response)
        await super()._prepare_hook(response)


class GatewayService:
    name = "gateway"

    def __init__(self, backbone: Backbone, *, dev: bool = False) -> None:
        """``dev``: whether it is the gateway of ``langlog dev``, which has routes of its own."""
        self._settings = backbone.settings
        self._pool = backbone.pool
        self._positions = backbone.positions
        self._core = Core(backbone, dev=dev)
        self._components = Components(self._core)
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None

    @property
    def prefix(self) -> str:
        """Prefix of all paths: empty, or the mount prefix of the settings or of the project."""
        return self._core.options.prefix

    @property
    def console(self) -> str | None:
        """The path of the console; None where it is switched off."""
        return console_path(self._settings, self._core.options)

    def load(self) -> None:
        """Import the project's application and authentication and bundle its components, which `start` does otherwise. Raises StartError."""
        self._core.code.load()
        self._components.load()

    async def reload(self, project: Project, paths: Collection[Path], *, all_of_it: bool = False) -> bool:
        """Load application, authentication and components again if ``paths``, the changed files, belong to them, and log what is in force.

        ``all_of_it``: whichever files changed, since variables did. False: they do not load, and the former ones stay in force.
        """
        names = {str(path) for path in paths}
        files = sorted(
            str(path.relative_to(project.root)) if path.is_relative_to(project.root) else str(path) for path in paths
        )
        self._name_sections(project, files, variables=all_of_it)
        replaced = await self._core.code.reload(
            project, lambda name: all_of_it or os.path.realpath(name) in names, files
        )
        if replaced is not None:
            self._core.background(replaced.retire())
        await self._components.reload(project, files)
        return not (self._core.code.behind or self._components.behind)

    def _name_sections(self, project: Project, files: list[str], *, variables: bool) -> None:
        """Log which sections of langgraph.json, read at the start, have changed in the file."""
        before = self._core.options.project
        if before is None:
            return
        keys = ({*before.config, *project.config}) - READ_AGAIN
        sections = sorted(key for key in keys if before.config.get(key) != project.config.get(key))
        if variables and project.section("webhooks").get("headers"):
            sections.append("webhooks.headers")  # schedulers have filled the variables in
        if sections:
            logger.warning(
                "gateway.restart_needed",
                files=files,
                sections=sections,
                effect="these sections of langgraph.json stay as they were when the server started: RESTART IT",
            )

    async def start(self) -> None:
        """Listen, once the read model holds what the log holds. Raises StartError when the address is taken."""
        check_exposure(self._settings, self._core.options)
        await self._core.start()
        await catch_up(self._pool.fetch, self._core.log, self._positions)
        app = build_app(self._core, self._components)
        self._runner = web.AppRunner(
            app,
            handle_signals=False,
            access_log=None,
            handler_cancellation=True,
            keepalive_timeout=KEEPALIVE_S,
            lingering_time=LINGER_S,
            auto_decompress=False,  # `http.bodies.reader` unpacks, once the caller is known
            shutdown_timeout=CLOSE_S,
        )
        await self._runner.setup()
        assert self._runner.server is not None
        self._runner.server.request_factory = requests_of(app, UnnamedRequest)
        self._site = web.TCPSite(
            self._runner,
            self._settings.host,
            self._settings.port,
            backlog=BACKLOG,
            ssl_context=_tls(self._settings),
        )
        try:
            await self._site.start()
        except OSError as error:
            where = f"{self._settings.host}:{self._settings.port}"
            raise StartError(f"cannot listen on {where}: {error.strerror or error}") from None
        if self._core.options.project is None:
            logger.warning("gateway.no_project", file=str(self._settings.project), effect="no auth, no http section")
        logger.info("gateway.listening", host=self._settings.host, port=self._settings.port)

    async def serve(self) -> None:
        await asyncio.get_running_loop().create_future()

    async def drain(self) -> None:
        """Accept no new connections, end streams and waits; requests under way get their response."""
        self._core.draining = True
        if self._site is not None:
            await self._site.stop()
        self._core.watches.close_all()
        for notify in self._core.on_drain:
            notify()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        await self._core.stop()

    async def not_ready(self) -> str | None:
        if self._site is None:
            return "it does not listen yet"
        if self._core.draining:
            return "it is going down"
        return await self._core.probe.reason()
