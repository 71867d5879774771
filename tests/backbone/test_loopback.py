"""Target of a client without an address in a graph (`langlog_backbone.project.loopback`)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from langgraph_sdk import get_client
from langlog_backbone.project.loopback import Loopback
from langlog_backbone.values.tracing_headers import is_tracing_header
from opentelemetry import baggage, trace
from structlog.testing import capture_logs

Handler = Callable[[web.Request], Awaitable[web.Response]]


async def echo(request: web.Request) -> web.Response:
    return web.json_response([request.method, request.host, request.raw_path, await request.text()])


@asynccontextmanager
async def listening(answer: Handler = echo) -> AsyncIterator[str]:
    """Serve a server that returns its requests, or what ``answer`` returns."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def client(way: Loopback) -> httpx.AsyncClient:
    """Return a client as the SDK creates it."""
    return httpx.AsyncClient(base_url="http://api", transport=way)


async def test_requests_go_to_the_server_as_they_are_under_its_prefix() -> None:
    async with listening() as url, client(Loopback(url, "/api")) as asking:
        answer = await asking.post("/threads/a%2Fb?x=1%202", json={"k": 1})
        host = url.removeprefix("http://")
        assert answer.json() == ["POST", host, "/api/threads/a%2Fb?x=1%202", '{"k":1}']


async def test_one_client_serves_several_event_loops_and_outlives_one_that_was_closed() -> None:
    async with listening() as url:
        way = Loopback(url)
        asking = client(way)
        async with client(way) as closed:
            await closed.get("/first")
        collected: list[Any] = []

        def elsewhere() -> None:
            collected.append(asyncio.run(asking.get("/there")).json()[2])

        for _ in range(2):
            thread = threading.Thread(target=elsewhere)
            thread.start()
            await asyncio.to_thread(thread.join)
            collected.append((await asking.get("/here")).json()[2])
        assert collected == ["/there", "/here"] * 2


async def test_without_an_address_the_error_names_the_setting() -> None:
    async with client(Loopback("")) as asking:
        with pytest.raises(httpx.ConnectError, match="LANGLOG_BASE_URL"):
            await asking.get("/ok")


OTHER_SERVER = """
import sys
from langlog_backbone.project.loopback import import_sdk, open_loopback

{prepare}
import langgraph_sdk
import langgraph_sdk.cache

langgraph_sdk.get_client()
assert "langgraph_api" not in sys.modules
try:
    import langgraph_api
except RuntimeError as error:
    print(error)
"""


@pytest.mark.parametrize(
    "prepare", ["open_loopback('', '')", "import_sdk('langgraph_sdk.cache'); open_loopback('', '')"]
)
def test_langgraphs_own_server_is_not_imported_where_it_is_installed(prepare: str, tmp_path: Path) -> None:
    """``langgraph-cli[inmem]`` installs it: it configures the process that imports it, and raises without its own settings."""
    (tmp_path / "langgraph_api").mkdir()
    (tmp_path / "langgraph_api" / "__init__.py").write_text("raise RuntimeError('the other server')")
    command = [sys.executable, "-c", OTHER_SERVER.format(prepare=prepare)]
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "the other server"  # to the project's code it is there


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_request_says_that_it_is_authenticated_like_any_other(status: int) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.json_response({"detail": "no"}, status=status)

    async with listening(refuse) as url, client(Loopback(url)) as asking:
        with capture_logs() as logs:
            for _ in range(2):
                assert (await asking.get("/threads")).status_code == status
    (line,) = [x for x in logs if x["event"] == "loopback.refused"]
    assert line["log_level"] == "warning"
    assert "headers" in line["hint"]


PROOF = {"x-proof": "p"}


