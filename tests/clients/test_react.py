"""The React hook of the official client holds a conversation, in a headless Chromium (``js/``)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.stack.node_package import missing, run_node_tests
from tests.stack.server import LiveServer

HERE = Path(__file__).parent
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
RUN_LIMIT_S = 400


@pytest.fixture(scope="module")
def chromium() -> str:
    """The browser's program."""
    if (result := next((path for name in PROGRAMS if (path := shutil.which(name))), None)) is None:
        missing("no Chromium (Debian: apt install chromium)")
    assert result is not None
    return result


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_a_page_holds_a_conversation_with_tools_an_approval_a_subgraph_a_cancel_and_a_reload(
    server: LiveServer, chromium: str
) -> None:
    run_node_tests(HERE / "js", {"LANGLOG_URL": server.url, "CHROMIUM": chromium}, RUN_LIMIT_S)
