"""The React hook of the official client holds a conversation, in a headless Chromium (``js/``)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.stack.node_package import missing, run_node_tests
from tests.stack.server import LiveServer

HERE = Path(__file__).parent
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSTALL_LIMIT_S = 240
RUN_LIMIT_S = 180


@pytest.fixture(scope="module")
def chromium() -> str:
    """The browser's program; installed from the distribution's packages where that may be done (CI, as root)."""
    if (found := _found()) is None and os.geteuid() == 0 and shutil.which("apt-get") and os.environ.get("CI"):
        for command in (("apt-get", "update"), ("apt-get", "install", "-y", "--no-install-recommends", "chromium")):
            done = subprocess.run(
                [*command, "-qq"],
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                capture_output=True,
                text=True,
                timeout=INSTALL_LIMIT_S,
            )
            assert done.returncode == 0, done.stdout + done.stderr
        found = _found()
    if found is None:
        missing("no Chromium (Debian: apt install chromium)")
    assert found is not None
    return found


def _found() -> str | None:
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_a_page_holds_a_conversation_with_tools_an_approval_a_subgraph_a_cancel_and_a_reload(
    server: LiveServer, chromium: str
) -> None:
    run_node_tests(HERE / "js", {"LANGLOG_URL": server.url, "CHROMIUM": chromium}, RUN_LIMIT_S)
