"""A receiver of webhooks: takes them, refuses them, is slow, or takes them and does not say so."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

from langlog_scheduler.webhook_sender import Try

if TYPE_CHECKING:
    from ..world import World


class Receiver:
    def __init__(self, world: World, draw: random.Random) -> None:
        self._world, self._draw = world, draw
        self.well = False
        self.got: Counter[str] = Counter()
        """Run -> how often its webhook was received."""
        self.tried: Counter[str] = Counter()

    async def take(self, webhook_id: str, timeout_s: float) -> Try:
        run_id = webhook_id.removeprefix("msg_")
        self.tried[run_id] += 1
        roll = 1.0 if self.well else self._draw.random()
        await asyncio.sleep(0.01 + 0.2 * self._draw.random())
        if roll < 0.15:
            return Try(delivered=False, duration_ms=10, status_code=503, error="answered 503")
        if roll < 0.2:
            await asyncio.sleep(timeout_s)
            return Try(delivered=False, duration_ms=int(timeout_s * 1000), error="no answer")
        self.got[run_id] += 1
        if roll < 0.25:
            return Try(delivered=False, duration_ms=10, error="the connection broke")
        return Try(delivered=True, duration_ms=10, status_code=200)


class StubSender:
    """Takes the place of `WebhookSender`."""

    def __init__(self, receiver: Receiver, settings: Any, policy: Any, headers: Any) -> None:
        self._receiver, self._timeout_s = receiver, settings.webhook_timeout_s

    async def open(self) -> None:
        return None

    async def close(self) -> None:
        return None

    async def send(self, url: str, webhook_id: str, body: bytes) -> Try:
        return await self._receiver.take(webhook_id, self._timeout_s)
