"""Decrypts what workers have sealed with the project's JSON handlers: frames (`frames.publisher` in the executor) and lifecycle updates."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec
import structlog
from langlog_backbone.project.json_handlers import MARK_BYTES, JsonHandlers
from langlog_schemas.frames import FrameBatch

logger = structlog.get_logger(__name__)


class Opening:
    """Decrypts messages of one thread, in their order. One that cannot be decrypted, or too many that wait, count as missed."""

    def __init__(self, handlers: JsonHandlers, most: int) -> None:
        self._handlers = handlers
        self._most = most
        self._waiting: deque[tuple[Callable[[JsonHandlers], Awaitable[None]], Callable[[], None]]] = deque()
        self._work: asyncio.Task[None] | None = None

    def take(self, opened: Callable[[JsonHandlers], Awaitable[None]], missed: Callable[[], None]) -> None:
        if len(self._waiting) >= self._most:
            missed()
            return
        self._waiting.append((opened, missed))
        if self._work is None or self._work.done():
            self._work = asyncio.ensure_future(self._drain())

    def close(self) -> None:
        if self._work is not None:
            self._work.cancel()

    async def _drain(self) -> None:
        while self._waiting:
            opened, missed = self._waiting.popleft()
            try:
                await opened(self._handlers)
            except Exception:  # of the project's handler: watches query the read model instead
                logger.exception("watch.handler_failed")
                missed()


async def opened_frames(handlers: JsonHandlers | None, batch: FrameBatch) -> FrameBatch:
    """Return the batch decrypted; the same one if nothing is sealed. Raises the handlers' errors."""
    if handlers is None or not any(MARK_BYTES in frame.data for frame in batch.frames):
        return batch
    opened = [msgspec.structs.replace(frame, data=await handlers.open_json(frame.data)) for frame in batch.frames]
    return msgspec.structs.replace(batch, frames=opened)
