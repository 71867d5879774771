"""The project's own code that serves requests: application, authentication, encryption contexts, replaced as a whole by a reload.

    loaded ─► started (lifespan) ─► serves ─► replaced by the next that loads and starts ─► its last requests end ─► stopped

A reload executes every module of the project anew, so that a handler's helpers are new too. Code that does not load, or does not start,
changes nothing: the former code continues to serve. Concurrency: everything here is called on the gateway's event loop, and imports
happen on it (the main thread), because user code may access the running loop when it is imported.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
from aiohttp import web
from langlog_backbone.process.service import StartError
from langlog_backbone.project.config import Project
from langlog_backbone.project.hosted_code import HostedCode
from langlog_backbone.project.imports import executed_again, load_object, prepare_process
from langlog_backbone.project.json_handlers import JsonHandlers
from langlog_backbone.project.language import language_of
from langlog_schemas import commands as cmd
from langlog_schemas.rules.filters import Filter

from ..auth.access import Action, Gate, Resource, User
from ..auth.custom_auth import AUTHENTICATING, STUDIO_HINT, CustomAuth, load_auth
from ..auth.encryption_context import EncryptionContexts, load_encryption_contexts
from ..http.options import Options
from .asgi import RETIRE_S, CustomApp
from .hosted_app import HostedApp

if TYPE_CHECKING:
    from langlog_backbone.process.settings import Settings

    from ..http.backends import Reads

logger = structlog.get_logger(__name__)

IN_FORCE = "the application and the handlers that were loaded before stay in force"


def hosted_code(options: Options, settings: Settings) -> HostedCode | None:
    """Return the process, not started, for what of the project's code is in JavaScript; None without any. Raises StartError."""
    auth, app = (each if _in_javascript(each) else None for each in (options.auth.path, options.http.app))
    if auth is None and app is None:
        return None
    from langlog_backbone.project.node import needed_node  # here: most projects have no such code

    node = needed_node(options.owner(), settings.node)
    assert node is not None
    return HostedCode(node, options.owner(), auth, app, settings.worker_start_s)


def _in_javascript(reference: object) -> bool:
    return isinstance(reference, str) and language_of(reference.rpartition(":")[0]) == "javascript"


def load_app(options: Options, hosted: HostedCode | None) -> CustomApp | None:
    """Return the project's own application. Raises StartError."""
    if options.http.app is None:
        return None
    if hosted is not None and _in_javascript(options.http.app):
        return CustomApp(HostedApp(hosted), options.prefix)
    return CustomApp(load_object(options.owner(), "http.app", options.http.app), options.prefix)


class Served(NamedTuple):
    """Code that was loaded together."""

    app: CustomApp | None = None
    gate: CustomAuth | None = None
    encryption_contexts: EncryptionContexts = EncryptionContexts(None)
    hosted: HostedCode | None = None

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
        self.proof: dict[str, str] = {}
        """The header by which clients without an address prove where they are; empty until the gateway starts."""
        self._leaving: set[asyncio.Task[None]] = set()
        """Ends of processes whose code was replaced."""
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

        own = self._settings.base_url or own_url(self._settings)
        open_loopback(own, self._options.prefix, lambda: self.proof, closed=AUTHENTICATING)
        hosted = hosted_code(self._options, self._settings)
        if hosted is not None:
            prepare_process(self._options.owner())
            hosted.start()
        self._served = self._import(hosted)
        self._loaded = True
        if self.gate is not None and not (self._settings.studio_api_key or self._options.auth.disable_studio_auth):
            logger.info("gateway.studio_needs_key", means=STUDIO_HINT)

    def _import(self, hosted: HostedCode | None) -> Served:
        try:
            app = load_app(self._options, hosted)
            gate = self._gate(hosted)
            return Served(app, gate, load_encryption_contexts(self._options), hosted)
        except BaseException:
            if hosted is not None:
                hosted.end()
            raise

    def _gate(self, hosted: HostedCode | None) -> CustomAuth | None:
        if hosted is None or not _in_javascript(self._options.auth.path):
            return load_auth(self._options, self._reads, self._settings)
        from ..auth.hosted_auth import load_hosted_auth  # here: it brings the SDK along

        return load_hosted_auth(hosted, self._options, self._reads, self._settings)

    async def lifespan(self, _: web.Application) -> AsyncIterator[None]:
        """Run the application's lifespan from the gateway's start to its end, across reloads."""
        if self._served.hosted is not None:
            self._served.hosted.supervise()
        if self.app is not None:
            await self.app.start(self._settings.worker_start_s)
        yield
        if self.app is not None:
            await self.app.stop()
        await asyncio.gather(*self._leaving)
        await _stop(self._served)

    async def _import_again(self) -> Served:
        hosted = hosted_code(self._options, self._settings)
        if hosted is not None:
            await asyncio.to_thread(hosted.start)
        return self._import(hosted)

    async def reload(self, project: Project, changed: Callable[[str], bool], files: list[str]) -> CustomApp | None:
        """Load the code again if one of its files has changed, and log what is loaded. The application that was replaced:
        to be stopped once its last requests have ended.

        ``changed``: whether the file of that name (a module's) has changed; ``files``: what changed, for the log.
        """
        if not self.any:
            return None
        javascript = self._served.hosted is not None and any(language_of(name) == "javascript" for name in files)
        with executed_again(project, changed) as anew:
            if not anew.affected and not self._failed and not javascript:
                anew.undo()
                return None
            try:
                fresh = await self._import_again()
                if fresh.app is not None:
                    await fresh.app.start(self._settings.worker_start_s)
            except Exception as error:
                anew.undo()
                self._failed = True
                why = str(error) if isinstance(error, StartError) else f"{type(error).__name__}: {error}"
                logger.error("gateway.reload_failed", files=files, error=why, effect=IN_FORCE)
                return None
        replaced, self._served, self._failed = self._served, fresh, False
        if fresh.hosted is not None:
            fresh.hosted.supervise()
        leaving = asyncio.create_task(_stop_later(replaced))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        for call in self.on_change:
            call()
        logger.info("gateway.reloaded", files=files, loaded=fresh.names())
        return replaced.app


async def _stop(served: Served) -> None:
    if served.hosted is None:
        return
    if isinstance(served.gate, CustomAuth):
        await served.gate.close()
    await served.hosted.stop()


async def _stop_later(served: Served) -> None:
    """End the process of code that was replaced, once the requests that it had begun have ended, or had their time."""
    if served.hosted is not None:
        await asyncio.sleep(0)  # a request that has chosen it in this turn of the loop counts itself in the next
        await served.hosted.idle(RETIRE_S)
        await _stop(served)


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
