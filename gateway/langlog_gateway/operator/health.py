"""``GET /operator/health``: the facts of `langlog why` and `langlog log groups` for the whole system. JSON once, or a stream of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import msgspec
from aiohttp import web
from langlog_backbone.operation import explain_service
from langlog_backbone.operation.explain_service import SERVICES
from langlog_backbone.operation.health import SystemHealth, gather
from langlog_backbone.time.sources import monotonic

from ..auth.access import admit_operator
from ..core import Core, json_response
from ..http.errors import ApiError
from ..responses.system import ServiceState
from ..streams import sse
from .live import LiveStreams, wants_stream

PAUSE_S = 2.0
"""Seconds between two events of a stream. No server signals that a figure has changed."""
FRESH_S = 1.0
"""Seconds for which a view is reused for all requests."""


class HealthPages:
    def __init__(self, core: Core, streams: LiveStreams) -> None:
        self._core, self._streams = core, streams
        self._gathering: asyncio.Task[SystemHealth] | None = None
        self._gathered_at = float("-inf")

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/operator/health", self.health), web.get("/operator/services/{service}/why", self.why)]

    async def health(self, request: web.Request) -> web.StreamResponse:
        """The state of the whole system: queue, workers, readers of the log, parked keys and webhooks, and what is wrong in words.

        With `Accept: text/event-stream`, an event `health` every two seconds.
        """
        admit_operator(request)
        if wants_stream(request):
            return await self._streams.follow(request, self._events())
        return json_response(msgspec.json.encode(await self._view()))

    async def why(self, request: web.Request) -> web.Response:
        """Why a service or a server is behind or not ready, and what to do, in sentences: `gateway`, `decider`, `projector`, `scheduler`,
        `workers`, `executor`, `log`, `postgres` or `redis`.
        """
        admit_operator(request)
        wanted = request.match_info["service"]
        service = next((name for name in SERVICES if name == wanted), None)
        if service is None:
            raise ApiError(404, f"No service {wanted[:100]!r}: name one of {', '.join(SERVICES)}")
        core = self._core
        facts = await explain_service.gather(core.pool, core.log, core.pipe, await core.probe.failures())
        well, lines = explain_service.explain(service, facts)
        return json_response(msgspec.json.encode(ServiceState(service, well, lines)))

    async def _events(self) -> AsyncGenerator[bytes, None]:
        while True:
            yield sse.event("health", msgspec.json.encode(await self._view()))
            await asyncio.sleep(PAUSE_S)

    async def _view(self) -> SystemHealth:
        """Return the current view, or one from within `FRESH_S`; concurrent requests share it."""
        if self._gathering is None or (self._gathering.done() and monotonic() - self._gathered_at > FRESH_S):
            self._gathering = asyncio.create_task(self._gather())
        return await asyncio.shield(self._gathering)

    async def _gather(self) -> SystemHealth:
        core = self._core
        try:
            return await gather(core.pool, core.log, core.pipe, await core.probe.failures())
        finally:
            self._gathered_at = monotonic()
