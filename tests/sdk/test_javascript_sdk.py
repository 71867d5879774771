"""The official JavaScript client against the same server, by node's own test runner (``js/``)."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.stack.server import LiveServer

PACKAGE = Path(__file__).parent / "js"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "langlog"
INSTALL_LIMIT_S = 120
RUN_LIMIT_S = 120
OLDEST_NODE = 20


def test_every_method_of_the_javascript_client_does_what_it_is_for(server: LiveServer) -> None:
    folder = installed()
    for test in PACKAGE.glob("*.test.js"):
        shutil.copy(test, folder)
    done = subprocess.run(
        ["node", "--test", "--test-concurrency=1"],
        cwd=folder,
        env={**os.environ, "LANGLOG_URL": server.url},
        capture_output=True,
        text=True,
        timeout=RUN_LIMIT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def installed() -> Path:
    """A folder with the client as locked, made once; skips where there is no node (in CI that is a failure)."""
    if (reason := missing()) is not None:
        if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    lock = (PACKAGE / "package-lock.json").read_bytes()
    folder = CACHE / f"javascript-sdk-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not (folder / "node_modules" / ".package-lock.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PACKAGE / name, folder)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_LIMIT_S)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def missing() -> str | None:
    """Why the client cannot run here."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "node and npm are not installed"
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        return f"node {version} is too old: {OLDEST_NODE} or newer is needed"
    return None
