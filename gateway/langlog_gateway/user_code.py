"""Objects of the user's project that the gateway runs itself: ``auth.path`` and ``http.app`` (API.md 16).

Loaded once, at start, on the main thread. A file gets a module name of its own, so that it hides nothing. What cannot be loaded
stops the start: a gateway without its authentication must not come up.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from langlog_backbone.project import Project
from langlog_backbone.service import StartError

MODULE_PREFIX = "langlog_gateway_user_"


def load_object(project: Project, key: str, reference: object) -> Any:
    """The object that ``path.py:name`` or ``module:name`` means. ``key``: where it was said. Raises StartError.

    Changes the process as for graphs: import path and environment become what the project says; variables that are set win.
    """
    if not isinstance(reference, str):
        raise StartError(f'{project.file}: {key} must be "path.py:object"')
    source, colon, attribute = reference.rpartition(":")
    if not colon or not source or not attribute:
        raise StartError(f'{project.file}: {key}: {reference!r} is not of the form "path.py:object"')
    for name, value in project.environment().items():
        os.environ.setdefault(name, value)
    for folder in reversed(project.import_paths()):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
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
    name = MODULE_PREFIX + "".join(c if c.isalnum() else "_" for c in str(path.with_suffix("")))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise StartError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look classes up there
    folder = str(path.parent)
    if folder not in sys.path:  # its siblings, behind everything else
        sys.path.append(folder)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module
