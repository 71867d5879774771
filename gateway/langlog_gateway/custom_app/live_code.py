"""The project's own code that serves requests: application, authentication, encryption contexts, replaced as a whole by a reload.

    loaded ─► started (lifespan) ─► serves ─► replaced by the next that loads and starts ─► its last requests end ─► stopped

A reload executes every module of the project anew, so that a handler's helpers are new too. Code that does not load, or does not start,
changes nothing: the former code continues to serve. Concurrency: everything here is called on the gateway's event loop, and imports
happen on it (the main thread), because user code may access the running loop when it is imported.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
from aiohttp import web
from langlog_backbone.process.service import StartError
from langlog_backbone.project.config import Project
from langlog_backbone.project.imports import executed_again, load_object
from langlog_backbone.project.json_handlers import JsonHandlers
from langlog_schemas import commands as cmd
from langlog_schemas.rules.filters import Filter

from ..auth.access import Action, Gate, Resource, User
from ..auth.custom_auth import AUTHENTICATING, STUDIO_HINT, CustomAuth, load_auth
from ..auth.encryption_context import EncryptionContexts, load_encryption_contexts
from ..http.options import Options
from .asgi import CustomApp

if TYPE_CHECKING:
    from langlog_backbone.process.settings import Settings

    from ..http.backends import Reads

logger = structlog.get_logger(__name__)

IN_FORCE = "the application and the handlers that were loaded before stay in force"


def load_app(options: Options) -> CustomApp | None:
    """Return the project's own application. Raises StartError."""
    if options.http.app is None:
        return None
    return CustomApp(load_object(options.owner(), "http.app", options.http.app), options.prefix)


class Served(NamedTuple):
    """Code that was loaded together."""

    app: CustomApp | None = None
    gate: CustomAuth | None = None
    encryption_contexts: EncryptionContexts = EncryptionContexts(None)

    def names(self) -> list[str]:
        """Return the keys in langgraph.json of the loaded parts, for the log."""
        parts = {
            "http.app": self.app is not None,
            "auth.path": self.gate is not None,
            "encryption.path": self.encryption_contexts.any,
        }
        return [name for name, there in parts.items() if there]


class LiveCode:
    """The code that serves now. One per gateway."""

    def __init__(self, options: Options, reads: Reads, settings: Settings) -> None:
        self._options = options
        self._reads = reads
        self._settings = settings
        self._loaded = False
        self._failed = False
        self._served = Served()
        self.on_change: list[Callable[[], None]] = []
        """Callbacks after a reload. They must not block."""

    @property
    def app(self) -> CustomApp | None:
        return self._served.app

    @property
    def gate(self) -> CustomAuth | None:
        return self._served.gate

    @property
    def encryption_contexts(self) -> EncryptionContexts:
        return self._served.encryption_contexts

    async def sealed(self, command: cmd.Body) -> cmd.Body:
        """Return the command sealed by the current handlers."""
        return await self._served.encryption_contexts.sealed(command)

    @property
    def json_handlers(self) -> JsonHandlers | None:
        return self._served.encryption_contexts.json

    @property
    def behind(self) -> bool:
        """Whether the current code is older than the project's files, because these do not load."""
        return self._failed

    @property
    def any(self) -> bool:
        """Whether the project has code for gateways."""
        project, options = self._options.project, self._options
        encrypts = project is not None and bool(project.section("encryption"))
        return options.http.app is not None or options.auth.path is not None or encrypts

    def load(self) -> None:
        """Import the code, once. Raises StartError if an object that the project names cannot be loaded."""
        if self._loaded or not self.any:
            return
        # here: it brings a lot into memory that only a project's own code needs
        from langlog_backbone.process.settings import own_url
        from langlog_backbone.project.loopback import open_loopback

        open_loopback(self._settings.base_url or own_url(self._settings), self._options.prefix, closed=AUTHENTICATING)
        self._served = self._import()
        self._loaded = True
        if self.gate is not None and not (self._settings.studio_api_key or self._options.auth.disable_studio_auth):
            logger.info("gateway.studio_needs_key", means=STUDIO_HINT)

    def _import(self) -> Served:
        app = load_app(self._options)
        gate = load_auth(self._options, self._reads, self._settings)
        return Served(app, gate, load_encryption_contexts(self._options))

    async def lifespan(self, _: web.Application) -> AsyncIterator[None]:
        """Run the application's lifespan from the gateway's start to its end, across reloads."""
        if self.app is not None:
            await self.app.start(self._settings.worker_start_s)
        yield
        if self.app is not None:
            await self.app.stop()

    async def reload(self, project: Project, changed: Callable[[str], bool], files: list[str]) -> CustomApp | None:
        """Load the code again if one of its files has changed, and log what is loaded. The application that was replaced:
        to be stopped once its last requests have ended.

        ``changed``: whether the file of that name (a module's) has changed; ``files``: what changed, for the log.
        """
        if not self.any:
            return None
        with executed_again(project, changed) as anew:
            if not anew.affected and not self._failed:
                anew.undo()
                return None
            try:
                fresh = self._import()
                if fresh.app is not None:
                    await fresh.app.start(self._settings.worker_start_s)
            except Exception as error:
                anew.undo()
                self._failed = True
                why = str(error) if isinstance(error, StartError) else f"{type(error).__name__}: {error}"
                logger.error("gateway.reload_failed", files=files, error=why, effect=IN_FORCE)
                return None
        replaced, self._served, self._failed = self._served, fresh, False
        for call in self.on_change:
            call()
        logger.info("gateway.reloaded", files=files, loaded=fresh.names())
        return replaced.app


class LiveGate:
    """`access.Gate` by the current authentication."""

    def __init__(self, code: LiveCode) -> None:
        self._code = code

    @property
    def current(self) -> Gate:
        gate = self._code.gate
        assert gate is not None
        return gate

    async def identify(self, request: web.Request) -> User:
        return await self.current.identify(request)

    async def authorize(self, user: User, resource: Resource, action: Action, value: dict[str, Any]) -> Filter | None:
        return await self.current.authorize(user, resource, action, value)

    async def sees(self, resource: Resource, id: str, visible: Filter) -> bool:
        return await self.current.sees(resource, id, visible)