SPAN = trace.SpanContext(
    trace_id=0xA3CE929D0E0E47364BF92F3577B34DA6,
    span_id=0xF067AA0BA902B7,
    is_remote=False,
    trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
    trace_state=trace.TraceState([("vendor", "1")]),
)
INSTRUMENTED = {
    "W3C": {"traceparent": "00-a3ce929d0e0e47364bf92f3577b34da6-00f067aa0ba902b7-01", "tracestate": "v=1"},
    "LangSmith": {"langsmith-trace": "t", "baggage": "langsmith-metadata=1"},
    "Sentry": {"sentry-trace": "a3ce929d0e0e47364bf92f3577b34da6-00f067aa0ba902b7-1", "baggage": "sentry-release=1"},
    "B3 in one": {"b3": "a3ce929d0e0e47364bf92f3577b34da6-00f067aa0ba902b7-1-05e3ac9a4f6e3b90"},
    "B3": {"X-B3-TraceId": "1", "X-B3-SpanId": "2", "X-B3-ParentSpanId": "3", "X-B3-Sampled": "1", "X-B3-Flags": "1"},
    "Datadog": {
        "x-datadog-trace-id": "1",
        "x-datadog-parent-id": "2",
        "x-datadog-sampling-priority": "1",
        "x-datadog-origin": "synthetics",
        "x-datadog-tags": "_dd.p.dm=-1",
        "ot-baggage-user": "1",
    },
    "New Relic": {"newrelic": "e30=", "X-NewRelic-ID": "1", "X-NewRelic-Transaction": "t"},
    "X-Ray": {"X-Amzn-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"},
    "Cloud Trace": {"X-Cloud-Trace-Context": "a3ce929d0e0e47364bf92f3577b34da6/1;o=1"},
    "Jaeger": {"uber-trace-id": "1:2:0:1", "uberctx-member": "1"},
    "OpenTracing": {"ot-tracer-traceid": "1", "ot-tracer-spanid": "2", "ot-tracer-sampled": "true"},
    "Envoy": {"x-request-id": "1", "x-ot-span-context": "2"},
    "Elastic": {"elastic-apm-traceparent": "00-a3ce929d0e0e47364bf92f3577b34da6-00f067aa0ba902b7-01"},
    "SkyWalking": {"sw8": "1", "sw8-correlation": "", "sw8-x": "0"},
    "Azure": {"Request-Id": "|1.2.", "Request-Context": "appId=1", "Correlation-Context": "a=1"},
    "Instana": {"X-INSTANA-T": "1", "X-INSTANA-S": "2", "X-INSTANA-L": "1"},
    "others": {"x-dynatrace": "1", "x-honeycomb-trace": "1", "singularityheader": "1"},
}
"""By tool: what its instrumentation of an HTTP client adds."""


