"""Wake-up between processes that share a file: a folder of Unix datagram sockets, one per process that listens.

A process with news sends a one-byte datagram to every socket in the folder but his own. A full socket buffer
drops it, which is harmless: that listener has a wake-up waiting already.

Concurrency: `listen` and `close` belong to the event loop, `ring` to one other thread.
Death: a killed listener leaves its socket file, removed by the first who is refused there. A ringer killed between its
news and its ring leaves the news to be found at the next ring.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import socket
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from ...time.sources import machine_time_ns, random_hex

SOCKET_PATH_LIMIT = 107
"""Bytes of a Unix socket's path on Linux (``sun_path``); macOS allows 103."""

_NAME_BYTES = 24
_ATTEMPTS = 5
_SETTLED_NS = 100_000_000
"""Nanoseconds. A folder's mtime has the resolution of the kernel's tick: a listing this young may have missed a sibling of
the same tick."""


def short_folder(wanted: Path, name_bytes: int) -> Path:
    """Return ``wanted``, or a folder of the user's own in the temporary folder if paths of sockets in it would be too long.

    The result is the same in every process of one user.
    """
    if len(os.fsencode(wanted)) + 1 + name_bytes <= SOCKET_PATH_LIMIT - 4:
        return wanted
    digest = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"langlog-{os.getuid()}-{digest}"


def make_private(folder: Path, *owners: int) -> None:
    """Create a folder for this user only, or check that it belongs to this user (or ``owners``): in a temporary folder any
    user could have created it.

    Root also accepts the owner of the parent folder: it uses a user's data folder. Raises OSError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    info = folder.lstat()
    if os.geteuid() == 0:
        owners = (*owners, folder.parent.stat().st_uid)
    if not stat.S_ISDIR(info.st_mode) or info.st_uid not in (os.geteuid(), *owners):
        raise PermissionError(errno.EPERM, "belongs to somebody else", str(folder))


class Wakeup:
    """One process's share in the folder."""

    def __init__(self, folder: Path) -> None:
        wanted = folder.absolute()
        self.folder = short_folder(wanted, _NAME_BYTES)
        self._folder = str(self.folder)
        self._temporary = self.folder != wanted
        self._name = f"{os.getpid()}-{random_hex(3)}.sock"
        self._listener: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ringer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ringer.setblocking(False)  # noqa: FBT003 - takes no keyword
        self._others: list[str] = []
        self._listed: tuple[int, int] = (0, 0)

    def listen(self, woken: Callable[[], None]) -> None:
        """Call ``woken`` on this event loop after each ring of another; several rings may be combined. May be called once."""
        if self._listener is not None:
            return
        listener = self._listener = self._bind()
        self._loop = asyncio.get_running_loop()

        def readable() -> None:
            with contextlib.suppress(BlockingIOError):
                while True:
                    listener.recv(16)
            woken()

        self._loop.add_reader(listener.fileno(), readable)

    def ring(self) -> None:
        """Wake all others. Never blocks, never fails."""
        for path in self._siblings():
            try:
                self._ringer.sendto(b"!", path)
            except ConnectionRefusedError:
                with contextlib.suppress(OSError):
                    Path(path).unlink()
            except OSError:
                # full (awake anyway) or just gone
                continue

    def close(self) -> None:
        if self._listener is not None and self._loop is not None:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None
            with contextlib.suppress(OSError):
                (self.folder / self._name).unlink()
            if self._temporary:
                with contextlib.suppress(OSError):
                    self.folder.rmdir()
        self._ringer.close()

    def _bind(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.setblocking(False)  # noqa: FBT003 - takes no keyword
        for attempt in range(_ATTEMPTS):
            make_private(self.folder)
            try:
                listener.bind(str(self.folder / self._name))
                break
            except FileNotFoundError:
                # the last one to leave has just removed the folder
                if attempt == _ATTEMPTS - 1:
                    raise
        return listener

    def _siblings(self) -> list[str]:
        try:
            changed = os.stat(self._folder).st_mtime_ns  # noqa: PTH116 - after each commit, and a third of the cost of a Path's own
            listed_change, listed_at = self._listed
            if changed != listed_change or listed_at - changed < _SETTLED_NS:
                now = machine_time_ns()
                self._others = [str(path) for path in self.folder.iterdir() if path.name != self._name]
                self._listed = (changed, now)
        except OSError:
            # no folder, so no listener
            self._others = []
            self._listed = (0, 0)
        return self._others
