"""One server for all tests of this folder: libraries and services that projects use beside LangGraph itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.integrations.langsmith import LangSmith
from tests.stack.server import LiveServer
from tests.tracing.collector import Collector

DEFAULTS = {
    "configured": {
        "context": {"tone": "calm"},
        "tags": ["t"],
        "recursion_limit": 7,
        "run_name": "r",
        "max_concurrency": 2,
    }
}
"""Config of the default assistant of one graph (LANGGRAPH_CONFIG)."""
PROJECT = Path(__file__).parent / "project" / "langgraph.json"


@pytest.fixture(scope="package")
def langsmith() -> Iterator[LangSmith]:
    with LangSmith().up() as opened:
        yield opened


@pytest.fixture(scope="package")
def collector() -> Iterator[Collector]:
    with Collector().up() as opened:
        yield opened


@pytest.fixture(scope="package")
def server(
    langsmith: LangSmith, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveServer]:
    env = {"LANGSMITH_TRACING": "true", "LANGSMITH_ENDPOINT": langsmith.url, "LANGSMITH_API_KEY": "the-key"}
    env |= {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "500"}
    env["LANGGRAPH_CONFIG"] = json.dumps(DEFAULTS)
    with LiveServer(PROJECT, tmp_path_factory.mktemp("integrations"), env).up() as live:
        yield live


@pytest.fixture
async def client(server: LiveServer) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=server.url, api_key=None) as opened:
        yield opened
