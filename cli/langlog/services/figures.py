"""What a process shows of its services to operators: whether each makes progress, as a metric; and the push of all its metrics.

Concurrency: a `Service` of the process, beside those that it watches; each look asks them. What happens when it dies: nothing else does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langlog_backbone.metrics.families import Family
    from langlog_backbone.metrics.otlp import Push
    from langlog_backbone.process.service import Service


class FiguresService:
    """``services``: those of the process."""

    name = "figures"

    def __init__(self, services: Sequence[Service]) -> None:
        self._services = services
        self._push: Push | None = None

    async def start(self) -> None:
        from langlog_backbone.metrics import otlp
        from langlog_backbone.metrics.exposition import EXPOSITION

        EXPOSITION.add("readiness", self._collect)
        if otlp.wanted():
            push = otlp.Push(EXPOSITION, [service.name for service in self._services])
            self._push = push if push.start() else None

    async def serve(self) -> None:
        if self._push is not None:
            await self._push.serve()
        await asyncio.Event().wait()

    async def drain(self) -> None:
        """The last push, while all that it asks still runs."""
        if self._push is not None:
            with contextlib.suppress(OSError):
                await self._push.end()

    async def stop(self) -> None:
        from langlog_backbone.metrics.exposition import EXPOSITION

        EXPOSITION.remove(self._collect)

    async def not_ready(self) -> str | None:
        return None

    async def _collect(self) -> list[Family]:
        from langlog_backbone.metrics import table
        from langlog_backbone.metrics.families import family

        reasons = await asyncio.gather(*(service.not_ready() for service in self._services))
        ready: dict[tuple[str, ...], float] = {
            (service.name,): float(reason is None) for service, reason in zip(self._services, reasons, strict=True)
        }
        return [family(table.READY, ready)]
