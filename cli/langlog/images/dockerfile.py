"""The Dockerfile of a project: pure, from a checked langgraph.json to text.

Layers are ordered by how rarely they change: base, ``dockerfile_lines``, packages, requirements of the local folders, the folders
themselves. Base images are langlog's (``Dockerfile``, target ``server``) or built from it: they hold uv, ``/api/constraints.txt`` and the
user that the finished image runs as.

Folders keep their relative positions (`projects.folders`), so the image reads langgraph.json itself, by LANGLOG_PROJECT.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
from langlog_backbone.project.config import Project
from langlog_backbone.project.node import component_sources, javascript_sources

from ..projects.folders import IN_IMAGE, Folders, LocalFolder, folders
from ..projects.image_keys import DEFAULT_NODE, ImageKeys, image_keys
from .node_packages import NodePackages, install_node, install_packages, node_packages, remove_npm

CONSTRAINTS = "/api/constraints.txt"
"""Constraints for packages of a project: the ranges of versions that langlog supports."""
USER = "10001:10001"
"""The user ``langlog`` of the base image, as a number: Kubernetes' ``runAsNonRoot`` checks numbers alone."""
PIP_CONFIG = "/run/pip.conf"
LOCKED = ".langlog-locked.txt"
"""File of locked requirements beside pyproject.toml, where paths of members start."""
IGNORED = (
    "**/.env",
    "**/.env.*",
    "**/.git",
    "**/.langlog",
    "**/.venv",
    "**/__pycache__",
    "**/.mypy_cache",
    "**/.pytest_cache",
    "**/.ruff_cache",
    "**/*.log",
    "**/node_modules",
)
"""Patterns that an image of a project without a .dockerignore leaves out: secrets, data of `langlog dev`, and generated files."""


class Recipe(msgspec.Struct, frozen=True):
    """Input of an image builder."""

    dockerfile: str
    context: Path
    """Folder of the build context."""
    contexts: dict[str, Path]
    """Further contexts, by their names in the Dockerfile (``--build-context``)."""
    ignored: tuple[str, ...] = IGNORED
    """Patterns of files that are not copied, for a context without a .dockerignore."""


def recipe(project: Project, *, base_image: str | None = None) -> Recipe:
    """Return the recipe of a project. ``base_image`` takes precedence over the key. Raises msgspec.ValidationError for keys
    that `projects.check` refuses."""
    keys = image_keys(project.config)
    if keys.source is not None:
        return _locked(project, keys, base_image)
    node = node_packages(project)
    root = _common(project.root, node)
    local = folders(project, root=root)
    contexts = _contexts(local)
    install = _install(keys, project.root.relative_to(root))
    steps = [
        *_begin(keys, base_image, _node_version(project, keys), install),
        *_packages(install, local),
        *_requirements(keys, install, local, contexts),
        *([] if node is None else _before_copies(node, local)),
        *_copies(project, local, contexts, node),
        *([] if node is None else _after_copies(node, local)),
        *_installs(install, local),
        *_end(project, keys, local.place(project.root)),
    ]
    named = {name: path for path, name in contexts.items()}
    return Recipe("\n".join(steps) + "\n", root, named, _ignored(project, root))


def _node_version(project: Project, keys: ImageKeys) -> str | None:
    """The Node of the image; None for a project that needs none and names none."""
    return keys.node_version or (DEFAULT_NODE if javascript_sources(project) or component_sources(project) else None)


def _common(root: Path, node: NodePackages | None) -> Path:
    """The folder that is copied from: that of langgraph.json, or of the workspace of npm packages that it is in."""
    return node.root if node is not None and root.is_relative_to(node.root) else root


def _ignored(project: Project, context: Path) -> tuple[str, ...]:
    """Return `IGNORED`, and the dotenv file of ``env``."""
    env = project.config.get("env")
    file = Path(os.path.normpath(project.root / env)) if isinstance(env, str) else context
    if not file.is_file() or not file.is_relative_to(context):
        return IGNORED
    escaped = re.sub(r"([\\*?\[\]])", r"\\\1", file.relative_to(context).as_posix())
    return (*IGNORED, escaped)


def _begin(keys: ImageKeys, base_image: str | None, node: str | None, install: str) -> Iterator[str]:
    yield f"FROM {keys.base(base_image)}"
    yield "USER root"
    if node is not None:
        yield from install_node(install, node)
    if keys.dockerfile_lines:
        yield ""
        yield from keys.dockerfile_lines


