"""The official JavaScript client, and the React hook in Chromium, against graphs in TypeScript."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.clients.test_react import HERE as CLIENTS
from tests.clients.test_react import PROGRAMS, RUN_LIMIT_S
from tests.stack.node_package import missing, run_node_tests
from tests.stack.server import LiveServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(700)]


def test_the_javascript_client_drives_the_sample_graphs(server: LiveServer) -> None:
    run_node_tests(Path(__file__).parent / "client", {"LANGLOG_URL": server.url}, RUN_LIMIT_S)


def test_a_page_holds_a_conversation_with_tools_an_approval_a_subgraph_a_cancel_and_a_reload(
    server: LiveServer,
) -> None:
    chromium = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if chromium is None:
        missing("no Chromium (Debian: apt install chromium)")
    run_node_tests(CLIENTS / "js", {"LANGLOG_URL": server.url, "CHROMIUM": str(chromium)}, RUN_LIMIT_S)
