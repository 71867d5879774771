"""JavaScript under test: a package folder with its lock file, installed once by npm into a cache, run by node's test runner.

Workers of a parallel run install and run the same package at once: one installs while the others wait, and a file of the package that
is already there is left alone, because another worker may be reading it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.stack.cached import CACHE, alone

INSTALL_LIMIT_S = 180
OLDEST_NODE = 20


def run_node_tests(package: Path, env: Mapping[str, str], limit_s: float) -> None:
    """Run the ``*.test.js`` of ``package``; fails with what they print."""
    done = subprocess.run(
        ["node", "--test", "--test-concurrency=1"],
        cwd=installed(package),
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=limit_s,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def installed(package: Path) -> Path:
    """A folder with the package's files and what its lock file names; skips where there is no node (in CI that is a failure)."""
    if (reason := node_missing()) is not None:
        missing(reason)
    lock = (package / "package-lock.json").read_bytes()
    folder = CACHE / f"{package.parent.name}-{hashlib.sha256(lock).hexdigest()[:12]}"
    with alone(folder.name):
        if not (folder / "node_modules" / ".package-lock.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(package / name, folder)
            command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_LIMIT_S)
            assert done.returncode == 0, done.stdout + done.stderr
        for file in package.glob("*.js*"):
            if file.suffix != ".json":
                _refresh(file, folder / file.name)
    return folder


def _refresh(source: Path, copy: Path) -> None:
    """Replace a copy that differs, in one step: nobody reads half of it."""
    if copy.is_file() and copy.read_bytes() == source.read_bytes():
        return
    draft = copy.with_name(f".{copy.name}.{os.getpid()}")
    shutil.copy(source, draft)
    draft.replace(copy)


def node_missing() -> str | None:
    """Why there is no JavaScript here."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "node and npm are not installed"
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        return f"node {version} is older than {OLDEST_NODE}"
    return None


def missing(reason: str) -> None:
    """A test that cannot run for lack of a component: skipped on a laptop, failed in CI."""
    if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
