"""Resources that a project prepares for its graphs in each worker process: the lifespan of ``http.app``, and the hook
``worker_lifespan``.

A web application's author makes pools and clients in its lifespan and uses them in nodes; where application and graphs share a process
that works by itself. Here graphs run in processes of their own, so the lifespan runs there too, as under any web server with several
processes: on the loop that runs the graphs, so that objects bound to an event loop belong to the right one.

    graphs imported ─► lifespan started on the graph loop ─► graphs announced ─► runs … ─► drained ─► lifespan ended

``http.worker_lifespan`` decides: true, false, or (not set) when graphs import the application's module or one that its lifespan's source
imports. Concurrency: start and stop on the loop of the graphs.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import structlog
from langlog_backbone.process.service import StartError
from langlog_backbone.project.config import Project
from langlog_backbone.project.imports import import_module, imported_app, load_object
from langlog_backbone.project.language import language_of
from langlog_backbone.project.lifespan import Lifespan, prepares_nothing

from ..graphs.app_imports import shared_with_lifespan

logger = structlog.get_logger(__name__)

KEY = "worker_lifespan"
"""Member of ``http`` (a bool), and of langgraph.json itself (a hook)."""
HOOK_HINT = f'{KEY} must be "path.py:function", an async context manager that takes nothing'


class Plan(msgspec.Struct, frozen=True):
    """Lifespans that workers of a project run."""

    hook: str | None = None
    """``path.py:function``."""
    app: str | None = None
    """``http.app``, if its lifespan runs in workers."""
    module: str | None = None
    """Name by which graphs will import its module."""
    needed: bool = True
    """Whether a failed start-up of the application stops the worker: not where only sources hint at it."""
    why: str = ""


def planned(project: Project) -> Plan | None:
    """Return the lifespans to run once the graphs are imported, or None. Raises StartError for an invalid value of the key."""
    hook = project.config.get(KEY)
    if hook is not None and not isinstance(hook, str):
        raise StartError(f"{project.file}: {HOOK_HINT}")
    http = project.section("http")
    app, chosen = http.get("app"), http.get(KEY)
    if isinstance(app, str) and language_of(app.rpartition(":")[0]) == "javascript":
        app = None  # it is in a process of its own, and Python's graphs use nothing of it
    if chosen is not None and not isinstance(chosen, bool):
        raise StartError(f"{project.file}: http.{KEY} must be true or false")
    if chosen and not isinstance(app, str):
        raise StartError(f"{project.file}: http.{KEY} is set without http.app")
    if not isinstance(app, str) or chosen is False:
        return None if hook is None else Plan(hook)
    if chosen:
        return Plan(hook, app, why=f"http.{KEY} is true")
    if (module := imported_app(project)) is not None:
        return Plan(hook, app, why=f"graphs import {module.__name__}")
    file = _file_of(project, app)
    if file is not None:
        shared = shared_with_lifespan(file, [*project.import_paths(), file.parent], _loaded())
        if shared.app_name is not None:
            return Plan(hook, app, module=shared.app_name, why=f"graphs import {shared.app_name} when they run")
        if shared.files:
            names = ", ".join(sorted(_short(project, each) for each in shared.files))
            return Plan(hook, app, needed=False, why=f"its lifespan's module and graphs share {names}")
    return None if hook is None else Plan(hook)


def _file_of(project: Project, app: str) -> Path | None:
    """Return the file of the application's module, without importing it."""
    source = app.rpartition(":")[0]
    if source.endswith(".py") or "/" in source:
        files = [(project.root / source).resolve()]
    else:
        paths = [root.joinpath(*source.split(".")) for root in project.import_paths()]
        files = [x for path in paths for x in (path.with_name(path.name + ".py"), path / "__init__.py")]
    return next((x for x in files if x.is_file()), None)


def _loaded() -> list[str]:
    return [name for x in list(sys.modules.values()) if (name := getattr(x, "__file__", None))]


