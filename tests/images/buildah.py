"""Images built and started by buildah without a registry: the base of all of them is Debian's Python, made by debootstrap.

Needs root, buildah, debootstrap, and a kernel that lets them mount (a container without privileges does not). The root file system is
kept under ``~/.cache/langlog``; images, containers and layers are in a folder of the test run.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.stack.server import free_port

SUITE = "bookworm"
"""Debian 12, with Python 3.11."""
PYTHON = "localhost/python:3.11-slim"
CACHE = Path.home() / ".cache" / "langlog" / f"rootfs-{SUITE}.tar"
STEP_LIMIT_S = 1800
OUTPUT = "/output-of-command"
"""Folder in a container."""
CERTIFICATES = "/etc/ssl/certs"
HANDED_ON = ("SSL_CERT_FILE", "SSL_CERT_DIR", "PIP_CERT", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
"""Variables of this machine with the certificates that its network requires."""
BASE = f"""\
FROM scratch
ADD {CACHE.name} /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN ln -sf /usr/bin/python3 /usr/local/bin/python && rm -f /usr/lib/python3*/EXTERNALLY-MANAGED \\
    && python -m pip install --quiet --no-cache-dir --ignore-installed pip setuptools wheel \\
    && dpkg --purge --force-depends python3-pip python3-setuptools python3-wheel
"""
"""Content of the image ``python:3.11-slim``: ``python`` and packaging tools below /usr/local."""


def lacking() -> str | None:
    """Why images cannot be built here; None where they can."""
    if os.geteuid() != 0:
        return "images are built by root: buildah's isolation by chroot needs its rights"
    for program in ("buildah", "debootstrap"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    mounts = subprocess.run(["unshare", "--mount", "true"], capture_output=True)
    return None if mounts.returncode == 0 else "this machine does not let root mount anything (unshare --mount)"


class Buildah:
    """A storage of images, and what is built and started in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        config = folder / "storage.conf"
        config.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/images"\nrunroot = "{folder}/run"\n')
        self.env = {**os.environ, "CONTAINERS_STORAGE_CONF": str(config), "BUILDAH_ISOLATION": "chroot"}
        if subprocess.run(["buildah", "images"], env=self.env, capture_output=True).returncode != 0:
            config.write_text(config.read_text().replace("overlay", "vfs"))  # which needs nothing of the file system

    @property
    def options(self) -> list[str]:
        """Return options of a build on this machine: its network and certificates."""
        given = [f"--env={name}={os.environ[name]}" for name in HANDED_ON if name in os.environ]
        return ["--network=host", f"--volume={CERTIFICATES}:{CERTIFICATES}:ro", *given]

    def call(self, *words: str | Path, cwd: Path | None = None) -> str:
        """Return its output. Raises AssertionError with the output."""
        done = subprocess.run(
            ["buildah", *words], cwd=cwd, env=self.env, capture_output=True, text=True, timeout=STEP_LIMIT_S
        )
        assert done.returncode == 0, f"buildah {' '.join(map(str, words))}\n{(done.stdout + done.stderr)[-4000:]}"
        return done.stdout

    def build(self, folder: Path, tag: str, *more: str | Path) -> None:
        self.call("build", "--layers", *self.options, *more, "-t", tag, folder)

    def config(self, image: str) -> dict[str, Any]:
        """``User``, ``Env``, ``Entrypoint``, ``Cmd``, ``Volumes`` … of an image."""
        inspected: dict[str, Any] = json.loads(self.call("inspect", "--type", "image", image))
        return inspected["OCIv1"]["config"]  # type: ignore[no-any-return]

    def run(self, image: str, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """A command in a new container."""
        container = self.call("from", image).strip()
        return self.run_in(container, *words, options=[f"--env={name}={value}" for name, value in env.items()])

    def run_in(self, container: str, *words: str, options: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """A command in a container. Its output comes by files: with isolation by chroot, buildah ends as soon as the command has ended,
        and what it has not passed on by then is lost (`runUsingChrootMain` does not wait for its relay)."""
        with tempfile.TemporaryDirectory(dir=self._folder) as made:
            folder = Path(made)
            folder.chmod(0o755)
            files = [folder / "stdout", folder / "stderr"]
            for file in files:
                file.touch()
                file.chmod(0o666)  # the image's user is not ours
            redirected = f'exec "$@" >{OUTPUT}/stdout 2>{OUTPUT}/stderr'
            volume = f"--volume={folder}:{OUTPUT}:rw"
            done = subprocess.run(
                ["buildah", "run", *options, volume, container, "--", "sh", "-c", redirected, "sh", *words],
                env=self.env,
                capture_output=True,
                text=True,
                timeout=STEP_LIMIT_S,
            )
            output, errors = (file.read_text() for file in files)
        return subprocess.CompletedProcess(words, done.returncode, output, errors + done.stderr)

    @contextlib.contextmanager
    def serving(self, image: str) -> Iterator[Served]:
        """The image as it starts without a command, until it is healthy by its own check."""
        config = self.config(image)
        container = self.call("from", image).strip()
        port, health = free_port(), free_port()
        env = [f"--env=PORT={port}", f"--env=LANGLOG_HEALTH_PORT={health}"]
        words = [*config["Entrypoint"], *config["Cmd"]]
        process = subprocess.Popen(
            ["buildah", "run", "--network=host", *env, container, "--", *words],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        lines: list[str] = []
        try:
            for line in process.stdout:
                lines.append(line)
                if '"event":"ready"' in line:
                    break
            else:
                raise AssertionError(f"{image} ended before it was ready:\n{''.join(lines)[-4000:]}")
            reader = threading.Thread(target=lines.extend, args=(process.stdout,), daemon=True)
            reader.start()  # a full pipe would stop the server
            health_check = self.run_in(container, "langlog", "health", options=["--network=host", env[1]])
            assert health_check.stdout == "ok\n", health_check
            yield Served(self, container, f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            try:
                process.wait(60)
            finally:
                process.kill()

    def remove(self) -> None:
        """Containers, mounts and images."""
        for words in (("rm", "--all"), ("rmi", "--all", "--force")):
            subprocess.run(["buildah", *words], env=self.env, capture_output=True, timeout=STEP_LIMIT_S)


class Served:
    """A container that serves."""

    def __init__(self, buildah: Buildah, container: str, url: str) -> None:
        self._buildah, self._container = buildah, container
        self.url = url

    def shell(self, script: str) -> str:
        """Return a script's output in the image, as the image's user."""
        done = self._buildah.run_in(self._container, "sh", "-c", script)
        assert done.returncode == 0, done
        return done.stdout


def python_image(buildah: Buildah) -> None:
    """Makes `PYTHON`."""
    if not CACHE.is_file():
        made = CACHE.with_suffix(".new")
        made.parent.mkdir(parents=True, exist_ok=True)
        packages = "--include=python3,python3-pip,ca-certificates"
        folder = made.with_suffix(".d")
        try:
            done = subprocess.run(
                ["debootstrap", "--variant=minbase", packages, SUITE, folder],
                capture_output=True,
                text=True,
                timeout=STEP_LIMIT_S,
            )
            assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
            shutil.rmtree(folder / "var" / "cache" / "apt")
            subprocess.run(
                ["tar", "-C", folder, "-cf", made, "--exclude=./dev/*", "."], check=True, timeout=STEP_LIMIT_S
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        made.rename(CACHE)
    file = CACHE.with_name("rootfs.Dockerfile")
    file.write_text(BASE)
    buildah.build(CACHE.parent, PYTHON, "-f", file, "--ignorefile", os.devnull)
