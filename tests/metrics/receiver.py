"""An OTLP receiver for metrics, on loopback: aiohttp, and the protocol's own protobuf types."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

LIMIT_S = 120.0


class Pushed:
    """Content of one push: metrics by name, and the attributes of the process."""

    def __init__(self, request: ExportMetricsServiceRequest) -> None:
        (of_process,) = request.resource_metrics
        self.about = {pair.key: pair.value.string_value for pair in of_process.resource.attributes}
        self.metrics: dict[str, Metric] = {one.name: one for scope in of_process.scope_metrics for one in scope.metrics}

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the points with these attributes (of a histogram: of their counts), or 0."""
        if name not in self.metrics:
            return 0.0
        metric = self.metrics[name]
        points = [*metric.sum.data_points, *metric.gauge.data_points]
        counts = [(point.attributes, float(point.count)) for point in metric.histogram.data_points]
        values = [(point.attributes, point.as_double or float(point.as_int)) for point in points]
        return sum(
            value
            for attributes, value in [*values, *counts]
            if labels.items() <= {pair.key: pair.value.string_value for pair in attributes}.items()
        )


class Receiver:
    def __init__(self) -> None:
        self.url = ""
        self.refuse = False
        self.pushes: list[Pushed] = []
        self.asked = 0
        self._news = asyncio.Condition()

    async def wait(self, wanted: Callable[[Pushed], bool]) -> Pushed:
        """Wait for a push that ``wanted`` accepts, and return it."""
        async with asyncio.timeout(LIMIT_S), self._news:
            while True:
                for pushed in self.pushes:
                    if wanted(pushed):
                        return pushed
                await self._news.wait()

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.headers.get("content-encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        async with self._news:
            self.asked += 1
            if not self.refuse:
                self.pushes.append(Pushed(ExportMetricsServiceRequest.FromString(body)))
            self._news.notify_all()
        if self.refuse:
            return web.Response(status=400)
        answer = ExportMetricsServiceResponse().SerializeToString()
        return web.Response(body=answer, content_type="application/x-protobuf")

    @asynccontextmanager
    async def up(self) -> AsyncIterator[Receiver]:
        app = web.Application()
        app.router.add_post("/v1/metrics", self.take)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None and hasattr(site._server, "sockets")
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            await runner.cleanup()
