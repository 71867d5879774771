"""Disks that are slow or full: a library that delays what processes write, and small file systems of their own."""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("slow.c")
FORMAT = struct.Struct("iiQ")
BLOCK_BYTES = 1 << 16


def required(reason: str) -> None:
    """Skip on a laptop, fail in CI."""
    if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


class SlowDisk:
    """A disk whose writes can be slowed down for one group of processes, which are started with ``env``."""

    def __init__(self, folder: Path, name: str, library: Path) -> None:
        path = folder / f"{name}.disk"
        path.write_bytes(bytes(FORMAT.size))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), FORMAT.size)
        self.env = {"LANGLOG_TEST_DISK": str(path), "LD_PRELOAD": str(library)}

    @contextlib.contextmanager
    def slow(self, *, sync_ms: int = 0, write_ms: int = 0) -> Iterator[None]:
        """Each fsync, and each write, takes so much longer."""
        self._set(sync_ms, write_ms)
        try:
            yield
        finally:
            self._set(0, 0)

    def _set(self, sync_ms: int, write_ms: int) -> None:
        self._shared[:8] = struct.pack("ii", sync_ms, write_ms)

    @property
    def slowed(self) -> int:
        """Calls that were slowed so far."""
        return int(FORMAT.unpack(self._shared[:])[2])


def library(folder: Path) -> Path | None:
    """The compiled library; None where there is no compiler of C."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    result = folder / "slow.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", result, SOURCE, "-ldl"], check=True)
    return result


class SmallDisk:
    """A file system of its own, which a test may fill."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        """Raises subprocess.CalledProcessError where nothing may be mounted."""
        folder.mkdir()
        self.folder = folder
        options = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "langlog-test", str(folder)]
        subprocess.run(options, check=True, capture_output=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=False, capture_output=True)

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Not one block is left, until the end."""
        filler = self.folder / "filler"
        try:
            with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(bytes(BLOCK_BYTES)) == BLOCK_BYTES:
                    pass
            yield
        finally:
            filler.unlink()


def small_disk(folder: Path, megabytes: int | None) -> SmallDisk | None:
    """None where nothing may be, or is to be, mounted; the folder is there all the same."""
    if megabytes is not None and os.geteuid() == 0 and shutil.which("mount"):
        with contextlib.suppress(subprocess.CalledProcessError):
            return SmallDisk(folder, megabytes)
    folder.mkdir(exist_ok=True)
    return None
