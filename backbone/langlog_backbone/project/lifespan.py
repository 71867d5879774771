"""The lifespan of an ASGI application: its start-up and shut-down by the ASGI specification's lifespan protocol 2.0.

The gateway runs it around the application that it serves; a worker runs it on the loop of its graphs, so that nodes have what it
prepares. Concurrency: belongs to the event loop on which `start` is called.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import structlog

from ..process.service import StartError

logger = structlog.get_logger(__name__)

Message = MutableMapping[str, Any]
LIFESPAN_S = 60.0
"""Default timeout of an application's start, and of its stop, in seconds."""


def prepares_nothing(app: object) -> bool:
    """Return whether an application of Starlette's kind has no lifespan and no handlers of start and end. False where it
    does not show that."""
    router = getattr(app, "router", app)
    context = getattr(router, "lifespan_context", None)
    handlers = [*(getattr(router, "on_startup", None) or []), *(getattr(router, "on_shutdown", None) or [])]
    return type(context).__name__ == "_DefaultLifespan" and not handlers


class Lifespan:
    """One run of an application's lifespan."""

    def __init__(self, app: Callable[..., Awaitable[None]], name: str = "http.app") -> None:
        """``name``: name of the application in messages."""
        self._app = app
        self._name = name
        self._task: asyncio.Task[None] | None = None
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._started: asyncio.Future[bool] | None = None
        self._stopped = asyncio.Event()
        self.state: dict[str, Any] = {}
        """State that the application passes to its requests (``scope["state"]``)."""

    async def start(self, limit_s: float = LIFESPAN_S) -> bool:
        """Run the start-up. Return False if the application has no lifespan. Raises StartError if it fails or takes longer
        than ``limit_s``."""
        self._started = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._live(), name=f"lifespan of {self._name}")
        self._events.put_nowait({"type": "lifespan.startup"})
        try:
            async with asyncio.timeout(limit_s):
                return await self._started
        except TimeoutError:
            self._task.cancel()
            raise StartError(f"{self._name} did not start within {limit_s:.0f} s: its lifespan still runs") from None

    async def stop(self, limit_s: float = LIFESPAN_S) -> None:
        """Run the shut-down, for that long at most. Its failure is logged."""
        if self._task is None or self._task.done():
            return
        self._events.put_nowait({"type": "lifespan.shutdown"})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._stopped.wait()
        if not self._stopped.is_set():
            logger.warning("app.lifespan_cut_off", app=self._name, after_s=limit_s)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _live(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        assert self._started is not None
        try:
            await self._app(scope, self._events.get, self._receive_event)
        except Exception as error:
            if self._started.done():
                logger.exception("app.lifespan_failed", app=self._name)
            elif self._stopped.is_set():
                self._started.set_exception(StartError(f"{self._name} did not start: {error}"))
            else:  # the specification: an exception before startup.complete means that there is no lifespan
                logger.info("app.has_no_lifespan", app=self._name, error=repr(error))
        finally:
            self._stopped.set()
            if not self._started.done():
                self._started.set_result(False)

    async def _receive_event(self, message: Message) -> None:
        assert self._started is not None
        match message["type"]:
            case "lifespan.startup.complete":
                if not self._started.done():
                    self._started.set_result(True)
            case "lifespan.startup.failed":
                if not self._started.done():
                    lines = str(message.get("message") or "").strip().splitlines()  # Starlette sends a traceback
                    why = lines[-1] if lines else "its lifespan failed"
                    self._started.set_exception(StartError(f"{self._name} did not start: {why}"))
            case "lifespan.shutdown.complete" | "lifespan.shutdown.failed":
                self._stopped.set()
