"""Objects of the user's project that the gateway runs itself: ``auth.path`` and ``http.app`` (API.md 16).

Loaded once, at start, on the main thread (`langlog_backbone.project.imports`). What cannot be loaded stops the start: a gateway
without its authentication must not come up.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from langlog_backbone.process.service import StartError
from langlog_backbone.project.config import Project
from langlog_backbone.project.imports import NotPython, import_file, prepare_process


def load_object(project: Project, key: str, reference: object) -> Any:
    """The object that ``path.py:name`` or ``module:name`` means. ``key``: where it was said. Raises StartError.

    Changes the process as for graphs: import path and environment become what the project says; variables that are set win.
    """
    if not isinstance(reference, str):
        raise StartError(f'{project.file}: {key} must be "path.py:object"')
    source, colon, attribute = reference.rpartition(":")
    if not colon or not source or not attribute:
        raise StartError(f'{project.file}: {key}: {reference!r} is not of the form "path.py:object"')
    prepare_process(project)
    try:
        if "/" in source or source.endswith(".py"):
            found = _import_file((project.root / source).resolve())
        else:
            found = importlib.import_module(source)
        for part in attribute.split("."):
            found = getattr(found, part)
    except StartError:
        raise
    except (Exception, SystemExit) as error:  # a script's `sys.exit()` is no reason to end in silence
        raise StartError(
            f"{project.file}: {key}: {reference!r} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    return found


def _import_file(path: Path) -> Any:
    if not path.is_file():
        raise StartError(f"{path} does not exist")
    try:
        return import_file(path)
    except NotPython as error:
        raise StartError(f"{path} cannot be loaded: {error}") from None