def _end(project: Project, keys: ImageKeys, place: PurePosixPath) -> Iterator[str]:
    yield ""
    yield f"ENV LANGLOG_PROJECT={_quoted(place / project.file.name)}"
    yield f"WORKDIR {place}"
    if removed := keys.removed_tools:
        yield "# What installs packages is of no use to a server, and of some to an intruder."
        npm = f"{remove_npm()} && " if _node_version(project, keys) else ""
        yield f"RUN {npm}{_removal(removed)}"
    yield f"USER {USER}"


def _removal(tools: tuple[str, ...]) -> str:
    """Return the command that removes tools with pip, which can remove itself; uv is removed with it."""
    command = f"python -m pip uninstall --yes --quiet --root-user-action ignore {' '.join(tools)}"
    return f"{command} && rm -f /usr/bin/uv /usr/bin/uvx" if "pip" in tools else command


def _install(keys: ImageKeys, project: Path) -> str:
    """The command, up to what is to be installed; as an argument of RUN. ``project``: its folder in that which is copied from."""
    if keys.installer == "uv":
        command = f"uv pip install --system --no-cache -c {CONSTRAINTS}"
    else:
        command = f"python -m pip install --no-cache-dir --root-user-action ignore -c {CONSTRAINTS}"
    if keys.pip_config_file is None:
        return command
    source = PurePosixPath((project / keys.pip_config_file).as_posix())
    return f"--mount=type=bind,source={source},target={PIP_CONFIG} PIP_CONFIG_FILE={PIP_CONFIG} {command}"


def _packages(install: str, local: Folders) -> Iterator[str]:
    if local.packages:
        yield ""
        yield "# Packages of the project"
        yield f"RUN {install} {shlex.join(local.packages)}"


def _contexts(local: Folders) -> dict[Path, str]:
    """Return a name for each folder outside of the build context."""
    names: dict[Path, str] = {}
    for folder in local.local:
        if not folder.inside:
            name = re.sub(r"[^a-z0-9]+", "-", folder.path.name.lower()).strip("-") or "folder"
            taken = set(names.values())
            unique = (
                name if name not in taken else next(f"{name}-{i}" for i in range(2, 999) if f"{name}-{i}" not in taken)
            )
            names[folder.path] = unique
    return names


def _copy(source: str, place: PurePosixPath, context: str | None) -> str:
    """Return the COPY instruction; in array form if a name contains a space, or looks like an option."""
    origin = "" if context is None else f"--from={context} "
    if source.startswith("-") or any(c.isspace() for c in f"{source}{place}"):
        return f"COPY {origin}{json.dumps([source, str(place)])}"
    return f"COPY {origin}{source} {place}"


def _source(root: Path, folder: LocalFolder, contexts: dict[Path, str], name: str = "") -> str:
    """Return the path of a folder, or a file in it, relative to its build context."""
    if folder.path in contexts:
        return name or "."
    return (PurePosixPath(folder.path.relative_to(root).as_posix()) / name).as_posix()


def _requirements(keys: ImageKeys, install: str, local: Folders, contexts: dict[Path, str]) -> Iterator[str]:
    """Yield the installation of the folders' requirements, before the folders: a change of code does not repeat it."""
    copies: list[str] = []
    needed: list[str] = []
    for folder in local.local:
        names = ["requirements.txt"] if folder.requirements else []
        if keys.installer == "uv" and has_static_dependencies(folder.path / "pyproject.toml"):
            names.append("pyproject.toml")
        for name in names:
            copies.append(
                _copy(_source(local.root, folder, contexts, name), folder.place / name, contexts.get(folder.path))
            )
            needed.append(f"-r {_quoted(folder.place / name)}")
    if needed:
        yield ""
        yield "# What its folders need"
        yield from copies
        yield f"RUN {install} {' '.join(needed)}"


def has_static_dependencies(file: Path) -> bool:
    """Return whether a pyproject.toml lists its dependencies statically: none is computed, or in other folders."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    project = _table(content, "project")
    dynamic = project.get("dynamic")
    if not project.get("dependencies") or not isinstance(dynamic, list | None):
        return False
    return "dependencies" not in (dynamic or []) and not _table(content, "tool", "uv", "sources")


def _table(content: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return a table of a pyproject.toml; empty for another type, which uv reports."""
    table: Any = content
    for name in names:
        table = table.get(name) if isinstance(table, dict) else None
    return table if isinstance(table, dict) else {}


