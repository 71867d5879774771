"""The trace of a run whose graph is in TypeScript has its nodes, as that of a graph in Python."""

from __future__ import annotations

import uuid
from pathlib import Path

import httpx

from tests.js.host import stack
from tests.stack.server import LiveServer
from tests.tracing.collector import Collector
from tests.tracing.test_traces import Trace


def test_the_nodes_and_models_of_a_graph_in_typescript_are_in_its_trace(host_program: Path, tmp_path: Path) -> None:
    project = stack.copied_project(tmp_path / "project")
    with Collector().up() as collector:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100", "LANGLOG_WORKERS": "1"}
        with LiveServer(project / "langgraph.json", tmp_path / "server", env).up() as server:

            def wait(graph: str, given: object) -> str:
                trace_id = uuid.uuid4().hex
                headers = {"traceparent": f"00-{trace_id}-{uuid.uuid4().hex[:16]}-01"}
                body = {"assistant_id": graph, "input": given}
                httpx.post(f"{server.url}/runs/wait", json=body, headers=headers, timeout=120).raise_for_status()
                return trace_id

            chat = wait("chat", {"messages": [{"type": "human", "content": "hi"}]})
            failing = wait("failing", {"text": "s"})
            nested = wait("nested", {"pause": False})
            way = ["POST /runs/wait", "run chat", "graph chat"]
            trace = Trace(collector, chat, *way)
            nodes = [name for name in trace.spans if name.startswith("node ")]
            assert nodes and all(trace.path(name)[:4] == [*way, name] for name in nodes)
            (model,) = [name for name in trace.spans if name.startswith("model ")]
            assert trace.path(model)[:3] == way and trace.path(model)[3].startswith("node ")

            trace = Trace(collector, failing, "graph failing")
            assert [name for name in trace.spans if name.startswith("node ") and trace.spans[name].failed]
            trace = Trace(collector, nested, "POST /runs/wait", "run nested", "graph nested")
            assert trace.path("node leaf") == [
                "POST /runs/wait",
                "run nested",
                "graph nested",
                "node child",
                "node leaf",
            ]
