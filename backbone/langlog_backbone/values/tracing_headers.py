"""Names of headers by which distributed tracing goes from a request to the next.

Instrumentation adds them to all requests that a process sends, without its code, so they do not identify a caller. One list, by which
code distinguishes such headers from those that a caller has set. Names are in lower case, as HTTP compares them. Pure.
"""

from __future__ import annotations

TRACING_HEADERS = frozenset(
    {
        # W3C Trace Context, W3C Baggage
        *("traceparent", "tracestate", "baggage"),
        # LangSmith: langsmith.run_trees.RunTree.to_headers
        "langsmith-trace",
        # Sentry: develop.sentry.dev/sdk/telemetry/traces/trace-propagation
        "sentry-trace",
        # B3: github.com/openzipkin/b3-propagation
        *("b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags"),
        # New Relic: newrelic.api.cat_header_mixin, docs.newrelic.com on distributed tracing
        *("newrelic", "x-newrelic-id", "x-newrelic-transaction", "x-newrelic-synthetics", "x-newrelic-synthetics-info"),
        # AWS X-Ray: docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader
        "x-amzn-trace-id",
        # Google Cloud Trace: cloud.google.com/trace/docs/trace-context
        "x-cloud-trace-context",
        # Jaeger: jaegertracing.io/docs/1.22/client-libraries
        *("uber-trace-id", "jaeger-debug-id", "jaeger-baggage"),
        # OpenTracing: opentelemetry-propagator-ot-trace
        *("ot-tracer-traceid", "ot-tracer-spanid", "ot-tracer-sampled"),
        # Lightstep, Envoy: istio.io/latest/docs/tasks/observability/distributed-tracing/overview
        *("x-ot-span-context", "x-request-id"),
        # Elastic APM: elastic.co/guide/en/apm/agent/python/current/configuration.html#config-use-elastic-traceparent-header
        "elastic-apm-traceparent",
        # SkyWalking: skywalking.apache.org/docs/main/next/en/api/x-process-propagation-headers-v3
        *("sw8", "sw8-correlation", "sw8-x"),
        # Azure Monitor, .NET: learn.microsoft.com/azure/azure-monitor/app/correlation
        *("request-id", "request-context", "correlation-context"),
        # Instana: ibm.com/docs/en/instana-observability on traceability of HTTP headers
        *("x-instana-t", "x-instana-s", "x-instana-l"),
        # Dynatrace, Honeycomb, AppDynamics: their documentation of proxies that have to let these pass
        *("x-dynatrace", "x-honeycomb-trace", "singularityheader"),
    }
)
"""Whole names."""
TRACING_PREFIXES = (
    "x-datadog-",  # Datadog: ddtrace.propagation.http (trace-id, parent-id, sampling-priority, origin, tags)
    "ot-baggage-",  # OpenTracing and Datadog: one header for each item of the baggage
    "uberctx-",  # Jaeger: the same
)
"""Beginnings of names."""


def is_tracing_header(name: str) -> bool:
    """Return whether tracing adds a header of this name (in lower case)."""
    return name in TRACING_HEADERS or name.startswith(TRACING_PREFIXES)
