"""The push of metrics to a collector, at a real OTLP receiver."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest
from langgraph_sdk import get_client
from langlog_backbone.metrics import otlp, table
from langlog_backbone.metrics.exposition import Exposition
from langlog_backbone.metrics.families import Family, Sample, family
from structlog.testing import capture_logs

from tests.e2e.conftest import PROJECT
from tests.metrics.receiver import Receiver
from tests.stack.server import LiveServer

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_METRICS_EXPORTER": "none"}, False),
    ],
)
def test_opentelemetrys_own_variables_are_the_switches(environ: dict[str, str], expected: bool) -> None:
    assert otlp.wanted(environ) is expected


@pytest.mark.parametrize(("text", "seconds"), [("", 60.0), ("500", 0.5), ("0", 60.0), ("soon", 60.0), ("-1", 60.0)])
def test_the_interval_is_opentelemetrys(text: str, seconds: float) -> None:
    assert otlp.interval_s({"OTEL_METRIC_EXPORT_INTERVAL": text}) == seconds


async def test_counters_gauges_and_histograms_arrive_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    name = table.RUN_SECONDS.describe()[0].name
    buckets = [("0.1", 1.0), ("1.0", 3.0), ("+Inf", 4.0)]
    graph = f"graph-{uuid.uuid4()}"  # counts of the process are added to the source's: no other test counts runs of this graph
    labels = (("graph", graph),)

    async def source() -> list[Family]:
        samples = [Sample(f"{name}_bucket", (*labels, ("le", limit)), value) for limit, value in buckets]
        samples += [Sample(f"{name}_sum", labels, 7.5), Sample(f"{name}_count", labels, 4.0)]
        return [Family(name, samples), family(table.PARKED_KEYS, 3), family(table.REDIS_DROPPED, 2)]

    async with Receiver().up() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "agents")
        shown = Exposition()
        shown.add("source", source)
        push = otlp.Push(shown, ["gateway", "decider"])
        assert push.start()
        await push.push()
        (pushed,) = receiver.pushes
        assert pushed.about["service.name"] == "agents" and pushed.about["langlog.services"] == "gateway decider"
        points = pushed.metrics[name].histogram.data_points
        (point,) = [one for one in points if one.attributes[0].value.string_value == graph]
        assert (list(point.bucket_counts), list(point.explicit_bounds)) == ([1, 2, 1], [0.1, 1.0])
        assert (point.count, point.sum, point.HasField("min")) == (4, 7.5, False)
        assert pushed.metrics[name].unit == "s"
        assert pushed.metrics[table.PARKED_KEYS].HasField("gauge")
        dropped = pushed.metrics[table.REDIS_DROPPED]
        assert dropped.sum.is_monotonic and dropped.sum.aggregation_temporality == 2
        receiver.refuse = True
        with capture_logs() as logs:
            await push.push()
            await push.push()
            receiver.refuse = False
            await push.push()
        assert [entry["event"] for entry in logs] == ["metrics.push_failed", "metrics.push_succeeded"]
        await push.end()
        assert len(receiver.pushes) == 3, "the last one at the end"


async def test_a_server_pushes_what_its_scrape_shows(tmp_path: Path) -> None:
    async with Receiver().up() as receiver:
        env = {
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{receiver.url}/v1/metrics",
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
        }
        server = LiveServer(PROJECT, tmp_path, env)
        await asyncio.to_thread(server.start)
        try:
            async with get_client(url=server.url) as client:
                await client.runs.wait(None, "memory", input={"user": "ada"})
            # counted in two processes, between which a push may come
            pushed = await receiver.wait(
                lambda one: (
                    one.value("langlog_attempts_ended_total", graph="memory") == 1
                    and one.value("langlog_run_seconds", graph="memory") == 1
                )
            )
            assert pushed.value("langlog_service_ready", service="decider") == 1
            assert pushed.about["service.instance.id"].endswith(f":{server.pid}")
            async with get_client(url=server.url) as client:
                await client.runs.wait(None, "memory", input={"user": "ada"})
        finally:
            await asyncio.to_thread(server.stop)
        # what a worker counts at the begin of a run: its end may be counted after the client has got the answer
        begun = [one.value("langlog_queue_wait_seconds", graph="memory") for one in receiver.pushes]
        assert max(begun) == 2, "the last push is at the end"
