"""The parts of a replay that wait for the client that follows it: bounded, since the client may stop reading.

Concurrency: filled and read on the gateway's event loop, by one consumer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from langlog_schemas.messages import ReplayPart

from ..streams.waker import Waker
from ..streams.watch import Limits


class ReplayParts(Waker):
    """``limits``: of what waits, in parts and bytes; the first part may be larger."""

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self.overrun = False
        """Whether too much waited for the client: it gets no more parts."""
        self.on_overrun: Callable[[], object] | None = None
        self._limits = limits
        self._waiting: deque[ReplayPart] = deque()
        self._bytes = 0
        self._beat = False
        """Whether the executor has reported since the last `next`, without a part for the client."""

    @property
    def ready(self) -> bool:
        return bool(self._waiting) or self._beat or self.overrun

    def put(self, part: ReplayPart) -> None:
        """Add a part. Beats do not gather, since any number of them says the same."""
        if self.overrun:
            return
        if part.kind == "beat":
            self._beat = True
        elif self._waiting and (
            len(self._waiting) >= self._limits.frames or self._bytes + len(part.body) > self._limits.bytes
        ):
            self._waiting.clear()
            self.overrun = True
            if self.on_overrun is not None:
                self.on_overrun()
        else:
            self._waiting.append(part)
            self._bytes += len(part.body)
        self.wake()

    async def next(self, limit_s: float) -> ReplayPart | None:
        """Wait for the next part and return it: a beat if only beats arrived, None after an overrun. Raises TimeoutError if nothing
        arrives within ``limit_s`` seconds."""
        await self.wait(asyncio.get_running_loop().time() + limit_s)
        if not self.ready:
            raise TimeoutError
        self._beat = False
        if self.overrun:
            return None
        if not self._waiting:
            return ReplayPart(kind="beat")
        part = self._waiting.popleft()
        self._bytes -= len(part.body)
        return part
