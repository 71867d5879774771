"""Files that settings name: read or checked at the start, without blocking and within bounds, whatever these names refer to."""

from __future__ import annotations

import os
import stat
from pathlib import Path

SECRET_BYTES_MAX = 65_536
"""Maximum size of a secret's file, in bytes."""
FILE_BYTES_MAX = 16_000_000
"""Maximum size of a file of certificates or keys, in bytes. The certificates of all public authorities take a quarter of a megabyte."""
KINDS = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


class SettingError(ValueError):
    """A variable has an invalid value; the message names it."""


def read_secret(variable: str, path: Path) -> str:
    """Return the file's text without the line break at its end. Raises SettingError, which never holds any of the text."""
    try:
        # non-blocking: a FIFO without a writer would block the start
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            _check(variable, path, os.fstat(descriptor), SECRET_BYTES_MAX)
            data = os.read(descriptor, SECRET_BYTES_MAX + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SettingError(f"{variable}: cannot read {path}: {error.strerror or error}") from None
    if len(data) > SECRET_BYTES_MAX:
        raise _too_large(variable, path, SECRET_BYTES_MAX)
    try:
        text = data.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise SettingError(f"{variable}: {path} is not UTF-8 text") from None
    if not text or "\0" in text:
        raise SettingError(f"{variable}: {path} {'holds a NUL character' if text else 'is empty'}")
    return text


def check_file(variable: str, path: Path) -> None:
    """Check a file that a library will read whole. Raises SettingError if it is not such a file; a missing one is the
    library's to report."""
    try:
        status = path.stat()
    except OSError:
        return
    _check(variable, path, status, FILE_BYTES_MAX)


def _check(variable: str, path: Path, status: os.stat_result, most: int) -> None:
    for is_kind, kind in KINDS:
        if is_kind(status.st_mode):
            raise SettingError(f"{variable}: {path} is {kind}: name a regular file")
    if status.st_size > most:
        raise _too_large(variable, path, most)


def _too_large(variable: str, path: Path, most: int) -> SettingError:
    return SettingError(f"{variable}: {path} has more than {most} bytes")
