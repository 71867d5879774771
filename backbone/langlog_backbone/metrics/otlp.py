"""Push of the metrics to an OpenTelemetry collector, over OTLP (extra ``langlog[otel]``), when its address is set.

Each process pushes what its ``/metrics`` shows, worker processes included, every OTEL_METRIC_EXPORT_INTERVAL milliseconds and once at
its end. Without an address, no module of OpenTelemetry is imported. The exporter reads its own variables (headers, certificates,
compression) as in every program.

Concurrency: figures are read on the event loop and sent by a thread. While the collector is unavailable a push is dropped; since figures
are cumulative, the next one makes up for it. When the process dies, the counts since its last push are lost.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from ..time.sources import machine_time_ns
from .exposition import Exposition
from .families import Family, Labels, Sample
from .table import TABLE

logger = structlog.get_logger(__name__)

SWITCHES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
"""Variables with the address of a collector that accepts OTLP over HTTP. Either one turns the push on."""
INTERVAL_MS = 60_000.0
"""OpenTelemetry's default of OTEL_METRIC_EXPORT_INTERVAL, in milliseconds."""
LAST_PUSH_S = 3.0
"""Longest duration of the push at the end of a process."""
SCOPE = "langlog"


def wanted(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the environment asks for a push of metrics."""
    env = os.environ if environ is None else environ
    if env.get("OTEL_SDK_DISABLED", "").lower() == "true" or env.get("OTEL_METRICS_EXPORTER") == "none":
        return False
    return any(env.get(name) for name in SWITCHES)


def interval_s(environ: Mapping[str, str] | None = None) -> float:
    """Return the seconds between two pushes: the default unless the variable is a positive number."""
    text = (os.environ if environ is None else environ).get("OTEL_METRIC_EXPORT_INTERVAL", "")
    try:
        milliseconds = float(text)
    except ValueError:
        milliseconds = 0.0
    return (milliseconds if milliseconds > 0 else INTERVAL_MS) / 1000


class Push:
    """Pushes the metrics of this process while `serve` runs."""

    def __init__(self, exposition: Exposition, services: Iterable[str]) -> None:
        """``services``: names of the services of this process, an attribute of each push."""
        self._exposition = exposition
        self._services = " ".join(services)
        self._began_ns = machine_time_ns()
        self._exporter: Any = None
        self._resource: Any = None
        self._failed = False

    def start(self) -> bool:
        """Make the exporter. Return False, and log a warning, if the extra is not installed."""
        try:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
            from opentelemetry.sdk.resources import Resource
        except ImportError:
            logger.warning("metrics.not_installed", wants="pip install 'langlog[otel]'", effect="no push of metrics")
            return False
        self._exporter = OTLPMetricExporter()
        self._resource = Resource.create(
            {
                "service.name": os.environ.get("OTEL_SERVICE_NAME") or SCOPE,
                "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
                "langlog.services": self._services,
            }
        )
        logger.info("metrics.push", every_s=interval_s())
        return True

    async def serve(self) -> None:
        """Push at each interval until cancelled."""
        while True:
            await asyncio.sleep(interval_s())
            await self.push()

    async def push(self) -> None:
        """Push once. Log when the collector begins to refuse pushes, and when it accepts them again."""
        from opentelemetry.sdk.metrics.export import MetricExportResult

        error = ""
        try:
            data = metrics_data(await self._exposition.families(), self._resource, self._began_ns, machine_time_ns())
            result = await asyncio.to_thread(self._exporter.export, data)
            failed = result is not MetricExportResult.SUCCESS
        except Exception as raised:  # no error of the exporter may end the service
            failed, error = True, type(raised).__name__
        if failed and not self._failed:
            logger.warning("metrics.push_failed", error=error, effect="the next push holds all")
        elif self._failed and not failed:
            logger.info("metrics.push_succeeded")
        self._failed = failed

    async def end(self) -> None:
        """Push a last time, for `LAST_PUSH_S` at most, and shut the exporter down."""
        if self._exporter is None:
            return
        try:
            async with asyncio.timeout(LAST_PUSH_S):
                await self.push()
        except TimeoutError:
            logger.warning("metrics.last_push_cut_off", after_s=LAST_PUSH_S)
        finally:
            await asyncio.to_thread(self._exporter.shutdown, 0)


def metrics_data(families: Iterable[Family], resource: Any, began_ns: int, now_ns: int) -> Any:
    """Return the families as OpenTelemetry's `MetricsData`. Counters are cumulative sums since ``began_ns`` (nanoseconds of the epoch)."""
    from opentelemetry.sdk.metrics import export as otel
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    def number(sample: Sample) -> Any:
        return otel.NumberDataPoint(dict(sample.labels), began_ns, now_ns, sample.value)

    cumulative = otel.AggregationTemporality.CUMULATIVE
    metrics = []
    for one in families:
        declared = TABLE[one.name]
        data: Any
        match declared.kind:
            case "counter":
                data = otel.Sum([number(sample) for sample in one.samples], cumulative, is_monotonic=True)
            case "gauge":
                data = otel.Gauge([number(sample) for sample in one.samples])
            case "histogram":
                points = [_histogram(labels, of, began_ns, now_ns) for labels, of in _by_labels(one).items()]
                data = otel.Histogram(points, cumulative)
        if data.data_points:
            metrics.append(otel.Metric(one.name, declared.text, "s" if "_seconds" in one.name else "", data))
    scope = otel.ScopeMetrics(InstrumentationScope(SCOPE), metrics, "")
    return otel.MetricsData([otel.ResourceMetrics(resource, [scope], "")])


def _by_labels(one: Family) -> dict[Labels, list[Sample]]:
    """Group the samples of a histogram by their labels without ``le``."""
    groups: dict[Labels, list[Sample]] = {}
    for sample in one.samples:
        groups.setdefault(tuple(label for label in sample.labels if label[0] != "le"), []).append(sample)
    return groups


def _histogram(labels: Labels, samples: Iterable[Sample], began_ns: int, now_ns: int) -> Any:
    """Return the data point of one series. Prometheus' buckets count all values up to a limit, OpenTelemetry's those between two limits."""
    from opentelemetry.sdk.metrics.export import HistogramDataPoint

    total, count = 0.0, 0
    upto: list[tuple[float, int]] = []
    for sample in samples:
        if sample.name.endswith("_sum"):
            total = sample.value
        elif sample.name.endswith("_count"):
            count = int(sample.value)
        else:
            upto.append((float(dict(sample.labels)["le"]), int(sample.value)))
    upto.sort()
    counts = [value - before for (_, value), before in zip(upto, [0, *(value for _, value in upto)], strict=False)]
    bounds = [limit for limit, _ in upto if limit != float("inf")]
    unknown: Any = None  # the least and the greatest value: not sent
    return HistogramDataPoint(dict(labels), began_ns, now_ns, count, total, counts, bounds, unknown, unknown)
