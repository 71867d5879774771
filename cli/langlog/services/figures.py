"""What a process shows of its services to operators: whether each makes progress, as a metric.

Concurrency: a `Service` of the process, beside those that it watches; each look asks them. What happens when it dies: nothing else does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langlog_backbone.metrics.families import Family
    from langlog_backbone.process.service import Service


class FiguresService:
    """``services``: those of the process."""

    name = "figures"

    def __init__(self, services: Sequence[Service]) -> None:
        self._services = services

    async def start(self) -> None:
        from langlog_backbone.metrics.exposition import EXPOSITION

        EXPOSITION.add("readiness", self._collect)

    async def serve(self) -> None:
        await asyncio.Event().wait()

    async def drain(self) -> None:
        """Nothing to bring to an end: it answers as long as anything runs."""

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