def _short(project: Project, file: Path) -> str:
    return str(file.relative_to(project.root)) if file.is_relative_to(project.root) else str(file)


class WorkerLifespan:
    """One run of a plan."""

    def __init__(self, project: Project, plan: Plan) -> None:
        """Import the plan's objects, on the main thread. Raises StartError."""
        self._plan = plan
        self._hook: Lifespan | None = None
        self._app: Lifespan | None = None
        if plan.hook is not None:
            self._hook = Lifespan(_as_application(_hook(project, plan.hook)), f"{KEY} {plan.hook}")
        if plan.app is not None:
            try:
                app = _application(project, plan.app, plan.module)
                if not prepares_nothing(app):
                    self._app = Lifespan(app, "http.app (in a worker process)")
            except StartError as error:
                if plan.needed:
                    raise
                logger.warning("worker.lifespan_skipped", error=str(error), why=plan.why)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to run."""
        return self._app is None and self._hook is None

    async def start(self, limit_s: float) -> None:
        """Run the start-ups. Raises StartError if one fails, or takes longer than ``limit_s`` seconds."""
        if self._hook is not None:
            await self._hook.start(limit_s)
        if self._app is None:
            return
        try:
            runs = await self._app.start(limit_s)
        except StartError as error:
            if self._plan.needed:
                raise StartError(
                    f"{error} ({self._plan.why}; http.{KEY}: false in langgraph.json keeps its lifespan out of workers)"
                ) from None
            logger.warning("worker.lifespan_failed", error=str(error), why=self._plan.why)
            return
        if runs:
            logger.info(
                "worker.lifespan_started",
                why=self._plan.why,
                hint=f"the lifespan of http.app runs in each worker too; http.{KEY}: false keeps it to the gateway",
            )

    async def stop(self, limit_s: float) -> None:
        """Run the exit parts, in reverse. Their exceptions are logged."""
        for each in (self._app, self._hook):
            if each is not None:
                await each.stop(limit_s)


def _as_application(hook: Callable[[], Any]) -> Callable[..., Awaitable[None]]:
    """Return the hook as an application with nothing but a lifespan: entered and exited by one task, as task groups want it."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        up = False
        try:
            async with hook():
                up = True
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except Exception as error:
            if not up:
                await send({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
            raise
        await send({"type": "lifespan.shutdown.complete"})

    return application


def _application(project: Project, reference: str, module: str | None) -> Any:
    if module is not None:
        with contextlib.suppress(ImportError):  # the error is raised below, with the reference
            import_module(module)
    app = load_object(project, "http.app", reference, shared=True)
    if not callable(app):
        raise StartError(f"http.app is a {type(app).__name__}, not an ASGI application")
    return app


def _hook(project: Project, reference: str) -> Callable[[], Any]:
    hook = load_object(project, KEY, reference, shared=True)
    if not callable(hook):
        raise StartError(f"{project.file}: {HOOK_HINT}; {reference!r} is a {type(hook).__name__}")
    with contextlib.suppress(TypeError, ValueError):
        needed = [p for p in inspect.signature(hook).parameters.values() if p.default is p.empty and p.kind < 2]
        if needed:
            raise StartError(f"{project.file}: {HOOK_HINT}; {reference!r} takes {needed[0].name!r}")
    return hook  # type: ignore[no-any-return]


@contextlib.asynccontextmanager
async def lifespan_here(project: Project, limit_s: float, *, needed: bool = True) -> AsyncIterator[None]:
    """Run the project's lifespan around a block that runs graphs on this loop.

    ``needed``: raises StartError when it does not start; otherwise that is logged, and nodes do without.
    """
    running: WorkerLifespan | None = None
    try:
        plan = planned(project)
        if plan is not None:
            running = WorkerLifespan(project, plan)
            await running.start(limit_s)
    except StartError as error:
        if needed:
            raise
        logger.warning("worker.lifespan_failed", error=str(error), effect="nodes do without what it prepares")
    try:
        yield
    finally:
        if running is not None:
            await running.stop(limit_s)
