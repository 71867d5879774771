"""uv, from its wheel: resolves for other machines, and makes environments of other releases in seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack.node_package import missing

ROOT = Path(__file__).parents[2]
LIMIT_S = 300
OFFLINE = ("error sending request", "dns error", "Could not connect", "Failed to fetch", "client error")


def uv(*words: str | Path, **env: str) -> str:
    """Return uv's output, of both channels. Fails with it; without a network the test is skipped, except in CI."""
    done = subprocess.run(
        [Path(sys.executable).with_name("uv"), *words],
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1", "UV_PYTHON_DOWNLOADS": "never", **env},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    if done.returncode and any(sign in done.stderr for sign in OFFLINE):
        missing(f"uv does not reach a package index: {done.stderr.strip()}")
    if done.returncode:
        pytest.fail(f"uv {' '.join(map(str, words))}\n{done.stdout}{done.stderr}", pytrace=False)
    return done.stdout + done.stderr


def make_venv(folder: Path, python: str | Path, *packages: str | Path) -> Path:
    """The Python of a new environment of that Python with the packages; uv's options may be among them."""
    uv("venv", "--quiet", "--clear", "--python", python, folder)
    made = folder / "bin" / "python"
    uv("pip", "install", "--quiet", "--python", made, *packages)
    return made


def versions(python: Path) -> dict[str, str]:
    """Distribution -> version, of the environment of that Python."""
    listed = json.loads(uv("pip", "list", "--quiet", "--format", "json", "--python", python))
    return {one["name"]: one["version"] for one in listed}
