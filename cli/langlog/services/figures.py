"""Progress of the services of a process, as a metric and as a report in Redis (`langlog why`); and the push of all its metrics.

Concurrency: a `Service` of the process, beside those that it watches; each scrape queries them. Its death affects nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

logger = structlog.get_logger(__name__)

if TYPE_CHECKING:
    from langlog_backbone.context import Backbone
    from langlog_backbone.metrics.families import Family
    from langlog_backbone.metrics.otlp import Push
    from langlog_backbone.process.service import Service
    from langlog_schemas.messages import ProcessInfo


class FiguresService:
    """``services``: all other services of the process."""

    name = "figures"

    def __init__(self, services: Sequence[Service], backbone: Backbone) -> None:
        self._services = services
        self._pipe = backbone.pipe
        self._started_ms = 0
        self._info: ProcessInfo | None = None
        self._push: Push | None = None

    async def start(self) -> None:
        from langlog_backbone.metrics import otlp
        from langlog_backbone.metrics.exposition import EXPOSITION
        from langlog_backbone.time.clock import now_ms

        self._started_ms = now_ms()

        EXPOSITION.add("readiness", self._collect)
        if otlp.wanted():
            push = otlp.Push(EXPOSITION, [service.name for service in self._services])
            self._push = push if push.start() else None

    async def serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._report())
            if self._push is not None:
                group.create_task(self._push.serve())

    async def _report(self) -> None:
        from langlog_backbone.history.run_view import LANGLOG_VERSION
        from langlog_backbone.operation.service_reports import CORRECTED_S, EVERY_S, process_info, report
        from langlog_backbone.process.retry import availabilities

        while True:
            pause = EVERY_S
            try:
                self._info = process_info(await self._reasons(), availabilities(), LANGLOG_VERSION, self._started_ms)
                report(self._pipe, self._info)
                if any(reason is not None for reason in self._info.services.values()):
                    pause = CORRECTED_S
            except Exception:  # a defect here is no reason to end the services
                logger.exception("figures.report_failed")
            await asyncio.sleep(pause)  # services do not signal that they make progress again

    async def drain(self) -> None:
        """Push a last time, while the services that it queries still run."""
        if self._push is not None:
            with contextlib.suppress(OSError):
                await self._push.end()

    async def stop(self) -> None:
        from langlog_backbone.metrics.exposition import EXPOSITION

        EXPOSITION.remove(self._collect)
        if self._info is not None:
            from langlog_backbone.operation.service_reports import withdraw

            withdraw(self._pipe, self._info)

    async def not_ready(self) -> str | None:
        return None

    async def _collect(self) -> list[Family]:
        from langlog_backbone.metrics import table
        from langlog_backbone.metrics.families import family

        ready: dict[tuple[str, ...], float] = {
            (name,): float(reason is None) for name, reason in (await self._reasons()).items()
        }
        return [family(table.READY, ready)]

    async def _reasons(self) -> dict[str, str | None]:
        """Why each service makes no progress; None while it does."""
        reasons = await asyncio.gather(*(service.not_ready() for service in self._services))
        return {service.name: reason for service, reason in zip(self._services, reasons, strict=True)}
