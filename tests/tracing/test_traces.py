"""One trace from a client's request to the row of its response, across processes, at a real collector."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from langlog_backbone.process import tracing
from langlog_schemas import envelope

from tests.stack.server import LiveServer
from tests.tracing.collector import Collector, Found

PROJECT = Path(__file__).parents[1] / "contract" / "graphs" / "langgraph.json"


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveServer, Collector]]:
    with Collector().up() as collector:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        with LiveServer(PROJECT, tmp_path_factory.mktemp("traced"), env).up() as server:
            yield server, collector


class Trace:
    """The spans of one trace by name; those of the names given must be there once each."""

    def __init__(self, collector: Collector, trace_id: str, *names: str) -> None:
        result = collector.wait(lambda spans: set(names) <= {span.name for span in spans if span.trace_id == trace_id})
        self.spans = {span.name: span for span in result if span.trace_id == trace_id}
        self._by_id = {span.span_id: span for span in result}

    def path(self, name: str) -> list[str]:
        """Names from the outermost span down to this one."""
        span: Found | None = self.spans[name]
        collected: list[str] = []
        while span is not None:
            collected.insert(0, span.name)
            span = self._by_id.get(span.parent_id)
        return collected


async def post(url: str, body: object, traceparent: str | None = None) -> int:
    headers = {} if traceparent is None else {"traceparent": traceparent}
    async with aiohttp.ClientSession() as http, http.post(url, json=body, headers=headers) as answer:
        await answer.read()
        return answer.status


async def test_a_run_is_one_trace_from_the_request_to_the_projection_of_its_end(
    traced: tuple[LiveServer, Collector],
) -> None:
    server, collector = traced
    trace_id, caller = uuid.uuid4().hex, uuid.uuid4().hex[:16]
    thread_id = str(uuid.uuid4())
    body = {"assistant_id": "agent", "input": {"messages": "add 2 3"}, "if_not_exists": "create"}
    path = f"/threads/{thread_id}/runs/wait"
    assert await post(server.url + path, body, f"00-{trace_id}-{caller}-01") == 200
    last = "project run.succeeded.v1"
    of_server = ("POST /threads/{thread_id}/runs/wait", "decide run.create.v1", "decide run.finish.v1")
    of_worker = ("run agent", "graph agent", "node model", "node tools", "model ScriptedModel")
    of_projector = ("project run.created.v1", "project checkpoint.steps.v1", last)
    trace = Trace(collector, trace_id, *of_server, *of_worker, *of_projector)

    request = trace.spans["POST /threads/{thread_id}/runs/wait"]
    assert request.parent_id == caller
    assert request.attributes["http.response.status_code"] == "200"
    asked = [request.name]
    assert trace.path("project run.created.v1") == [*asked, "decide run.create.v1", "project run.created.v1"]
    assert trace.path("node tools") == [*asked, "run agent", "graph agent", "node tools"]
    assert trace.path("model ScriptedModel") == [
        *asked,
        "run agent",
        "graph agent",
        "node model",
        "model ScriptedModel",
    ]
    assert trace.path("project checkpoint.steps.v1") == [*asked, "run agent", "project checkpoint.steps.v1"]
    assert trace.path(last) == [*asked, "run agent", "decide run.finish.v1", last]
    run = trace.spans["run agent"]
    assert run.attributes["langlog.thread_id"] == thread_id
    assert run.attributes["langlog.outcome"] == "success"
    assert run.pid != request.pid
    assert {span.service for span in trace.spans.values()} == {"langlog"}


async def test_a_run_that_waits_its_turn_belongs_to_the_trace_that_asked_for_it(
    traced: tuple[LiveServer, Collector],
) -> None:
    server, collector = traced
    url = f"{server.url}/threads/{uuid.uuid4()}/runs"
    first, second = uuid.uuid4().hex, uuid.uuid4().hex
    body = {"assistant_id": "slow", "input": {"seconds": 0.2, "ticks": 2}, "if_not_exists": "create"}
    assert await post(url, body, f"00-{first}-{'1' * 16}-01") == 200
    body = {"assistant_id": "failing", "input": {"message": "secret words"}}
    assert await post(f"{url}/wait", body, f"00-{second}-{'2' * 16}-01") == 200
    asked = "POST /threads/{thread_id}/runs/wait"
    trace = Trace(collector, second, asked, "run failing", "project run.failed.v1", "node boom")
    assert trace.path("run failing") == [asked, "run failing"]
    assert trace.spans["run failing"].failed
    assert trace.spans["node boom"].failed
    assert "secret words" not in str(trace.spans), "what users write does not go to the collector"


async def test_the_trace_is_in_the_records_and_not_in_what_clients_see(traced: tuple[LiveServer, Collector]) -> None:
    server, _ = traced
    async with aiohttp.ClientSession(server.url) as http:
        body = {"assistant_id": "echo", "input": {}, "if_not_exists": "create"}
        async with http.post(f"/threads/{uuid.uuid4()}/runs", json=body) as answer:
            assert "traceparent" not in (await answer.json())["kwargs"]


def test_a_record_says_its_trace_as_the_cloudevents_extension_does() -> None:
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    headers = envelope.headers(
        id="1", type="t", source="s", time="2026-01-01T00:00:00+00:00", subject="x", traceparent=parent
    )
    assert headers["ce_traceparent"] == parent
    assert envelope.meta_of(headers, 0, 0).traceparent == parent


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_opentelemetrys_own_variables_are_the_switches(environ: dict[str, str], expected: bool) -> None:
    assert tracing.wanted(environ) is expected


OFF = """
import asyncio, sys
from langlog_backbone.process import tracing
async def main():
    async with tracing.tracing():
        with tracing.span("x") as span:
            assert span is tracing.IDLE and tracing.current() is None
asyncio.run(main())
assert not [name for name in sys.modules if name.startswith("opentelemetry")], "imported though it is off"
"""
MISSING = """
import asyncio, os, sys
sys.modules["opentelemetry.sdk"] = None
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:1"
from langlog_backbone.process import tracing
async def main():
    async with tracing.tracing():
        assert not tracing.on()
asyncio.run(main())
"""


@pytest.mark.parametrize("script", [OFF, MISSING], ids=["off", "not installed"])
def test_without_it_nothing_is_imported_or_made(script: str) -> None:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    if script is MISSING:
        assert "tracing.not_installed" in done.stdout + done.stderr
