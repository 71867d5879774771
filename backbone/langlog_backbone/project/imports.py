"""Imports code of the user's project into this process: what workers do for graphs and embeddings, the gateway for ``auth.path``
and ``http.app``.

The import path is that of langgraph-cli's ``dev`` and images: the folder of ``langgraph.json``, every dependency that is a folder, the
folders above those that are packages, and the working folder that the project is in, behind everything else, so that a project's ``schemas.py`` or ``gateway.py`` never hides a module of an installed package. A file that is
part of a package is imported under its own dotted name, so that its relative imports work and so that its classes are those that
the rest of the project imports. Any other file gets a name of its own (`MODULE_PREFIX`).

Call these functions on the main thread before other threads import. They change ``sys.path``, ``sys.modules`` and ``os.environ``.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import structlog

from ..process.outside_loop import outside_loop, refused_patch
from ..process.service import StartError
from .config import Project
from .language import language_of

logger = structlog.get_logger(__name__)

MODULE_PREFIX = "langlog_project."
"""Name space of modules that are imported by path and have no importable name of their own."""
INIT = "__init__.py"
NEEDED_NAMESPACES = ("langgraph",)
"""Installed namespace packages that a project's code needs, beside a folder or a file of its own of that name, too."""


class NotPython(Exception):
    """The file is not Python by its name. The message names its kind."""


_siblings: set[str] = set()
"""Folders on the import path for siblings of a file alone: no dependency leads there."""
_given: dict[str, str] = {}
"""Variables of this process that the project has set, and may therefore change."""
NOT_THE_PROJECTS = frozenset({"site-packages", "dist-packages", "node_modules"})
"""Folders of the project that hold third-party code, besides all whose name begins with a dot."""


def not_of_the_shell(names: Iterable[str]) -> list[str]:
    """Return those of the variables that were not set when this process began; the project may have set them since."""
    return [name for name in names if name in _given or name not in os.environ]


def leave_to_project(project: Project, names: Iterable[str]) -> None:
    """Unset those of the variables that the project sets, so that `prepare_process` gives them the project's values."""
    for name in project.environment().keys() & set(names):
        os.environ.pop(name, None)


def prepare_process(project: Project) -> bool:
    """Set the project's variables where this process has none of that name, and append its folders to the import path.

    Called again, it also changes and removes what it has set before. Whether any variable changed.
    """
    wanted, before = project.environment(), dict(_given)
    for name in [x for x in _given if x not in wanted or os.environ.get(x) != _given[x]]:
        if os.environ.get(name) == _given.pop(name) and name not in wanted:
            del os.environ[name]
    for name, value in wanted.items():
        if name in _given or name not in os.environ:
            os.environ[name] = _given[name] = value
    for folder in (*project.import_paths(), *project.outer_paths()):
        _append_path(folder)
    return _given != before


class ImportAgain:
    """State of a block of `executed_again`."""

    def __init__(self, *, affected: bool) -> None:
        self.affected = affected
        """Whether an already imported module belongs to a changed file."""
        self.undone = False

    def undo(self) -> None:
        """Restore the modules when the block ends."""
        self.undone = True


@contextlib.contextmanager
def executed_again(project: Project, changed: Callable[[str], bool]) -> Iterator[ImportAgain]:
    """Context in which an import of the project's modules executes their files anew, as they are now.

    ``changed``: whether the file of that name has changed. After an exception, or `ImportAgain.undo`, the modules are those of before.
    """
    modules = {name: module for name, module in list(sys.modules.items()) if _is_of(project, name, module)}
    files = {name: file for name, module in modules.items() if (file := getattr(module, "__file__", None))}
    anew = ImportAgain(affected=any(changed(file) for file in files.values()))
    for name in modules:
        sys.modules.pop(name, None)
    for file in files.values():
        if changed(file):  # only seconds and size distinguish a cached file from an older one
            with contextlib.suppress(OSError, NotImplementedError):
                Path(importlib.util.cache_from_source(file)).unlink()
    importlib.invalidate_caches()
    try:
        yield anew
    except BaseException:
        anew.undo()
        raise
    finally:
        if anew.undone or (not anew.affected and not any(name in sys.modules for name in modules)):
            for name in [name for name, module in list(sys.modules.items()) if _is_of(project, name, module)]:
                del sys.modules[name]
            sys.modules.update(modules)


def _is_of(project: Project, name: str, module: types.ModuleType) -> bool:
    """Return whether the module's source is in one of the project's folders, and not third-party."""
    if name == "__main__" or (name.partition(".")[0].startswith("langlog") and not name.startswith(MODULE_PREFIX)):
        return False
    where = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", [])), None)
    if not isinstance(where, str):
        return False
    for folder in (project.root, *project.import_paths()):
        if Path(where).is_relative_to(folder):
            inner = Path(where).relative_to(folder).parts
            return not any(part in NOT_THE_PROJECTS or part.startswith(".") for part in inner[:-1])
    return False


def import_file(path: Path) -> types.ModuleType:
    """Return the module of an absolute path. A lone file is executed anew at each call; a package's module is imported once.

    Raises NotPython, and whatever the file raises.
    """
    if language_of(path.name) == "javascript":
        raise NotPython("it is JavaScript or TypeScript, and langlog reads this object from Python files alone")
    if path.suffix != ".py":
        raise NotPython("it is not a Python file: its name does not end in .py")
    if (path.parent / INIT).is_file():
        try:
            return outside_loop(lambda: _import_from_package(path))
        except _PackageFails as failure:
            # langgraph-cli's dev never executes the package's __init__: a file that loads by itself still loads here
            logger.warning("project.package_does_not_load", file=str(path), error=str(failure))
    _append_siblings(path.parent)
    return outside_loop(lambda: _execute(_own_name(path), path, path.parent))


