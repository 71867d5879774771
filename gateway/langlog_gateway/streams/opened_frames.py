"""Decrypts frames that workers have sealed with the project's JSON handlers (`frames.publisher` in the executor)."""

from __future__ import annotations

import msgspec
from langlog_backbone.project.json_handlers import MARK_BYTES, JsonHandlers
from langlog_schemas.frames import FrameBatch


async def opened_frames(handlers: JsonHandlers | None, batch: FrameBatch) -> FrameBatch:
    """Return the batch decrypted; the same one if nothing is sealed. Raises the handlers' errors."""
    if handlers is None or not any(MARK_BYTES in frame.data for frame in batch.frames):
        return batch
    opened = [msgspec.structs.replace(frame, data=await handlers.open_json(frame.data)) for frame in batch.frames]
    return msgspec.structs.replace(batch, frames=opened)
