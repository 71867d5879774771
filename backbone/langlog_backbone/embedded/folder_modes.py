"""Ownership and modes of a data folder: closed to other users of the machine, open to langlog, and its owner's even after root used it.

The log, the read model and the servers' logs hold everything that clients and graphs sent. A folder of an earlier version, one that was
copied, or one that was made beforehand may be open to others: each start takes the rights of group and others away. A file
that another user has created there, or that is not accessible, stops the start with one line, before a server stumbles over
it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import stat
from pathlib import Path

import structlog

from ..process.service import StartError

logger = structlog.get_logger(__name__)

OTHERS = stat.S_IRWXG | stat.S_IRWXO
OWN = ("lock", "log.", "langlog.", "postgres", "redis", "wakeup")
"""Prefixes of the names that langlog gives to files in its data folder."""


ELSEWHERE = "or choose another folder (--data-dir, LANGLOG_DATA_DIR)"


def why_unusable(data_dir: Path, error: OSError) -> StartError:
    """Return an error that explains how to make a data folder usable that could not be created or entered."""
    if error.errno in (errno.EACCES, errno.EPERM):
        for path in (*reversed(data_dir.parents), data_dir, data_dir / "lock"):
            wanted = os.X_OK if path in data_dir.parents else os.W_OK if path.name == "lock" else os.W_OK | os.X_OK
            with contextlib.suppress(OSError):
                if not os.access(path, wanted) and path.lstat():
                    return _closed(data_dir, path)
        above = next(path for path in data_dir.parents if path.exists())
        why = f"{_name(os.geteuid())} may not make it in {above}, which belongs to {_name(above.stat().st_uid)}"
        return StartError(f"data folder {data_dir} cannot be used: {why}: make it beforehand, {ELSEWHERE}")
    return StartError(f"data folder {data_dir} cannot be used: {error.strerror}: mend that, {ELSEWHERE}")


def refuse_what_is_closed(data_dir: Path) -> None:
    """Raises StartError when the folder, or something of langlog's in it, cannot be read and written by us."""
    if not os.access(data_dir, os.R_OK | os.W_OK | os.X_OK):
        raise _closed(data_dir, data_dir)
    for entry in sorted(os.scandir(data_dir), key=lambda each: each.name):
        # root without the right to enter every folder handles Postgres' own folder separately (`postgres_user`)
        if entry.name.startswith(OWN) and not (os.geteuid() == 0 and entry.name.startswith("postgres")):
            _refuse_closed(data_dir, entry)
            if entry.is_dir(follow_symlinks=False):
                for inner in os.scandir(entry):
                    _refuse_closed(data_dir, inner)


def _refuse_closed(data_dir: Path, entry: os.DirEntry[str]) -> None:
    wanted = os.R_OK | os.W_OK | (os.X_OK if entry.is_dir() else 0)
    if not entry.is_symlink() and not os.access(entry, wanted):
        with contextlib.suppress(FileNotFoundError):
            raise _closed(data_dir, Path(entry.path))


def hand_over(data_dir: Path) -> None:
    """Give files that root has made in another user's data folder to that user, who could not go on with it otherwise."""
    if os.geteuid() != 0:
        return
    owner = data_dir.stat()
    for entry in os.scandir(data_dir):
        if not entry.name.startswith(OWN) or entry.name.startswith("postgres-"):  # Postgres runs as the owner by itself
            continue
        if entry.stat(follow_symlinks=False).st_uid == 0 != owner.st_uid:
            with contextlib.suppress(
                OSError
            ):  # root of a container without that right: the start as the user reports what to do
                os.chown(entry.path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _closed(data_dir: Path, path: Path) -> StartError:
    owner, us = path.stat().st_uid, os.geteuid()
    what = f"data folder {data_dir} cannot be used:"
    if owner == us:
        mode = "u+rwX" if data_dir == path or data_dir in path.parents else "u+x"
        return StartError(f"{what} the mode of {path} forbids it: chmod -R {mode} {path}, {ELSEWHERE}")
    chown = f"chown -R {us} {data_dir} as root" if data_dir == path or data_dir in path.parents else "have it opened"
    return StartError(f"{what} {path} belongs to {_name(owner)}: run langlog as {_name(owner)}, {chown}, {ELSEWHERE}")


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def close_to_others(data_dir: Path) -> None:
    """Take the rights of group and others away from the folder and from langlog's files and folders in it.

    A folder that holds something else as well keeps its own mode, with a warning. Entries of another user that cannot be changed
    cause a warning too.
    """
    foreign = False
    for entry in sorted(os.scandir(data_dir), key=lambda each: each.name):
        if not entry.name.startswith(OWN):
            foreign = True
        elif not entry.is_symlink():
            _close(Path(entry.path), follow=False)
    if not foreign:
        _close(data_dir, follow=True)
    elif data_dir.stat().st_mode & OTHERS:
        logger.warning(
            "embedded.folder_is_open",
            folder=str(data_dir),
            why="it holds files that are not langlog's, so its mode is left as it is",
            advice="give langlog a folder of its own (--data-dir, LANGLOG_DATA_DIR)",
        )


def _close(path: Path, *, follow: bool) -> None:
    info = path.stat() if follow else path.lstat()
    mode = stat.S_IMODE(info.st_mode)
    if not mode & OTHERS or not (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)):
        return
    try:
        path.chmod(mode & ~OTHERS)
    except OSError as error:
        logger.warning(
            "embedded.folder_is_open",
            folder=str(path),
            mode=f"{mode:o}",
            why=error.strerror,
            advice=f"chmod go= {path}",
        )
