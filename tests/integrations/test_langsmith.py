"""Runs arrive in LangSmith as its client sends them, in the caller's project, under the caller's own trace."""

from __future__ import annotations

import json
import urllib.parse
import uuid
from typing import Any

import langsmith as ls
import pytest
from langgraph.pregel.remote import RemoteGraph
from langgraph_sdk.client import LangGraphClient

from tests.integrations.langsmith import LangSmith
from tests.stack.server import LiveServer
from tests.tracing.collector import Collector

ORDER = "20260101T000000000001Z01990000-0000-7000-8000-000000000001"
INNER = f"{ORDER}.20260101T000000000002Z01990000-0000-7000-8000-000000000002"


def baggage(**members: Any) -> str:
    return ",".join(f"langsmith-{name}={urllib.parse.quote(value)}" for name, value in members.items())


async def test_a_run_arrives_with_its_nodes_and_says_whose_it_is(client: LangGraphClient, langsmith: LangSmith) -> None:
    thread = await client.threads.create()
    run = await client.runs.create(thread["thread_id"], "traced", input={"text": "a"}, metadata={"mine": "yes"})
    await client.runs.join(thread["thread_id"], run["run_id"])
    result = langsmith.trace(run["run_id"], "traced", "think", "GenericFakeChatModel", "own function")
    top, node = result["traced"], result["think"]
    assert (top["id"], top["session_name"], top["run_type"]) == (run["run_id"], "the-projects-own", "chain")
    assert top.get("parent_run_id") is None
    assert node["parent_run_id"] == top["id"]
    assert result["GenericFakeChatModel"]["parent_run_id"] == node["id"]
    assert result["own function"]["parent_run_id"] == node["id"]
    assert (top["inputs"], top["outputs"]["text"]) == ({"text": "a"}, "THOUGHT")
    about = top["extra"]["metadata"]
    assert (about["thread_id"], about["run_id"], about["graph_id"]) == (thread["thread_id"], run["run_id"], "traced")
    assert (about["mine"], about["assistant_id"]) == ("yes", run["assistant_id"])
    assert langsmith.keys == {"the-key"}


async def test_opentelemetry_gets_its_spans_of_the_same_run(
    client: LangGraphClient, langsmith: LangSmith, collector: Collector
) -> None:
    trace_id = uuid.uuid4().hex
    headers = {"traceparent": f"00-{trace_id}-{uuid.uuid4().hex[:16]}-01"}
    thread = await client.threads.create()
    run = await client.runs.create(thread["thread_id"], "traced", input={"text": "a"}, headers=headers)
    await client.runs.join(thread["thread_id"], run["run_id"])
    assert "think" in langsmith.trace(run["run_id"], "think")
    wanted = {"graph traced", "node think"}
    result = collector.wait(lambda spans: wanted <= {span.name for span in spans if span.trace_id == trace_id})
    assert len([span for span in result if span.trace_id == trace_id and span.name == "node think"]) == 1


async def test_an_error_of_a_node_arrives(client: LangGraphClient, langsmith: LangSmith) -> None:
    thread = await client.threads.create()
    run = await client.runs.create(thread["thread_id"], "traced", input={"text": "break"})
    await client.runs.join(thread["thread_id"], run["run_id"])
    result = langsmith.trace(run["run_id"], "traced", "think")
    assert "thinking failed" in result["think"]["error"]


@pytest.mark.parametrize("graph", ["traced", "opted_in"])
async def test_a_run_is_a_child_of_its_callers_run(graph: str, client: LangGraphClient, langsmith: LangSmith) -> None:
    headers = {
        "langsmith-trace": INNER,
        "baggage": "other=1," + baggage(project="callers", metadata=json.dumps({"team": "blue"}), tags="a,b"),
    }
    thread = await client.threads.create()
    run = await client.runs.create(thread["thread_id"], graph, input={"text": "a"}, headers=headers)
    values = await client.runs.join(thread["thread_id"], run["run_id"])
    seen = {"langsmith-trace": INNER, "langsmith-project": "callers", "langsmith-metadata": {"team": "blue"}}
    assert values["seen"] == seen, "langsmith-tags is excluded by the project"
    result = langsmith.trace(run["run_id"], graph, "think")
    top = result[graph]
    assert (top["parent_run_id"], top["trace_id"]) == (INNER[-36:], ORDER[-36:])
    assert top["dotted_order"].startswith(INNER + ".")
    assert {one["session_name"] for name, one in result.items() if name != "own function"} == {"callers"}
    assert top["extra"]["metadata"]["team"] == "blue"


