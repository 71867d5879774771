"""Closes a data folder to other users of the machine.

The log, the read model and what servers logged hold everything that clients and graphs said. A folder of an earlier version, one that was
copied, or one that was made beforehand may be open to others: each start takes the rights of group and others away.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import structlog

logger = structlog.get_logger(__name__)

OTHERS = stat.S_IRWXG | stat.S_IRWXO
OWN = ("lock", "log.", "langlog.", "postgres", "redis", "wakeup")
"""Beginnings of the names that langlog gives to what is in its data folder."""


def close_to_others(data_dir: Path) -> None:
    """Take the rights of group and others away from the folder and from langlog's files and folders in it.

    A folder that holds something else as well keeps its own mode, which is then warned of. What belongs to another user and cannot
    be changed is warned of too.
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
