"""A store for nodes with a decider and a projector behind it, graph loops for the project's embedding function, and a gateway."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import ensure_embeddings
from langlog_backbone.process.settings import Settings
from langlog_backbone.project.store_index import StoreIndex
from langlog_executor.runtime.graph_loops import GraphLoops
from langlog_executor.runtime.io_loop import IoLoop
from langlog_executor.store.embeddings import Embedder
from langlog_executor.store.log_store import LogStore

from tests.checkpoints.conftest import running
from tests.gateway.conftest import MakeStack, make_stack
from tests.stack.fixtures import isolated

from .sides import Http, Nodes, Side, embed_item, embed_query
from .vectors import DIMS, embed

__all__ = ["make_stack"]

INDEX = {"embed": "vectors.py:embed", "dims": DIMS, "fields": ["text", "tags[*]"]}

MakeSide = Callable[..., contextlib.AbstractAsyncContextManager[Side]]


@pytest.fixture(params=["nodes", "http"])
def make_side(
    request: pytest.FixtureRequest, make_stack: MakeStack, tmp_path: Path, postgres: Any, redis_server: Any
) -> MakeSide:
    """A side of a project with ``store.index`` and the ``store.ttl`` of the test."""

    @contextlib.asynccontextmanager
    async def nodes(ttl: dict[str, Any] | None = None) -> AsyncIterator[Side]:
        settings: Settings = isolated(None, tmp_path, {"database_uri": postgres.uri, "redis_uri": redis_server.uri})
        async with running(settings) as backbone:
            io = IoLoop(backbone)
            loops = GraphLoops(io, threads=8)
            index = StoreIndex(**INDEX)  # type: ignore[arg-type]
            store = LogStore(io, ttl=ttl, embedder=Embedder(ensure_embeddings(embed), index, loops, 60.0))  # type: ignore[arg-type]
            try:
                yield Nodes(backbone, store)
            finally:
                await store.stop()
                loops.stop()

    @contextlib.asynccontextmanager
    async def http(ttl: dict[str, Any] | None = None) -> AsyncIterator[Side]:
        project = tmp_path / "langgraph.json"
        config = {"graphs": {"echo": "./echo.py:graph"}, "store": {"index": INDEX, "ttl": ttl}}
        project.write_text(json.dumps(config))
        async with make_stack(project=project, reply_timeout_s=60.0) as stack:
            stack.answers = {"embed_item": embed_item, "embed_query": embed_query}
            yield Http(stack)

    return nodes if request.param == "nodes" else http


@pytest.fixture
async def side(make_side: MakeSide) -> AsyncIterator[Side]:
    async with make_side() as made:
        yield made
