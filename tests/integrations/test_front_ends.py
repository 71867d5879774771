"""Front ends that people put before agents, by the calls that they make: agent-chat-ui, agent-inbox, deep-agents-ui, and CopilotKit's
AG-UI client (``js/``)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stack.node_package import run_node_tests
from tests.stack.server import LiveServer

RUN_LIMIT_S = 300


@pytest.mark.timeout(500)
def test_front_ends_find_what_they_ask_for(server: LiveServer) -> None:
    run_node_tests(Path(__file__).parent / "js", {"LANGLOG_URL": server.url}, RUN_LIMIT_S)
