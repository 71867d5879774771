"""Projects in TypeScript, as tests run them: npm's packages are installed once, the sources are copied for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.server import LiveServer
from tests.stack.typescript import typescript_project

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The langgraph.json of the sample graphs, in a copy with its packages."""
    return typescript_project(HERE / "project", tmp_path_factory.mktemp("samples")) / "langgraph.json"


@pytest.fixture(scope="module")
def server(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """`langlog dev` on the sample graphs."""
    with LiveServer(samples, tmp_path_factory.mktemp("js-server")).up() as live:
        yield live
