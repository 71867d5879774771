"""Reproducible installs: every install of this repository uses the versions of uv.lock, which constraints.txt repeats
for pip."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKED = {
    package["name"]: package["version"]
    for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    if "version" in package and package["name"] != PROJECT["name"]
}
CONSTRAINTS = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines()]
DECLARED = [
    Requirement(text)
    for text in [*PROJECT["dependencies"], *(x for extra in PROJECT["optional-dependencies"].values() for x in extra)]
    if not text.startswith(PROJECT["name"] + "[")
]
RUNS_OTHERS = any(
    Path(metadata.distribution("pytest").locate_file("")).is_relative_to(ROOT / name)
    for name in (".venv-newest", ".venv-lowest")
)


@pytest.mark.parametrize("declared", DECLARED, ids=str)
def test_the_lock_holds_a_version_that_each_declared_dependency_allows(declared: Requirement) -> None:
    assert declared.specifier.contains(LOCKED[canonicalize_name(declared.name)], prereleases=True)


def test_the_constraints_are_the_locked_versions() -> None:
    versions = {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in CONSTRAINTS}
    assert versions == {name: version for name, version in LOCKED.items() if name in versions}
    assert versions.keys() == LOCKED.keys()


@pytest.mark.skipif(
    RUNS_OTHERS, reason="this environment holds other releases on purpose (make test-newest, make test-lowest)"
)
def test_this_environment_holds_the_locked_versions() -> None:
    drift = {
        one.name: f"installed {metadata.version(one.name)}, locked {one.specifier}"
        for one in CONSTRAINTS
        if (one.marker is None or one.marker.evaluate())
        and not one.specifier.contains(metadata.version(one.name), prereleases=True)
    }
    assert drift == {}, "run `make test`, which installs by constraints.txt"


def test_each_install_of_this_project_takes_the_constraints() -> None:
    installs = re.findall(
        r"^.*pip install .*?(?: \.| \./core| -e \.| -e '\.\[dev\]')$", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    assert installs
    assert [line for line in installs if "-c constraints.txt" not in line and ".venv-" not in line] == []
