"""Waiting for what no message announces, such as readiness: looked at again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
LIMIT_S = 120.0
PAUSE_S = 0.05


async def eventually(look: Callable[[], Awaitable[T | None]], limit_s: float = LIMIT_S) -> T:
    """Return the result of ``look``, once it is true. Raises TimeoutError."""
    async with asyncio.timeout(limit_s):
        while True:
            value = await look()
            if value:
                return value
            await asyncio.sleep(PAUSE_S)