async def proved(request: web.Request) -> web.Response:
    """Tell whether the request has the proof; ``/elsewhere`` redirects to another host, ``/here`` to this one."""
    if request.path == "/elsewhere":
        return web.Response(status=307, headers={"location": "http://other.example/threads"})
    if request.path == "/here":
        return web.Response(status=307, headers={"location": "/threads"})
    return web.json_response("x-proof" in request.headers)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, True),
        ({"x-api-key": "of the variable"}, True),
        ({"langsmith-trace": "t", "baggage": "b", "traceparent": "p", "tracestate": "s", "last-event-id": "1"}, True),
        ({"x-api-key": "another"}, False),
        ({"authorization": "a"}, False),
        ({"authorization": ""}, False),
        ({"cookie": "c=1"}, False),
        ({"x-tenant": "t"}, False),
        ({"x-langlog-loopback": "forged"}, False),
        ({"x-datadog": "no header of tracing"}, False),
        ({"sentry-trace": "t", "baggage": "b", "authorization": "a"}, False),
    ],
)
async def test_a_request_without_headers_of_its_own_proves_where_it_comes_from(
    headers: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LANGGRAPH_API_KEY", raising=False)
    monkeypatch.setenv("LANGSMITH_API_KEY", ' "of the variable" ')
    async with listening(proved) as url, client(Loopback(url, proof=lambda: PROOF)) as asking:
        answer = await asking.post("/threads", json={}, headers=headers)
        assert answer.json() is expected
        assert "x-proof" not in answer.request.headers


@pytest.mark.parametrize("headers", INSTRUMENTED.values(), ids=list(INSTRUMENTED))
async def test_headers_that_tracing_adds_are_none_of_the_callers_own(headers: dict[str, str]) -> None:
    async def instrument(request: httpx.Request) -> None:
        request.headers.update(headers)

    async with listening(proved) as url, client(Loopback(url, proof=lambda: PROOF)) as asking:
        asking.event_hooks["request"].append(instrument)
        assert (await asking.post("/threads", json={})).json() is True


def test_the_propagators_that_are_installed_add_no_header_of_another_name() -> None:
    """OpenTelemetry's own, and whichever others this environment has."""
    found = list(metadata.entry_points(group="opentelemetry_propagator"))
    assert {"tracecontext", "baggage"} <= {each.name for each in found}
    within = baggage.set_baggage("member", "value", trace.set_span_in_context(trace.NonRecordingSpan(SPAN)))
    for each in found:
        propagator = each.load()()
        carrier: dict[str, str] = {}
        propagator.inject(carrier, within)
        assert carrier, each.name
        names = {name.lower() for name in (*carrier, *propagator.fields)}
        assert {name for name in names if not is_tracing_header(name)} == set(), each.name


async def test_what_the_sdk_sends_by_itself_proves_where_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGCHAIN_API_KEY", "key")
    seen: list[bool] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append("x-proof" in request.headers)
        if request.headers.get("accept") == "text/event-stream":
            return web.Response(text="event: end\ndata: null\n\n", content_type="text/event-stream")
        return web.json_response([])

    async with listening(answer) as url:
        way = Loopback(url, proof=lambda: PROOF)
        for headers in (None, {"authorization": "a"}):
            sdk = get_client(url="http://api", headers=headers)
            await sdk.http.client.aclose()
            sdk.http.client = made = httpx.AsyncClient(
                base_url="http://api", transport=way, headers=sdk.http.client.headers
            )
            await sdk.threads.search()
            await sdk.threads.get("t")
            await sdk.threads.delete("t")
            await sdk.store.put_item(["a"], "k", {})
            async for _ in sdk.runs.stream(None, "a", input={}):
                pass
            async for _ in sdk.runs.join_stream("t", "r", last_event_id="1"):
                pass
            await made.aclose()
    assert seen == [True] * 6 + [False] * 6


async def test_a_proof_that_is_known_late_is_sent_from_then_on() -> None:
    proof: dict[str, str] = {}
    async with listening(proved) as url, client(Loopback(url, proof=lambda: proof)) as asking:
        assert (await asking.get("/threads")).json() is False
        proof.update(PROOF)
        assert (await asking.get("/threads")).json() is True


async def test_a_redirect_to_another_host_does_not_carry_the_proof() -> None:
    async with listening(proved) as url:
        way = Loopback(url, proof=lambda: PROOF)
        async with httpx.AsyncClient(base_url="http://api", transport=way, follow_redirects=True) as asking:
            assert (await asking.get("/here")).json() is True
            assert (await asking.get("/elsewhere")).json() is False


async def test_while_a_caller_is_authenticated_only_what_is_proved_is_sent() -> None:
    closed: ContextVar[bool] = ContextVar("closed", default=False)
    closed.set(True)
    async with listening(proved) as url:
        async with client(Loopback(url, proof=lambda: PROOF, closed=closed)) as asking:
            assert (await asking.get("/threads")).json() is True
            with pytest.raises(httpx.ConnectError, match="without end"):
                await asking.get("/threads", headers={"authorization": "a"})
        async with client(Loopback(url, closed=closed)) as asking:
            with pytest.raises(httpx.ConnectError, match="without end"):
                await asking.get("/threads")
