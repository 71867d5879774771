"""One server for all clients of the event-streaming protocol: the Python SDK, asynchronous and not, and React in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.server import LiveServer

PROJECT = Path(__file__).parent / "project" / "langgraph.json"


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(PROJECT, tmp_path_factory.mktemp("clients")).up() as live:
        yield live
