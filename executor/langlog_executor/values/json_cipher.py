"""The project's handlers for JSON as a worker calls them, and the encryption context that they and those for checkpoints get.

Concurrency: any loop and thread. The handlers are coroutines; they run on one event loop in a thread of their own (`HandlerLoop`).
Death: as the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar

import msgspec
from langlog_backbone.project.json_handlers import (
    CONTEXT_KEY,
    HANDLER_S,
    MARK_BYTES,
    NO_CONTEXT,
    About,
    JsonHandlers,
)

T = TypeVar("T")

_context: ContextVar[str] = ContextVar("langlog_encryption_context", default=NO_CONTEXT)


def current_context() -> str:
    """Return the encryption context of this task, which handlers receive as ``ctx.metadata``; JSON text."""
    return _context.get()


def context_of(configurable: Mapping[str, Any]) -> str:
    """Return the encryption context of a configurable, JSON text."""
    context = configurable.get(CONTEXT_KEY)
    return context if isinstance(context, str) else NO_CONTEXT


@contextlib.contextmanager
def encryption_context(configurable: Mapping[str, Any]) -> Iterator[None]:
    """Set the handlers' context in the block to the one that the gateway put into the configurable; without one, keep the
    outer context."""
    context = configurable.get(CONTEXT_KEY)
    if not isinstance(context, str):
        yield
        return
    before = _context.set(context)
    try:
        yield
    finally:
        _context.reset(before)


class HandlerLoop:
    """The event loop that a project's handlers run on, in a thread of its own: what they hold belongs to one loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def wait(self, call: Coroutine[Any, Any, T], limit_s: float | None = HANDLER_S) -> T:
        """Wait for a call; blocks the calling thread."""
        return asyncio.run_coroutine_threadsafe(call, self._running()).result(limit_s)

    async def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Run a call from any loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, self._running()))

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="encryption-handlers", daemon=True).start()
            return self._loop


class JsonCipher:
    """The project's handlers for JSON, for any loop and thread of a worker; without handlers everything stays as it is.

    Raises HandlerFault, and what a handler raises.
    """

    def __init__(self, handlers: JsonHandlers | None = None, loop: HandlerLoop | None = None) -> None:
        self._handlers = handlers
        self._loop = loop or HandlerLoop()

    @property
    def any(self) -> bool:
        return self._handlers is not None

    async def seal(self, data: bytes, context: str, model: str, field: str) -> bytes:
        """Return JSON text, sealed for storing."""
        if self._handlers is None:
            return data
        return await self._loop.run(self._handlers.seal_json(data, About(context, model, field)))

    async def seal_interrupts(self, data: bytes, context: str) -> bytes:
        """Return a thread's interrupts, sealed."""
        return data if self._handlers is None else await self._loop.run(self._handlers.seal_interrupts(data, context))

    def sealed_metadata(self, data: bytes) -> bytes:
        """Return metadata of a checkpoint, JSON, sealed in the `encryption_context`; blocks the calling thread."""
        if self._handlers is None:
            return data
        about = About(_context.get(), "checkpoint", "metadata")
        return msgspec.json.encode(
            self._loop.wait(self._handlers.seal_metadata(msgspec.json.decode(data), about), None)
        )

    async def open(self, data: bytes) -> bytes:
        """Return JSON text, decrypted."""
        if self._handlers is None or MARK_BYTES not in data:
            return data
        return await self._loop.run(self._handlers.open_json(data))

    def opened(self, data: bytes) -> bytes:
        """Like `open`; blocks the calling thread."""
        if self._handlers is None or MARK_BYTES not in data:
            return data
        return self._loop.wait(self._handlers.open_json(data), None)
