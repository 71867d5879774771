"""The other version: a commit of this repository's history, installed from its sources into an environment of its own, once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack.cached import alone
from tests.stack.node_package import CACHE
from tests.stack.uv import ROOT, make_venv

NAMED = Path(__file__).with_name("base.txt")
LIMIT_S = 120


def git(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, timeout=LIMIT_S, check=False)


def named() -> dict[str, str]:
    """Log -> commit, as `base.txt` has them."""
    lines = [line.split() for line in NAMED.read_text().splitlines() if line and not line.startswith("#")]
    return {line[0]: line[1] for line in lines}


def base(log: str) -> str:
    """The commit of the other version: that of the last release's tag, or the one of `base.txt` while that is newer."""
    commit = named()[log]
    if shutil.which("git") is None or git("cat-file", "-e", f"{commit}^{{commit}}").returncode:
        pytest.skip(f"the commit {commit[:12]} of tests/upgrade/base.txt is not in this clone: fetch its whole history")
    tag = git("describe", "--tags", "--abbrev=0", "--match", "v*").stdout.decode().strip()
    if tag and git("merge-base", "--is-ancestor", commit, tag).returncode == 0:
        return git("rev-parse", f"{tag}^{{commit}}").stdout.decode().strip()
    return commit


def python_of(commit: str) -> Path:
    """The Python of an environment in which that commit's langlog is installed, from a wheel built of its sources."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = CACHE / f"langlog-{commit[:12]}-{version}"
    with alone("langlog-base"):
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            sources = folder / "sources"
            sources.mkdir(parents=True)
            packed = git("archive", "--format=tar", commit)
            assert packed.returncode == 0, packed.stderr.decode()
            subprocess.run(["tar", "-x", "-C", str(sources)], input=packed.stdout, timeout=LIMIT_S, check=True)
            make_venv(folder / "venv", sys.executable, "--constraints", sources / "constraints.txt", sources)
            (folder / "complete").touch()
    return folder / "venv" / "bin" / "python"


def read_model_of(python: Path | str) -> str:
    """The schema of that version's read model."""
    code = "from langlog_backbone.process.settings import Settings; print(Settings().projection)"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, timeout=LIMIT_S, check=True)
    return done.stdout.strip()
