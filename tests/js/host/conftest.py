"""The built host, and this folder's project with what its lock file names."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.js.host import stack
from tests.stack.node_package import missing, node_missing


@pytest.fixture(scope="session")
def host_program() -> Path:
    """The host's program, built from its sources as they are."""
    if (reason := node_missing()) is not None:
        missing(reason)
    return stack.built_host()


@pytest.fixture
def project(tmp_path: Path, host_program: Path) -> Path:
    """A copy of the project, whose packages are those of the cache."""
    return stack.copied_project(tmp_path / "project")


@pytest.fixture
def write_project(tmp_path: Path, host_program: Path) -> Callable[[dict[str, str]], Path]:
    """A project with these files alone, and the same packages."""

    def write(files: dict[str, str]) -> Path:
        folder = tmp_path / "written"
        shutil.rmtree(folder, ignore_errors=True)
        stack.with_packages(folder)
        for name, text in files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return folder

    return write
