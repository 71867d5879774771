"""The official JavaScript client against the same server, by node's own test runner (``js/``)."""

from __future__ import annotations

from pathlib import Path

from tests.stack.node_package import run_node_tests
from tests.stack.server import LiveServer

RUN_LIMIT_S = 300


def test_every_method_of_the_javascript_client_does_what_it_is_for(server: LiveServer) -> None:
    run_node_tests(Path(__file__).parent / "js", {"LANGLOG_URL": server.url}, RUN_LIMIT_S)