def _before_copies(node: NodePackages, local: Folders) -> Iterator[str]:
    """The npm packages, before the folders; not of a workspace, whose members they are made of."""
    if node.is_workspace:
        return
    place = local.place(node.root)
    yield ""
    yield "# Its npm packages"
    folder = PurePosixPath(_relative(node.root, local.root))
    sources = [(folder / name).as_posix() for name in node.files]
    spaced = any(c.isspace() for c in f"{folder}{place}")
    yield f"COPY {json.dumps([*sources, f'{place}/'])}" if spaced else f"COPY {' '.join(sources)} {place}/"
    yield install_packages(node, place)


def _after_copies(node: NodePackages, local: Folders) -> Iterator[str]:
    if node.is_workspace:
        yield install_packages(node, local.place(node.root))


def _copies(project: Project, local: Folders, contexts: dict[Path, str], node: NodePackages | None) -> Iterator[str]:
    """``node``: what npm installs is copied as a whole, in place of the folders of ``dependencies`` inside of it."""
    yield ""
    yield "# The project"
    whole = None if node is None else node.root
    if whole is not None:
        yield _copy(_relative(whole, local.root), local.place(whole), None)
    for folder in local.local:
        if whole is not None and folder.path.is_relative_to(whole):
            continue
        yield _copy(_source(project.root, folder, contexts), folder.place, contexts.get(folder.path))
    copied = [folder.path for folder in local.local] + ([] if whole is None else [whole])
    if not any(project.file.is_relative_to(folder) for folder in copied):
        yield _copy(_relative(project.file, local.root), local.place(project.file), None)


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _installs(install: str, local: Folders) -> Iterator[str]:
    packages = [f"-e {_quoted(folder.place)}" for folder in local.local if folder.is_package]
    if packages:
        yield f"RUN {install} {' '.join(packages)}"


def _quoted(path: PurePosixPath) -> str:
    return shlex.quote(str(path))


def _locked(project: Project, keys: ImageKeys, base_image: str | None) -> Recipe:
    """Return the recipe for ``source.kind`` ``uv``: exactly the packages of uv.lock, then the project itself."""
    assert keys.source is not None
    root = (project.root / keys.source.root).resolve()
    place = IN_IMAGE / project.root.relative_to(root).as_posix()
    package = f" --package {shlex.quote(keys.source.package)}" if keys.source.package else ""
    export = f"uv export --quiet --frozen --no-dev --no-hashes --no-header{package}"
    keys = msgspec.structs.replace(keys, pip_installer="uv", pip_config_file=None)
    install = _install(keys, Path())
    node = node_packages(project)
    if node is not None and not node.root.is_relative_to(root):
        node = None
    local = Folders(root, root, [], [])
    manifests = [path.relative_to(root).as_posix() for path in workspace_members(root)]
    steps = [
        *_begin(keys, base_image, _node_version(project, keys), install),
        "",
        "# What uv.lock says",
        f"COPY pyproject.toml uv.lock {IN_IMAGE}/",
        *(_copy(name, IN_IMAGE / name, None) for name in manifests),
        f"WORKDIR {IN_IMAGE}",
        f"RUN {export} --no-emit-workspace -o {LOCKED} && {install} --no-deps -r {LOCKED}",
        *([] if node is None else _before_copies(node, local)),
        "",
        "# The project",
        f"COPY . {IN_IMAGE}",
        f"RUN {export} -o {LOCKED} && uv pip install --system --no-cache --no-deps -r {LOCKED} && rm {LOCKED}",
        *([] if node is None else _after_copies(node, local)),
        *_end(project, keys, place),
    ]
    return Recipe("\n".join(steps) + "\n", root, {}, _ignored(project, root))


def workspace_members(root: Path) -> list[Path]:
    """Return the pyproject.toml of each member of a uv workspace, without the root's own."""
    try:
        content = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    workspace = _table(content, "tool", "uv", "workspace")
    paths = _matching(root, workspace.get("members")) - _matching(root, workspace.get("exclude")) - {root}
    return sorted(path / "pyproject.toml" for path in paths if (path / "pyproject.toml").is_file())


def _matching(root: Path, patterns: Any) -> set[Path]:
    """Return paths below the root; a pattern that leads out of it, or is not a pattern, matches nothing."""
    paths: set[Path] = set()
    for pattern in patterns if isinstance(patterns, list) else []:
        with contextlib.suppress(ValueError, TypeError, NotImplementedError):
            paths.update(path for path in root.glob(pattern) if path.resolve().is_relative_to(root))
    return paths
