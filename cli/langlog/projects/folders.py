"""Local folders that a project depends on, and their paths in an image.

An image keeps the relative positions of folders, below `IN_IMAGE`: so langgraph.json, and every relative path in it, means
the same as on this machine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec
from langlog_backbone.project.config import Project
from langlog_backbone.project.node import package_folder

from .problems import Problem
from .references import references

IN_IMAGE = PurePosixPath("/project")


UNSOUND = re.compile(r"[\x00-\x1f\"'$\\\[\]*?`]")
"""Characters with a special meaning in lines of a Dockerfile; each builder reads their quotation differently."""


class LocalFolder(msgspec.Struct, frozen=True):
    path: Path
    """Absolute path."""
    place: PurePosixPath
    """Path in the image."""
    inside: bool
    """Of the build's context: the folder of langgraph.json, or of its npm workspace; another one needs a context of its own."""

    @property
    def is_package(self) -> bool:
        """Whether the folder is an installable package."""
        return any((self.path / name).is_file() for name in ("pyproject.toml", "setup.py"))

    @property
    def requirements(self) -> bool:
        return (self.path / "requirements.txt").is_file()


class Folders(msgspec.Struct, frozen=True):
    """``root``: the build's context; ``common``: what is `IN_IMAGE` there; ``local`` and ``packages``: what ``dependencies`` names."""

    root: Path
    common: Path
    local: list[LocalFolder]
    packages: list[str]

    def place(self, path: Path) -> PurePosixPath:
        return IN_IMAGE / path.relative_to(self.common).as_posix()


def is_local(project: Project, name: str) -> bool:
    """Return whether a dependency is a folder: by its spelling, or because there is one, as `Project.import_paths` has it."""
    return name == "." or name.startswith(("./", "../", "/")) or name == ".." or (project.root / name).is_dir()


def folders(project: Project, names: list[str] | None = None, *, root: Path | None = None) -> Folders:
    """``names``: in place of ``dependencies``; without any, the folder of langgraph.json. ``root``: the build's context, where that
    is a folder above it.
    """
    root = project.root if root is None else root
    names = (project.config.get("dependencies") or ["."]) if names is None else names
    names = [name for name in names if isinstance(name, str)] if isinstance(names, list) else ["."]
    paths = list(dict.fromkeys((project.root / name).resolve() for name in names if is_local(project, name)))
    above = [folder.parent for folder in project.package_folders()]  # a package keeps the name that it is imported by
    common = Path(os.path.commonpath([root, *paths, *above]))
    local = [
        LocalFolder(path, IN_IMAGE / path.relative_to(common).as_posix(), path.is_relative_to(root)) for path in paths
    ]
    return Folders(root, common, local, [name for name in names if not is_local(project, name)])


def folder_problems(project: Project) -> Iterator[Problem]:
    """Yield missing folders, and files that an image of the project would not contain."""
    whole = folders(project)
    local = whole.local
    names = project.config.get("dependencies") or ["."]
    for name in names if isinstance(names, list) else []:
        if not isinstance(name, str) or not is_local(project, name):
            continue
        path = (project.root / name).resolve()
        if not path.exists():
            yield Problem("error", "dependencies", f"the folder {name!r} does not exist ({path})")
        elif not path.is_dir():
            yield Problem("error", "dependencies", f"{name!r} is a file: name the folder that it is in")
        elif not name.startswith((".", "/")):
            yield Problem(
                "warning",
                "dependencies",
                f"{name!r} is a folder here, and a package of PyPI for other tools: write './{name}'",
            )
    for each in (whole.place(project.root), *(folder.place for folder in local)):
        if UNSOUND.search(str(each)):
            yield Problem(
                "error",
                "dependencies",
                f"the folder {str(each.relative_to(IN_IMAGE))!r} has a character in its name that no Dockerfile can hold: rename it",
            )
    for folder in local:
        secrets = [] if folder.inside else [x.name for x in folder.path.glob(".env*") if x.is_file()]
        if secrets and not (folder.path / ".dockerignore").exists():
            yield Problem(
                "warning",
                "dependencies",
                f"{folder.path} is outside of the project and has no .dockerignore, so an image would hold its "
                f"{', '.join(sorted(secrets))}: move it away, or name it in a .dockerignore there",
            )
    if not project.config.get("source"):  # with it the whole of its root is copied
        yield from _left_out(project, local)


def _left_out(project: Project, local: list[LocalFolder]) -> Iterator[Problem]:
    """Files of the project that an image would not hold."""
    for reference in references(project):
        path = (project.root / reference.source).resolve()
        if not reference.is_file or not path.is_file():
            continue
        if reference.language == "javascript" and package_folder(path.parent) is not None:
            continue  # copied with its npm packages
        if not any(path.is_relative_to(folder.path) for folder in local):
            yield Problem(
                "error",
                reference.key,
                f"{reference.source!r} is in no folder of 'dependencies', so no image would hold it: add its folder",
            )
