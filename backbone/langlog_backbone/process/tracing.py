"""OpenTelemetry traces: one trace from a request through command, decision, run and projection (extra ``langlog[otel]``).

Off unless one of `SWITCHES` is set, and then nothing of OpenTelemetry is imported: `span` returns the same idle object each time.
Between processes the trace travels in records, as in the CloudEvents extension "distributed tracing" (``ce_traceparent``), and
in a run's kwargs. OpenTelemetry's own variables (exporter, sampler, resource) apply.

Concurrency: spans may be opened in any thread; one that is entered is the current one of its task. Spans are sent by a thread of
the SDK's own; while the collector is unavailable they are dropped, nothing waits for it. When the process dies, unsent spans are lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Literal

import structlog

logger = structlog.get_logger(__name__)

SWITCHES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Either one, the address of a collector that takes OTLP over HTTP, turns tracing on."""
LANGSMITH_SWITCHES = ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING_V2")
"""Any of them, ``true``, makes langchain-core trace runs to LangSmith, beside these traces."""
SERVICE = "langlog"
"""Default of ``service.name``, without OTEL_SERVICE_NAME."""
FLUSH_S = 3.0
"""Seconds for the last spans to be sent at the end of a process."""

Kind = Literal["internal", "server", "consumer"]
Attributes = Mapping[str, str | int | float | bool | None]
NONE: Attributes = {}

_tracer: Any = None
_provider: Any = None
_users = 0


class Span:
    """An idle span: returned by `span` while tracing is off."""

    traceparent: str | None = None
    """Traceparent for continuing the trace elsewhere (W3C trace context)."""

    def set(self, attributes: Attributes) -> None:
        """Add attributes to the span. Those that are None are left out."""

    def fail(self, what: str) -> None:
        """Mark the work as failed, without an exception."""

    def end(self) -> None:
        """End a span that was never entered."""

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


IDLE = Span()


def to_langsmith(environ: Mapping[str, str]) -> bool:
    """Return whether workers with these variables trace their runs to LangSmith."""
    return any(environ.get(name, "").lower() == "true" for name in LANGSMITH_SWITCHES)


def on() -> bool:
    """Return whether this process records spans."""
    return _tracer is not None


def span(name: str, attributes: Attributes = NONE, *, parent: str | None = None, kind: Kind = "internal") -> Span:
    """Return a span for a piece of work: a context manager; the current span of its task while it is entered.

    ``parent``: a traceparent; without it, or with one that means nothing, the span that is current.
    """
    if _tracer is None:
        return IDLE
    return _RealSpan(name, attributes, parent, kind)


def current() -> str | None:
    """Return the traceparent of the current span."""
    if _tracer is None:
        return None
    from opentelemetry import trace

    return _traceparent(trace.get_current_span())


def passed(name: str, attributes: Attributes, *, parent: str, began_ns: int) -> None:
    """Record a span for work on a record, from ``began_ns`` (nanoseconds since the epoch) until now."""
    if _tracer is not None:
        given = _attributes(attributes)
        _tracer.start_span(name, _context(parent), _kind("consumer"), given, start_time=began_ns).end()


class _RealSpan(Span):
    def __init__(self, name: str, attributes: Attributes, parent: str | None, kind: Kind) -> None:
        self._span = _tracer.start_span(name, _context(parent), _kind(kind), _attributes(attributes))
        self.traceparent = _traceparent(self._span)
        self._token: Any = None

    def set(self, attributes: Attributes) -> None:
        self._span.set_attributes(_attributes(attributes))

    def fail(self, what: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        self._span.set_status(Status(StatusCode.ERROR, what))

    def end(self) -> None:
        self._span.end()

    def __enter__(self) -> Span:
        from opentelemetry import context, trace

        self._token = context.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from opentelemetry import context

        # no text of exceptions: it may hold what users wrote
        if kind is not None and issubclass(kind, Exception):
            self._span.set_attribute("error.type", kind.__qualname__)
            self.fail(kind.__qualname__)
        context.detach(self._token)
        self._span.end()


def _context(parent: str | None) -> Any:
    if parent is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": parent})


def _traceparent(span: Any) -> str | None:
    context = span.get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def _kind(name: Kind) -> Any:
    from opentelemetry.trace import SpanKind

    return SpanKind[name.upper()]


def _attributes(given: Attributes) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def wanted(environ: Mapping[str, str] | None = None) -> bool:
    """Return whether the environment turns tracing on."""
    env = os.environ if environ is None else environ
    if env.get("OTEL_SDK_DISABLED", "").lower() == "true" or env.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    return any(env.get(name) for name in SWITCHES)


@contextlib.asynccontextmanager
async def tracing() -> AsyncIterator[None]:
    """Record spans while this is open, if the environment turns tracing on. Pending spans are sent at the end."""
    global _users
    _users += 1
    if _tracer is None and wanted():
        _begin()
    try:
        yield
    finally:
        _users -= 1
        if _users == 0 and _provider is not None:
            await _end()


def _begin() -> None:
    global _tracer, _provider
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logger.warning("tracing.not_installed", wants="pip install 'langlog[otel]'", effect="no traces")
        return
    name = os.environ.get("OTEL_SERVICE_NAME") or SERVICE
    made = TracerProvider(resource=Resource.create({"service.name": name, "process.pid": os.getpid()}))
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(made)  # graphs that make spans of their own find them in the same trace
    _provider, _tracer = made, made.get_tracer(SERVICE)
    logger.info("tracing.on", service=name)


async def _end() -> None:
    """Shut down tracing; pending spans have `FLUSH_S` to be sent."""
    global _tracer, _provider
    provider, _tracer, _provider = _provider, None, None
    await asyncio.to_thread(provider.force_flush, int(FLUSH_S * 1000))
    await asyncio.to_thread(provider.shutdown)
