"""Projects in TypeScript under test: their packages are installed once into the cache, their sources copied for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

from .built import node_build
from .node_package import installed


def typescript_packages(package: Path) -> Path:
    """The node_modules that a project's lock file names; langlog's graph host is built then, too."""
    modules = installed(package) / "node_modules"
    node_build().HOST.build()
    return modules


def typescript_project(package: Path, folder: Path) -> Path:
    """A copy of a project in ``folder``, with the packages that its lock file names and langlog's graph host built."""
    modules = typescript_packages(package)
    shutil.copytree(package, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
    (folder / "node_modules").symlink_to(modules)
    return folder


def rewrite(project: Path, name: str, text: str) -> None:
    """Replace a file of the project in one step: a server that watches it would take up half of it, too."""
    draft = project.with_name(f"{project.name}-draft")
    draft.write_text(text)
    draft.replace(project / name)