async def test_langgraphs_remote_graph_goes_on_with_its_trace(
    server: LiveServer, langsmith: LangSmith, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As LangSmith documents it: the client opts in by ``distributed_tracing``."""
    client = ls.Client(api_url=langsmith.url, api_key="the-key")
    remote = RemoteGraph("traced", url=server.url, distributed_tracing=True)
    with ls.tracing_context(enabled=True, client=client):
        with ls.trace("caller", client=client) as caller:
            values = await remote.ainvoke({"text": "a"})
    assert values["seen"]["langsmith-trace"].startswith(str(caller.dotted_order))
    result = langsmith.wait(
        lambda runs: any(r["name"] == "think" and r["trace_id"] == str(caller.id) for r in runs.values())
    )
    assert str(caller.id) in {run["trace_id"] for run in result.values()}
    client.cleanup() if hasattr(client, "cleanup") else None


@pytest.mark.parametrize(
    "headers",
    [
        {"langsmith-trace": "nonsense", "baggage": "nonsense"},
        {"langsmith-trace": "x" * 5_000, "baggage": "langsmith-metadata=[1],langsmith-metadata=%7B,langsmith-project="},
        {"langsmith-trace": ORDER + ".", "baggage": "a=b;c=d, ,=,langsmith-metadata=" + "%7B" * 1_000},
    ],
)
async def test_headers_of_no_trace_change_nothing(headers: dict[str, str], client: LangGraphClient) -> None:
    values = await client.runs.wait(None, "traced", input={"text": "a"}, headers=headers)
    assert values["seen"] == {}


async def test_a_caller_files_its_run_under_a_project_and_an_example(
    client: LangGraphClient, langsmith: LangSmith
) -> None:
    example = str(uuid.uuid4())
    thread = await client.threads.create()
    run = await client.runs.create(
        thread["thread_id"],
        "traced",
        input={"text": "a"},
        langsmith_tracing={"project_name": "experiments", "example_id": example},
    )
    await client.runs.join(thread["thread_id"], run["run_id"])
    result = langsmith.trace(run["run_id"], "traced", "think", "own function")
    assert {one["session_name"] for one in result.values()} == {"experiments"}
    assert result["traced"]["reference_example_id"] == example
    assert (await client.runs.get(thread["thread_id"], run["run_id"]))["kwargs"]["langsmith_tracer"] == {
        "project_name": "experiments",
        "example_id": example,
    }


async def test_a_header_that_is_for_the_graph_alone_does_not_go_to_langsmith(
    client: LangGraphClient, langsmith: LangSmith
) -> None:
    thread = await client.threads.create()
    run = await client.runs.create(
        thread["thread_id"], "traced", input={"text": "a"}, headers={"x-tenant": "secret-of-a-tenant"}
    )
    assert (await client.runs.join(thread["thread_id"], run["run_id"]))["seen"] == {"x-tenant": "secret-of-a-tenant"}
    result = langsmith.trace(run["run_id"], "traced", "think", "GenericFakeChatModel")
    for one in result.values():
        assert "secret-of-a-tenant" not in json.dumps(one["extra"]), one["name"]


async def test_feedback_urls_come_last(client: LangGraphClient, langsmith: LangSmith) -> None:
    parts = [p async for p in client.runs.stream(None, "traced", input={"text": "a"}, feedback_keys=["good", "funny"])]
    assert parts[-1].event == "feedback"
    assert parts[-1].data == {"good": f"{langsmith.url}/f/good", "funny": f"{langsmith.url}/f/funny"}


async def test_the_server_says_that_it_traces(client: LangGraphClient) -> None:
    info = await client.http.get("/info")
    assert info["flags"]["langsmith"] is True
