"""Imports code of the user's project into this process: what workers do for graphs and embeddings, the gateway for ``auth.path``
and ``http.app``.

The import path is that of langgraph-cli's ``dev``: the folder of ``langgraph.json`` and every dependency that is a folder, behind
everything else, so that a project's ``schemas.py`` or ``gateway.py`` never hides a module of an installed package. A file that is
part of a package is imported under its own dotted name, so that its relative imports work and so that its classes are those that
the rest of the project imports. Any other file gets a name of its own (`MODULE_PREFIX`).

Call these functions on the main thread before other threads import. They change ``sys.path``, ``sys.modules`` and ``os.environ``.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import types
from pathlib import Path

import structlog

from .config import Project

logger = structlog.get_logger(__name__)

MODULE_PREFIX = "langlog_project."
"""Name space of modules that are imported by path and have no importable name of their own."""
JAVASCRIPT = frozenset({".ts", ".tsx", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs"})
INIT = "__init__.py"


class NotPython(Exception):
    """The file's name says that it is not Python; the message says what it is and what langlog runs."""


def prepare_process(project: Project) -> None:
    """Sets the project's variables where this process has none of that name, and appends its folders to the import path."""
    for name, value in project.environment().items():
        os.environ.setdefault(name, value)
    for folder in project.import_paths():
        _append_path(folder)


def import_file(path: Path) -> types.ModuleType:
    """The module of an absolute path. A lone file is executed anew at each call; a package's module is imported once.

    Raises NotPython, and whatever the file raises.
    """
    if path.suffix in JAVASCRIPT:
        raise NotPython("it is JavaScript or TypeScript, and langlog runs Python graphs only")
    if path.suffix != ".py":
        raise NotPython("it is not a Python file: its name does not end in .py")
    if (path.parent / INIT).is_file():
        try:
            return _import_from_package(path)
        except _PackageFails as failure:
            # langgraph-cli's dev never executes the package's __init__: a file that loads by itself still loads here
            logger.warning("project.package_does_not_load", file=str(path), error=str(failure))
    _append_path(path.parent)  # siblings of the file, when no dependency names its folder
    return _execute(_own_name(path), path, path.parent)


def imported_file(path: Path) -> types.ModuleType | None:
    """The module that was imported from this file, if there is one."""
    wanted = str(path)
    return next((x for x in list(sys.modules.values()) if getattr(x, "__file__", None) == wanted), None)


def imported_app(project: Project) -> str | None:
    """The name of the module of ``http.app``, where this process has imported it; None otherwise."""
    reference = project.section("http").get("app")
    source = reference.rpartition(":")[0] if isinstance(reference, str) else ""
    if source.endswith(".py") or "/" in source:
        module = imported_file((project.root / source).resolve())
    else:
        module = sys.modules.get(source)
    return None if module is None else module.__name__


class _PackageFails(Exception):
    """An ``__init__.py`` above the file raised, not the file itself."""


def _import_from_package(path: Path) -> types.ModuleType:
    top = path.parent
    while (top.parent / INIT).is_file() and str(top.parent) not in sys.path:
        top = top.parent
    inner = path.relative_to(top).with_suffix("").parts
    if inner[-1] == "__init__":
        inner = inner[:-1]
    package = top.name
    if str(top) in sys.path or not _resolves_to(package, top):
        package = _own_name(top)
        if package not in sys.modules:
            try:
                _execute(package, top / INIT, top)
            except Exception as error:
                raise _PackageFails(f"{top / INIT}: {type(error).__name__}: {error}") from error
    for depth in range(len(inner)):
        name = ".".join((package, *inner[:depth]))
        try:
            importlib.import_module(name)
        except Exception as error:
            raise _PackageFails(f"{name}: {type(error).__name__}: {error}") from error
    return importlib.import_module(".".join((package, *inner)))


def _resolves_to(package: str, folder: Path) -> bool:
    """Whether ``import package`` gives this folder. Appends the folder above to the import path, which makes that possible."""
    if not package.isidentifier():
        return False
    _append_path(folder.parent)
    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return False
    return found is not None and found.origin is not None and Path(found.origin) == folder / INIT


def _own_name(path: Path) -> str:
    return MODULE_PREFIX + "".join(c if c.isalnum() else "_" for c in str(path.with_suffix("")))


def _execute(name: str, path: Path, folder: Path) -> types.ModuleType:
    """Executes the file as a module in which ``from . import x`` means a sibling in the folder."""
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=[str(folder)])
    if spec is None or spec.loader is None:
        raise NotPython("it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickling by reference, dataclasses and pydantic look classes up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _append_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
