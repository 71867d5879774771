"""Waiting for what the read model will hold: looked at anew whenever the projection has moved."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from langlog_backbone.context import Backbone
from langlog_backbone.redis import channels

T = TypeVar("T")
LIMIT_S = 60.0


async def until(backbone: Backbone, look: Callable[[], Awaitable[T | None]], limit_s: float = LIMIT_S) -> T:
    """Return the result of ``look``, once it is true. Raises TimeoutError."""
    moved = asyncio.Event()

    def on_watermark(_: bytes) -> None:
        moved.set()

    await backbone.bus.subscribe(channels.WATERMARK, on_watermark, remote=False)
    try:
        async with asyncio.timeout(limit_s):
            while True:
                moved.clear()
                value = await look()
                if value:
                    return value
                await moved.wait()
    finally:
        await backbone.bus.unsubscribe(channels.WATERMARK, on_watermark)