def import_module(name: str) -> types.ModuleType:
    """Import a module of the project by its dotted name. Raises whatever it raises."""
    return outside_loop(lambda: importlib.import_module(name))


def way_out(error: BaseException) -> str:
    """Return what follows the text of an error that projects often meet, and can avoid; empty for any other error."""
    if isinstance(error, ModuleNotFoundError) and error.name == "langgraph_api":
        return ": it is part of LangGraph's own server, and langlog has no such module: take this import out of the project"
    if refused_patch(error):
        return (
            ": langlog's event loops are uvloop's. Take nest_asyncio.apply() out: a module may call asyncio.run without it, and so may a "
            "node that is not async"
        )
    return ""


def load_object(project: Project, key: str, reference: object, *, shared: bool = False) -> Any:
    """Return the object that ``path.py:name`` or ``module:name`` names. ``key``: its key in the file, for errors. Raises StartError.

    ``shared``: take it from the module that the project's other code imports by name, not from one that is executed anew.
    Changes the process as for graphs: sets import path and environment of the project; variables that are already set stay.
    """
    if not isinstance(reference, str):
        raise StartError(f'{project.file}: {key} must be "path.py:object"')
    source, colon, attribute = reference.rpartition(":")
    if not colon or not source or not attribute:
        raise StartError(f'{project.file}: {key}: {reference!r} is not of the form "path.py:object"')
    prepare_process(project)
    try:
        if "/" in source or source.endswith(".py"):
            loaded = _import_object_file((project.root / source).resolve(), shared=shared)
        else:
            loaded = import_module(source)
        for part in attribute.split("."):
            loaded = getattr(loaded, part)
    except StartError:
        raise
    except (Exception, SystemExit) as error:  # a script's `sys.exit()` is no reason to end in silence
        raise StartError(
            f"{project.file}: {key}: {reference!r} cannot be loaded: {type(error).__name__}: {error}{way_out(error)}"
        ) from error
    return loaded


def _import_object_file(path: Path, *, shared: bool) -> types.ModuleType:
    if not path.is_file():
        raise StartError(f"{path} does not exist")
    try:
        if shared and (imported := imported_file(path) or _import_by_name(path)) is not None:
            return imported
        return import_file(path)
    except NotPython as error:
        raise StartError(f"{path} cannot be loaded: {error}") from None


def _import_by_name(path: Path) -> types.ModuleType | None:
    """Return the module of a lone file under its own name, if ``import name`` resolves to that file; else None."""
    name = path.stem
    if path.suffix != ".py" or not name.isidentifier() or (path.parent / INIT).is_file():
        return None
    _append_siblings(path.parent)
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or Path(spec.origin) != path:
        return None
    return import_module(name)


def imported_file(path: Path) -> types.ModuleType | None:
    """Return the module that was imported from this file, or None."""
    wanted = str(path)
    return next((x for x in list(sys.modules.values()) if getattr(x, "__file__", None) == wanted), None)


def imported_app(project: Project) -> types.ModuleType | None:
    """Return the module of ``http.app`` if this process has imported it, else None."""
    reference = project.section("http").get("app")
    source = reference.rpartition(":")[0] if isinstance(reference, str) else ""
    if source.endswith(".py") or "/" in source:
        return imported_file((project.root / source).resolve())
    return sys.modules.get(source)


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
    """Return whether ``import package`` resolves to this folder. Appends the folder above to the import path."""
    if not package.isidentifier():
        return False
    _append_path(folder.parent)
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None and Path(spec.origin) == folder / INIT


def _own_name(path: Path) -> str:
    return MODULE_PREFIX + "".join(c if c.isalnum() else "_" for c in str(path.with_suffix("")))


def _execute(name: str, path: Path, folder: Path) -> types.ModuleType:
    """Execute the file as a module in which ``from . import x`` names a sibling in the folder."""
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=[str(folder)])
    if spec is None or spec.loader is None:
        raise NotPython("it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickling by reference, dataclasses and pydantic look up classes there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _append_path(folder: Path) -> None:
    if str(folder) in sys.path:
        return
    for name in NEEDED_NAMESPACES:
        if _has_module(folder, name):
            _keep_namespace(name, sys.path)
    sys.path.append(str(folder))


def _append_siblings(folder: Path) -> None:
    """Append a file's folder, so that it can import its siblings, when no dependency names the folder.

    A module there may be called like a folder above it without ``__init__.py`` (``agent/agent.py``): it would hide ``agent.words``.
    """
    if str(folder) not in sys.path:
        _append_path(folder)
        _siblings.add(str(folder))
    if str(folder) not in _siblings:
        return
    before = [entry for entry in sys.path if entry not in _siblings]
    for outer in (folder, *folder.parents):
        if str(outer.parent) in before and _has_module(folder, outer.name):
            _keep_namespace(outer.name, before)


def _has_module(folder: Path, name: str) -> bool:
    """Return whether the folder has a module or a package of that name."""
    return (folder / f"{name}.py").is_file() or (folder / name / INIT).is_file()


def _keep_namespace(name: str, path: list[str]) -> None:
    """Import the name now, which executes nothing, if it is a namespace package (PEP 420) of that import path: Python prefers a module
    of that name anywhere on the path to it."""
    if name in sys.modules:
        return
    spec = PathFinder.find_spec(name, path)
    if spec is not None and spec.loader is None:
        sys.modules[name] = importlib.util.module_from_spec(spec)
